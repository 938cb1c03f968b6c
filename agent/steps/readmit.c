/* Receivers after a restart; see readmit.h. */
#include "agent/steps/readmit.h"

#include "agent/steps/vdi_ledger.h"
#include "base/log.h"

/* One that cannot be admitted must not keep the others and the agent from working; its streams are
 * refused and its migration fails. */
static bool readmit(void *context, const struct step *step, struct error *err)
{
    struct step_environment *environment = context;
    __attribute__((cleanup(vdi_ledger_done))) struct vdi_ledger ledger = {0};
    if (step->kind != STEP_PREPARE)
        return true;
    if (!vdi_ledger_read(&ledger, environment->handoff.journal, step->spec.migration, err))
        return false;
    struct error why;
    if (ledger.count > 0 && !receiver_admit(environment->handoff.receivers, &step->spec, &why))
        log_error("migration %s cannot be received again: %s", step->spec.migration, why.text);
    return true;
}

bool readmit_receivers(struct step_environment *environment, struct error *err)
{
    return journal_each_step(environment->handoff.journal, readmit, environment, err);
}
