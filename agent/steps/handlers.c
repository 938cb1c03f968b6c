/* The table of handlers and what several of them need. */
#include "agent/steps/handlers.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

step_handler *const step_handlers[] = {
    [STEP_PREPARE] = step_prepare,
    [STEP_TRANSFER] = step_transfer,
    [STEP_RECEIVE] = step_receive,
    [STEP_HANDOFF] = step_handoff,
    [STEP_CONCLUDE] = step_conclude,
    [STEP_ABORT_SOURCE] = step_abort_source,
    [STEP_ABORT_DESTINATION] = step_abort_destination,
    [STEP_CLEAN_SOURCE] = step_clean_source,
    [STEP_CLEAN_DESTINATION] = step_clean_destination,
};

bool step_borrow_transfer(struct step_environment *environment, const struct migration_spec *spec,
                          struct transfer **out, struct error *err)
{
    struct registry *registry = environment->registry;
    struct transfer *transfer = registry_borrow(registry, spec->migration, SLOT_TRANSFER);
    if (!transfer) {
        struct transfer *opened = NULL;
        if (!transfer_open(&opened, &environment->transfer, spec, err))
            return false;
        if (!registry_put(registry, spec->migration, SLOT_TRANSFER, opened))
            transfer_close(opened);
        transfer = registry_borrow(registry, spec->migration, SLOT_TRANSFER);
    }
    if (!transfer)
        return error_set(err, ERROR_CONFLICT, "the transfer is being ended by another step");
    *out = transfer;
    return true;
}

bool step_take_transfer(struct step_environment *environment, const struct migration_spec *spec,
                        struct transfer **out, struct error *err)
{
    struct transfer *transfer =
        registry_take(environment->registry, spec->migration, SLOT_TRANSFER);
    if (!transfer && !transfer_open(&transfer, &environment->transfer, spec, err))
        return false;
    *out = transfer;
    return true;
}

void step_keep_handoff_progress(struct step_environment *environment, const char *migration,
                                struct handoff_source *source)
{
    struct migration_progress *last = memory_alloc(sizeof *last);
    handoff_source_progress(source, last);
    step_drop_handoff_progress(environment, migration);
    if (!registry_put(environment->registry, migration, SLOT_HANDOFF_PROGRESS, last))
        free(last);
}

void step_drop_handoff_progress(struct step_environment *environment, const char *migration)
{
    free(registry_take(environment->registry, migration, SLOT_HANDOFF_PROGRESS));
}

bool step_source_record(struct step_environment *environment, const struct migration_spec *spec,
                        struct handoff_record *out, struct error *err)
{
    return journal_get_handoff(environment->handoff.journal, spec->migration, ROLE_SOURCE, out,
                               err);
}

bool step_check_source_owns(struct step_environment *environment, const struct migration_spec *spec,
                            struct error *err)
{
    struct handoff_record record;
    if (!step_source_record(environment, spec, &record, err))
        return false;
    if (record.state != HANDOFF_RELEASED && record.state != HANDOFF_OWNED)
        return true;
    return error_set(err, ERROR_CONFLICT, "the domain is %s: its handoff is past return",
                     record.state == HANDOFF_OWNED ? "owned by the destination" : "released");
}

struct wait {
    struct step_environment *environment;
    const struct migration_spec *spec;
};

static bool may_wait(void *context, struct error *err)
{
    const struct wait *wait = context;
    return step_check_source_owns(wait->environment, wait->spec, err);
}

bool step_stop_source_work(struct step_run *run, const struct migration_spec *spec,
                           struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    struct wait wait = {.environment = environment, .spec = spec};
    return step_check_source_owns(environment, spec, err) &&
           step_run_stop_others(run, STEP_BIT(TRANSFER) | STEP_BIT(HANDOFF), may_wait, &wait,
                                err) &&
           step_check_source_owns(environment, spec, err);
}

bool step_find_domain(struct step_environment *environment, const char *uuid, bool *is_here,
                      enum domain_state *state, struct error *err)
{
    struct domain_list list = {0};
    if (!environment->handoff.driver->list(environment->handoff.hypervisor, &list, err))
        return false;
    *is_here = false;
    for (size_t i = 0; i < list.count; i++)
        if (strcmp(list.items[i].uuid, uuid) == 0) {
            *is_here = true;
            *state = list.items[i].state;
        }
    domain_list_done(&list);
    return true;
}
