/* Step receive: the destination's end of one handoff epoch. */
#include "agent/steps/handlers.h"

static void stop_destination(void *destination)
{
    handoff_destination_cancel(destination);
}

static bool receive(struct step_run *run, const struct step *step,
                    struct handoff_destination *destination, struct step_result *result,
                    struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const char *migration = step->spec.migration;
    if (!registry_put(environment->registry, migration, SLOT_HANDOFF_DESTINATION, destination))
        return error_set(err, ERROR_CONFLICT,
                         "another handoff of this migration is being received");
    step_run_on_stop(run, stop_destination, destination);
    bool is_done = handoff_destination_run(destination, result, err);
    step_run_on_stop(run, NULL, NULL);
    registry_take(environment->registry, migration, SLOT_HANDOFF_DESTINATION);
    return is_done;
}

/* An older epoch that still waits is given up: its source has ended it, or it would not be asked
 * for a new one. */
bool step_receive(struct step_run *run, const struct step *step, struct step_result *result,
                  struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    struct handoff_destination *destination = NULL;
    if (!step_run_stop_others(run, STEP_BIT(RECEIVE), NULL, NULL, err) ||
        !handoff_destination_open(&destination, &environment->handoff, step, err))
        return false;
    bool is_done = receive(run, step, destination, result, err);
    handoff_destination_close(destination);
    return is_done;
}
