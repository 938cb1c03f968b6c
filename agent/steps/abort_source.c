/* Step abort-source: the domain runs on here as if nothing had been. Refused once the handoff is
 * past the point of no return. */
#include "agent/steps/handlers.h"

#include "agent/mirror/guest_run.h"
#include "base/failpoint.h"

/* A guest that has ended has nothing to be resumed. */
static bool has_guest_ended(const struct step_environment *environment,
                            const struct migration_spec *spec)
{
    const struct guest guest = {.driver = environment->handoff.driver,
                                .hypervisor = environment->handoff.hypervisor,
                                .journal = environment->handoff.journal,
                                .migration = spec->migration,
                                .domain = spec->domain};
    struct error why;
    return !guest_run_check(&guest, &why) && why.code == ERROR_GUEST_ENDED;
}

/* A handoff that was begun may have left the domain suspended. The record goes first: after it
 * nothing can release this epoch any more. */
static bool resume_domain(struct step_environment *environment, const struct migration_spec *spec,
                          struct error *err)
{
    struct handoff_record record;
    bool is_here = false;
    enum domain_state state;
    if (!step_source_record(environment, spec, &record, err))
        return false;
    if (record.state == HANDOFF_NONE)
        return true;
    record.state = HANDOFF_ABANDONED;
    return journal_put_handoff(environment->handoff.journal, &record, err) &&
           failpoint("abort-source.abandoned", err) &&
           step_find_domain(environment, spec->domain, &is_here, &state, err) &&
           (!is_here ||
            environment->handoff.driver->resume(environment->handoff.hypervisor, spec->domain,
                                                err) ||
            has_guest_ended(environment, spec));
}

bool step_abort_source(struct step_run *run, const struct step *step, struct step_result *result,
                       struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const struct migration_spec *spec = &step->spec;
    struct transfer *transfer = NULL;
    (void)result;
    if (!step_stop_source_work(run, spec, err) || !resume_domain(environment, spec, err) ||
        !step_take_transfer(environment, spec, &transfer, err))
        return false;
    bool is_done = transfer_abort(transfer, err);
    transfer_close(transfer);
    step_drop_handoff_progress(environment, spec->migration);
    return is_done && failpoint("abort-source.traces-removed", err) &&
           journal_forget(environment->handoff.journal, spec->migration, err);
}
