/* Step abort-destination: the migration's epochs are abandoned durably, then whatever it made here
 * is deleted. Refused when the domain is owned here. */
#include "agent/steps/handlers.h"

#include "agent/steps/vdi_ledger.h"
#include "base/failpoint.h"

static bool check_not_owned(struct step_environment *environment, const char *migration,
                            struct error *err)
{
    struct handoff_record record;
    if (!journal_get_handoff(environment->handoff.journal, migration, ROLE_DESTINATION, &record,
                             err))
        return false;
    if (record.state != HANDOFF_OWNED)
        return true;
    return error_set(err, ERROR_CONFLICT, "the domain is owned here: its handoff is committed");
}

struct wait {
    struct step_environment *environment;
    const char *migration;
};

static bool may_wait(void *context, struct error *err)
{
    const struct wait *wait = context;
    return check_not_owned(wait->environment, wait->migration, err);
}

static bool delete_vdis(struct step_environment *environment, const char *migration,
                        struct error *err)
{
    __attribute__((cleanup(vdi_ledger_done))) struct vdi_ledger ledger = {0};
    if (!vdi_ledger_read(&ledger, environment->handoff.journal, migration, err))
        return false;
    for (size_t i = 0; i < ledger.count; i++) {
        const struct vdi_reference *vdi = &ledger.items[i];
        if (!sr_set_remove(environment->handoff.srs, vdi->sr, vdi->vdi, err) ||
            !failpoint("abort-destination.vdi-deleted", err) ||
            !vdi_ledger_remove(environment->handoff.journal, migration, vdi->sr, vdi->vdi, err))
            return false;
    }
    return true;
}

bool step_abort_destination(struct step_run *run, const struct step *step,
                            struct step_result *result, struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const char *migration = step->spec.migration;
    struct wait wait = {.environment = environment, .migration = migration};
    (void)result;
    return check_not_owned(environment, migration, err) &&
           step_run_stop_others(run, STEP_BIT(PREPARE) | STEP_BIT(RECEIVE), may_wait, &wait, err) &&
           handoff_abandon(&environment->handoff, &step->spec, err) &&
           receiver_discard(environment->handoff.receivers, migration, err) &&
           delete_vdis(environment, migration, err) &&
           journal_forget(environment->handoff.journal, migration, err);
}
