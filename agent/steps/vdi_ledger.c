/* Ledger entries of VDIs; see vdi_ledger.h. */
#include "agent/steps/vdi_ledger.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { REFERENCE_SIZE = 2 * UUID_SIZE }; /* two UUIDs, a slash and NUL */

static bool read_entry(void *context, const struct ledger_entry *entry, struct error *err)
{
    struct vdi_ledger *ledger = context;
    if (strcmp(entry->kind, "vdi") != 0)
        return true;
    struct vdi_reference found = {0};
    size_t length = UUID_SIZE - 1;
    if (strlen(entry->reference) != 2 * length + 1 || entry->reference[length] != '/')
        return error_set(err, ERROR_INTERNAL, "ledger: \"%s\" is no VDI", entry->reference);
    memcpy(found.sr, entry->reference, length);
    memcpy(found.vdi, entry->reference + length + 1, length);
    ledger->items = memory_resize(ledger->items, ledger->count + 1, sizeof *ledger->items);
    ledger->items[ledger->count++] = found;
    return true;
}

bool vdi_ledger_read(struct vdi_ledger *out, struct journal *journal, const char *migration,
                     struct error *err)
{
    struct vdi_ledger ledger = {0};
    if (!journal_each_ledger(journal, migration, read_entry, &ledger, err)) {
        vdi_ledger_done(&ledger);
        return false;
    }
    *out = ledger;
    return true;
}

void vdi_ledger_done(struct vdi_ledger *ledger)
{
    free(ledger->items);
    *ledger = (struct vdi_ledger){0};
}

bool vdi_ledger_has(const struct vdi_ledger *ledger, const struct spec_vdi *vdi)
{
    for (size_t i = 0; i < ledger->count; i++)
        if (strcmp(ledger->items[i].sr, vdi->sr) == 0 &&
            strcmp(ledger->items[i].vdi, vdi->vdi) == 0)
            return true;
    return false;
}

static void write_reference(char out[REFERENCE_SIZE], const char *sr, const char *vdi)
{
    snprintf(out, REFERENCE_SIZE, "%s/%s", sr, vdi);
}

bool vdi_ledger_add(struct journal *journal, const char *migration, const char *sr, const char *vdi,
                    struct error *err)
{
    char reference[REFERENCE_SIZE];
    write_reference(reference, sr, vdi);
    return journal_ledger_add(journal, migration, "vdi", reference, err);
}

bool vdi_ledger_remove(struct journal *journal, const char *migration, const char *sr,
                       const char *vdi, struct error *err)
{
    char reference[REFERENCE_SIZE];
    write_reference(reference, sr, vdi);
    return journal_ledger_remove(journal, migration, "vdi", reference, err);
}
