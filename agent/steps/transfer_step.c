/* Step transfer: mirrors and copies the disks; ends when all are mirrored. The transfer stays in
 * the registry afterwards, for the handoff and for what ends it. */
#include "agent/steps/handlers.h"

#include "base/log.h"

static void stop_transfer(void *transfer, bool is_shutdown)
{
    (void)is_shutdown;
    transfer_cancel(transfer);
}

bool step_apply_settings(struct step_environment *environment,
                         const struct transfer_settings *settings, struct error *err)
{
    struct registry *registry = environment->registry;
    const char *migration = settings->migration;
    if (!journal_put_settings(environment->transfer.journal, settings, err))
        return false;
    struct transfer *transfer = registry_borrow(registry, migration, SLOT_TRANSFER);
    if (transfer) {
        transfer_set(transfer, settings);
        registry_return(registry, migration, SLOT_TRANSFER);
    }
    log_info("migration %s: settings %lld: %llu bytes/s%s%s", migration,
             (long long)settings->version, (unsigned long long)settings->bandwidth_bytes_per_s,
             settings->is_copy_paused ? ", copy paused" : "",
             settings->is_switchover_held ? ", switch-over held" : "");
    return true;
}

/* The transfer is in the registry by now, so that settings which come later find it there; of two
 * that race the higher version wins. */
static bool take_settings(struct step_environment *environment, struct transfer *transfer,
                          const char *migration, struct error *err)
{
    struct transfer_settings settings = {0};
    if (!journal_get_settings(environment->transfer.journal, migration, &settings, err))
        return false;
    if (settings.version > 0)
        transfer_set(transfer, &settings);
    return true;
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
    bool is_done =
        take_settings(environment, transfer, spec->migration, err) && transfer_run(transfer, err);
    step_run_on_stop(run, NULL, NULL);
    registry_return(environment->registry, spec->migration, SLOT_TRANSFER);
    if (!is_done) /* one that was cancelled stays so: what comes next begins anew */
        transfer_close(registry_take(environment->registry, spec->migration, SLOT_TRANSFER));
    return is_done;
}
