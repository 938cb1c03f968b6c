/* Step conclude: the source learns the destination's verdict through the coordinator. */
#include "agent/steps/handlers.h"

#include "base/clock.h"

#include <inttypes.h>

enum {
    ASK_INTERVAL_MS = 100,
    CONCLUDE_LIMIT_MS = 30000, /* for the handoff step to take the verdict in */
};

/* No handoff step runs that could take the verdict in. */
static bool settle(struct step_environment *environment, const struct handoff_record *released,
                   enum handoff_verdict verdict, struct error *err)
{
    struct handoff_record record = *released;
    record.state = verdict == VERDICT_OWNED ? HANDOFF_OWNED : HANDOFF_ABANDONED;
    return journal_put_handoff(environment->handoff.journal, &record, err) &&
           (verdict == VERDICT_OWNED || environment->handoff.driver->resume(
                                            environment->handoff.hypervisor, record.domain, err));
}

static bool tell_running(const struct step_environment *environment,
                         const struct handoff_record *record, enum handoff_verdict verdict)
{
    struct handoff_source *source =
        registry_borrow(environment->registry, record->migration, SLOT_HANDOFF_SOURCE);
    if (!source)
        return false;
    handoff_source_conclude(source, record->epoch, verdict);
    registry_return(environment->registry, record->migration, SLOT_HANDOFF_SOURCE);
    return true;
}

static bool tell(struct step_run *run, const struct handoff_record *record,
                 enum handoff_verdict verdict, struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    if (tell_running(environment, record, verdict) || step_run_has_others(run, STEP_BIT(HANDOFF)))
        return true; /* or it begins or ends just now */
    return settle(environment, record, verdict, err);
}

/* A decided source must agree; an undecided one that is not released has nothing to learn. */
static bool check_decided(const struct handoff_record *record, enum handoff_verdict verdict,
                          struct error *err)
{
    bool is_owned = record->state == HANDOFF_OWNED;
    if ((verdict == VERDICT_OWNED) == is_owned || record->state == HANDOFF_NONE)
        return true;
    return error_set(err, ERROR_CONFLICT,
                     "the source's handoff record is %s of epoch %" PRId64
                     " while the destination's verdict is %s",
                     handoff_state_names[record->state], record->epoch,
                     handoff_verdict_names[verdict]);
}

bool step_conclude_source(struct step_run *run, const struct step *step,
                          enum handoff_verdict verdict, struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    int64_t deadline = clock_monotonic_ms() + CONCLUDE_LIMIT_MS;
    struct handoff_record record;
    while (step_source_record(environment, &step->spec, &record, err)) {
        if (record.state == HANDOFF_STREAMING)
            tell_running(environment, &record, verdict);
        if (record.state != HANDOFF_RELEASED)
            return check_decided(&record, verdict, err) &&
                   step_run_join_others(run, STEP_BIT(HANDOFF), NULL, NULL, err);
        if (clock_monotonic_ms() >= deadline)
            return error_set(err, ERROR_TIMEOUT, "the handoff did not take the verdict in");
        if (!tell(run, &record, verdict, err))
            return false;
        if (!step_run_wait(run, ASK_INTERVAL_MS))
            return step_run_check(run, err);
    }
    return false;
}

bool step_conclude(struct step_run *run, const struct step *step, struct step_result *result,
                   struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    struct handoff_record record;
    (void)result;
    if (step->verdict == VERDICT_NONE)
        return error_set(err, ERROR_INVALID, "conclude needs a verdict: owned or abandoned");
    if (!step_source_record(environment, &step->spec, &record, err))
        return false;
    bool has_nothing_to_learn =
        record.epoch != step->epoch &&
        (step->verdict == VERDICT_ABANDONED || record.state == HANDOFF_NONE);
    if (has_nothing_to_learn)
        return true;
    if (record.epoch != step->epoch)
        return error_set(err, ERROR_CONFLICT,
                         "epoch %" PRId64 " is said to be owned, the source is at %" PRId64,
                         step->epoch, record.epoch);
    return step_conclude_source(run, step, step->verdict, err);
}
