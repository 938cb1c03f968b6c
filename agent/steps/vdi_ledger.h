/* The VDIs that a migration made at its destination, as ledger entries "<sr>/<vdi>". Only what
 * stands here is ever deleted by an abort. */
#pragma once

#include "agent/journal/journal.h"

struct vdi_ledger {
    size_t count;
    struct vdi_reference {
        char sr[UUID_SIZE];
        char vdi[UUID_SIZE];
    } * items;
};

bool vdi_ledger_read(struct vdi_ledger *out, struct journal *journal, const char *migration,
                     struct error *err) must_check;
void vdi_ledger_done(struct vdi_ledger *ledger);
bool vdi_ledger_has(const struct vdi_ledger *ledger, const struct spec_vdi *vdi);
/* Before the VDI is made. */
bool vdi_ledger_add(struct journal *journal, const char *migration, const char *sr, const char *vdi,
                    struct error *err) must_check;
/* After it is gone, or became the VM's own. */
bool vdi_ledger_remove(struct journal *journal, const char *migration, const char *sr,
                       const char *vdi, struct error *err) must_check;
