/* The durable record of a domain that comes from a host which starts it at its boot: what will be
 * its entry here (xen_autostart.h) waits until the domain is this host's. One file for each domain,
 * <state_directory>/autostart/<uuid>. No Xen is needed here. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

struct xen_arrival {
    char uuid[UUID_SIZE];
    char *name; /* of the domain */
    char *text; /* of the entry */
};
bool xen_arrival_write(const char *folder, const struct xen_arrival *arrival,
                       struct error *err) must_check;
/* ERROR_NOT_FOUND when there is none. */
bool xen_arrival_read(const char *folder, const char *uuid, struct xen_arrival *out,
                      struct error *err) must_check;
bool xen_arrival_remove(const char *folder, const char *uuid, struct error *err) must_check;
void xen_arrival_done(struct xen_arrival *arrival);
#define auto_xen_arrival __attribute__((cleanup(xen_arrival_done)))
/* Puts the text into folder `into`, as <name>.cfg, whole or not at all, after what else there is of
 * the domain has gone to `moved`; as <uuid>.cfg where the name is no file's or another domain's
 * entry has it. *entry: where it is; owned by the caller. Safe to repeat. */
bool xen_arrival_place(const struct xen_arrival *arrival, const char *into, const char *moved,
                       char **entry, struct error *err) must_check;
