/* Step handoff: the source's end of one handoff epoch. A new one begins only while every mirror
 * runs; one that the journal knows goes on from there. It ends with a verdict or before the
 * release: a released source asks on until it has its verdict. */
#include "agent/steps/handlers.h"

#include "base/log.h"

#include <inttypes.h>

enum { RETRY_MS = 2000 };

static void stop_source(void *source, bool is_shutdown)
{
    if (is_shutdown)
        handoff_source_stop(source);
    else
        handoff_source_cancel(source);
}

static bool hand_off(struct step_run *run, const struct step *step, struct handoff_source *source,
                     struct step_result *result, struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const char *migration = step->spec.migration;
    if (!registry_put(environment->registry, migration, SLOT_HANDOFF_SOURCE, source))
        return error_set(err, ERROR_CONFLICT, "another handoff of this migration is under way");
    step_run_on_stop(run, stop_source, source);
    bool is_done = handoff_source_run(source, result, err);
    step_run_on_stop(run, NULL, NULL);
    step_keep_handoff_progress(environment, migration, source);
    registry_take(environment->registry, migration, SLOT_HANDOFF_SOURCE);
    return is_done;
}

static bool open_and_hand_off(struct step_run *run, const struct step *step,
                              struct transfer *transfer, struct step_result *result,
                              struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    struct handoff_source *source = NULL;
    if (!handoff_source_open(&source, &environment->handoff, step, transfer, err))
        return false;
    bool is_done = hand_off(run, step, source, result, err);
    handoff_source_close(source);
    return is_done;
}

/* Whatever fails here leaves the domain running at the source, and the epoch is never begun. */
static bool check_begin(const struct handoff_record *record, const struct step *step,
                        struct transfer *transfer, struct error *err)
{
    if (record->epoch == step->epoch && record->state != HANDOFF_NONE)
        return true;
    if (record->epoch > step->epoch)
        return error_set(err, ERROR_CONFLICT,
                         "handoff epoch %" PRId64 " is over, the journal is at %" PRId64,
                         step->epoch, record->epoch);
    if (!transfer)
        return error_set(err, ERROR_MIRROR_LOST, "the agent ended since the disks were mirrored");
    return transfer_is_mirrored(transfer, err);
}

static bool try_once(struct step_run *run, const struct step *step, struct step_result *result,
                     struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const char *migration = step->spec.migration;
    struct handoff_record record;
    if (!step_source_record(environment, &step->spec, &record, err))
        return false;
    struct transfer *transfer = registry_borrow(environment->registry, migration, SLOT_TRANSFER);
    bool is_done = check_begin(&record, step, transfer, err) &&
                   open_and_hand_off(run, step, transfer, result, err);
    if (transfer)
        registry_return(environment->registry, migration, SLOT_TRANSFER);
    return is_done;
}

/* *is_ours: the failed handoff left the domain to the source. While that is not sure, it is not. */
static void judge_failure(struct step_environment *environment, const struct step *step,
                          bool *is_ours)
{
    struct error err;
    if (step_check_source_owns(environment, &step->spec, &err))
        *is_ours = true;
    else
        log_error("handoff: trying again: %s", err.text);
}

bool step_handoff(struct step_run *run, const struct step *step, struct step_result *result,
                  struct error *err)
{
    bool is_ours = false;
    while (!try_once(run, step, result, err)) {
        judge_failure(step_run_environment(run), step, &is_ours);
        if (is_ours)
            result->verdict = VERDICT_ABANDONED;
        if (is_ours || !step_run_insist(run, RETRY_MS))
            return false;
    }
    return true;
}
