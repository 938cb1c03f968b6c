/* Step receive: the destination's end of one handoff epoch. Once the epoch is in the journal the
 * step ends only with its verdict. */
#include "agent/steps/handlers.h"

#include "agent/steps/vdi_ledger.h"
#include "base/log.h"

enum { RETRY_MS = 2000 };

static void stop_destination(void *destination, bool is_shutdown)
{
    (void)is_shutdown; /* both abandon what is not owned */
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

static bool try_once(struct step_run *run, const struct step *step, struct step_result *result,
                     struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    struct handoff_destination *destination = NULL;
    if (!handoff_destination_open(&destination, &environment->handoff, step, err))
        return false;
    bool is_done = receive(run, step, destination, result, err);
    handoff_destination_close(destination);
    return is_done;
}

static bool has_begun(struct step_environment *environment, const struct step *step)
{
    struct handoff_record record;
    struct error err;
    bool is_read = journal_get_handoff(environment->handoff.journal, step->spec.migration,
                                       ROLE_DESTINATION, &record, &err);
    return !is_read || (record.epoch == step->epoch && record.state != HANDOFF_NONE);
}

/* After a restart the receivers of an undecided epoch are not admitted before it was abandoned and
 * its domain destroyed: now they are. */
static void readmit(struct step_environment *environment, const struct migration_spec *spec)
{
    __attribute__((cleanup(vdi_ledger_done))) struct vdi_ledger ledger = {0};
    struct error err;
    bool is_done =
        vdi_ledger_read(&ledger, environment->handoff.journal, spec->migration, &err) &&
        (ledger.count == 0 || receiver_admit(environment->handoff.receivers, spec, &err));
    if (!is_done)
        log_error("the disks cannot be received again: %s", err.text);
}

/* An older epoch that still waits is given up: its source has ended it, or it would not be asked
 * for a new one. */
bool step_receive(struct step_run *run, const struct step *step, struct step_result *result,
                  struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    if (!step_run_stop_others(run, STEP_BIT(RECEIVE), NULL, NULL, err))
        return false;
    while (!try_once(run, step, result, err)) {
        if (!has_begun(environment, step))
            return false;
        log_error("receive: trying again: %s", err->text);
        if (!step_run_insist(run, RETRY_MS))
            return false;
    }
    if (result->verdict == VERDICT_ABANDONED)
        readmit(environment, &step->spec);
    return true;
}
