/* Step handoff: the source's end of one handoff epoch. A new one begins only while every mirror
 * runs; one that the journal knows goes on from there. */
#include "agent/steps/handlers.h"

#include <inttypes.h>

static void stop_source(void *source)
{
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

/* Nothing of this epoch has happened: whatever fails here leaves the domain running at the source,
 * and the epoch is never begun. */
static bool check_begin(const struct handoff_record *record, const struct step *step,
                        struct transfer *transfer, struct error *err)
{
    if (record->epoch > step->epoch)
        return error_set(err, ERROR_CONFLICT,
                         "handoff epoch %" PRId64 " is over, the journal is at %" PRId64,
                         step->epoch, record->epoch);
    if (!transfer)
        return error_set(err, ERROR_MIRROR_LOST,
                         "the disks are not mirrored since the agent began");
    return transfer_is_mirrored(transfer, err);
}

bool step_handoff(struct step_run *run, const struct step *step, struct step_result *result,
                  struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const char *migration = step->spec.migration;
    struct handoff_record record;
    if (!step_source_record(environment, &step->spec, &record, err))
        return false;
    bool is_begun = record.epoch == step->epoch && record.state != HANDOFF_NONE;
    struct transfer *transfer = registry_borrow(environment->registry, migration, SLOT_TRANSFER);
    bool is_done = false;
    if (is_begun || check_begin(&record, step, transfer, err))
        is_done = open_and_hand_off(run, step, transfer, result, err);
    else if (record.state != HANDOFF_RELEASED && record.state != HANDOFF_OWNED)
        result->verdict = VERDICT_ABANDONED;
    if (transfer)
        registry_return(environment->registry, migration, SLOT_TRANSFER);
    return is_done;
}
