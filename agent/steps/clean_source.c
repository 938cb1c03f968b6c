/* Step clean-source: the domain is the destination's; what is left of it here goes. The only proof
 * that is good enough is the source's handoff record OWNED, or the coordinator's word for it. */
#include "agent/steps/handlers.h"

#include "base/failpoint.h"

#include <string.h>

/* A migration without a record: it was cleaned and forgotten before, or the journal was lost. Then
 * only what does not run here may be removed, and only on the coordinator's word. */
static bool check_without_record(struct step_environment *environment, const struct step *step,
                                 bool *is_over, struct error *err)
{
    bool is_here = false;
    enum domain_state state = DOMAIN_HALTED;
    if (!step_find_domain(environment, step->spec.domain, &is_here, &state, err))
        return false;
    *is_over = !is_here && step->verdict != VERDICT_OWNED;
    if (!is_here || (step->verdict == VERDICT_OWNED && state != DOMAIN_RUNNING))
        return true;
    return error_set(err, ERROR_CONFLICT,
                     "the domain is %s here and the journal knows of no handoff that committed",
                     domain_state_names[state]);
}

/* *is_over: there is nothing to do. */
static bool check_committed(struct step_run *run, const struct step *step, bool *is_over,
                            struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    struct handoff_record record;
    if (!step_source_record(environment, &step->spec, &record, err))
        return false;
    if (record.state == HANDOFF_NONE)
        return check_without_record(environment, step, is_over, err);
    if (record.state == HANDOFF_OWNED ||
        (record.state == HANDOFF_RELEASED && step->verdict == VERDICT_OWNED))
        return step_conclude_source(run, step, VERDICT_OWNED, err);
    return error_set(err, ERROR_CONFLICT, "the source's handoff record is %s, not owned",
                     handoff_state_names[record.state]);
}

/* No domain of this host may use a VDI that is about to be deleted. */
static bool check_unused(struct step_environment *environment, const struct domain_list *domains,
                         const struct spec_vdi *vdi, struct error *err)
{
    char sr[UUID_SIZE];
    char found[UUID_SIZE];
    for (size_t i = 0; i < domains->count; i++)
        for (size_t j = 0; j < domains->items[i].disk_count; j++)
            if (sr_set_identify(environment->handoff.srs, domains->items[i].disks[j].path, sr,
                                found) &&
                strcmp(sr, vdi->sr) == 0 && strcmp(found, vdi->vdi) == 0)
                return error_set(err, ERROR_CONFLICT, "VDI %s is used by domain %s", vdi->vdi,
                                 domains->items[i].uuid);
    return true;
}

static bool delete_disks(struct step_environment *environment, const struct migration_spec *spec,
                         struct error *err)
{
    __attribute__((cleanup(domain_list_done))) struct domain_list domains = {0};
    if (!environment->handoff.driver->list(environment->handoff.hypervisor, &domains, err))
        return false;
    for (size_t i = 0; i < spec->disks.count; i++) {
        const struct spec_vdi *vdi = &spec_disk_at(spec, i)->source;
        if (!check_unused(environment, &domains, vdi, err) ||
            !sr_set_remove(environment->handoff.srs, vdi->sr, vdi->vdi, err) ||
            !failpoint("clean-source.disk-deleted", err))
            return error_prefix(err, "disk %s", spec_disk_at(spec, i)->device);
    }
    return true;
}

static bool finish_transfer(struct step_environment *environment, const struct migration_spec *spec,
                            struct error *err)
{
    struct transfer *transfer = NULL;
    if (!step_take_transfer(environment, spec, &transfer, err))
        return false;
    bool is_done = transfer_finish(transfer, err);
    transfer_close(transfer);
    step_drop_handoff_progress(environment, spec->migration);
    return is_done;
}

/* What may start it again goes first: the host may die in the middle of the rest. */
static bool remove_domain(struct step_environment *environment, const struct migration_spec *spec,
                          struct error *err)
{
    const struct handoff_environment *handoff = &environment->handoff;
    if (handoff->driver->forget)
        handoff->driver->forget(handoff->hypervisor, spec->domain, spec->name);
    return handoff->driver->destroy(handoff->hypervisor, spec->domain, err);
}

bool step_clean_source(struct step_run *run, const struct step *step, struct step_result *result,
                       struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const struct migration_spec *spec = &step->spec;
    bool is_over = false;
    (void)result;
    if (!check_committed(run, step, &is_over, err))
        return false;
    bool is_done =
        is_over ||
        (failpoint("clean-source.begins", err) && remove_domain(environment, spec, err) &&
         finish_transfer(environment, spec, err) && delete_disks(environment, spec, err));
    return is_done && journal_forget(environment->handoff.journal, spec->migration, err);
}
