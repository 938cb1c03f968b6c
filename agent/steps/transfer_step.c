/* Step transfer: mirrors and copies the disks; ends when all are mirrored. The transfer stays in
 * the registry afterwards, for the handoff and for what ends it. */
#include "agent/steps/handlers.h"

static void stop_transfer(void *transfer, bool is_shutdown)
{
    (void)is_shutdown;
    transfer_cancel(transfer);
}

bool step_transfer(struct step_run *run, const struct step *step, struct step_result *result,
                   struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const struct migration_spec *spec = &step->spec;
    struct transfer *transfer = NULL;
    (void)result;
    if (!step_stop_source_work(run, spec, err) ||
        !step_borrow_transfer(environment, spec, &transfer, err))
        return false;
    step_run_on_stop(run, stop_transfer, transfer);
    bool is_done = transfer_run(transfer, err);
    step_run_on_stop(run, NULL, NULL);
    registry_return(environment->registry, spec->migration, SLOT_TRANSFER);
    if (!is_done) /* one that was cancelled stays so: what comes next begins anew */
        transfer_close(registry_take(environment->registry, spec->migration, SLOT_TRANSFER));
    return is_done;
}
