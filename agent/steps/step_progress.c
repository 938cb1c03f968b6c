/* Progress: the disks from the transfer, memory and pause from the handoff, the phase from whatever
 * runs last in a migration's life. */
#include "agent/steps/step_progress.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

/* Memory and pause stay known after the handoff; the phase is then somebody else's. */
static void add_last_handoff(struct registry *registry, const char *migration,
                             struct migration_progress *out)
{
    const struct migration_progress *last =
        registry_borrow(registry, migration, SLOT_HANDOFF_PROGRESS);
    if (!last)
        return;
    out->memory = last->memory;
    out->pause_us = last->pause_us;
    registry_return(registry, migration, SLOT_HANDOFF_PROGRESS);
}

static bool read_one(struct step_environment *environment, const char *migration,
                     struct migration_progress *out)
{
    struct registry *registry = environment->registry;
    struct transfer *transfer = registry_borrow(registry, migration, SLOT_TRANSFER);
    struct handoff_source *source = registry_borrow(registry, migration, SLOT_HANDOFF_SOURCE);
    if (transfer)
        transfer_progress(transfer, out);
    if (source)
        handoff_source_progress(source, out);
    else
        add_last_handoff(registry, migration, out);
    if (transfer)
        registry_return(registry, migration, SLOT_TRANSFER);
    if (source)
        registry_return(registry, migration, SLOT_HANDOFF_SOURCE);
    return transfer || source;
}

void step_progress_collect(struct step_environment *environment, struct step_engine *engine,
                           struct json_array *out)
{
    char(*names)[UUID_SIZE] = NULL;
    size_t count = registry_list(environment->registry, &names);
    for (size_t i = 0; i < count; i++) {
        struct migration_progress progress = {0};
        if (!read_one(environment, names[i], &progress))
            continue;
        memcpy(progress.migration, names[i], UUID_SIZE);
        if (step_engine_is_running(engine, names[i], STEP_ABORT_SOURCE))
            progress.phase = PHASE_ABORTING;
        if (step_engine_is_running(engine, names[i], STEP_CLEAN_SOURCE))
            progress.phase = PHASE_CLEANING;
        struct migration_progress *items = memory_resize(out->items, out->count + 1, sizeof *items);
        items[out->count++] = progress;
        out->items = items;
    }
    free(names);
}
