/* What starts a domain of this host at its boot: the service xendomains does so for each file or
 * link in a folder, /etc/xen/auto, that xl takes for a configuration. No Xen is needed here.
 *
 * When a domain is another host's, its entry goes to a second folder, which nothing reads. When a
 * domain arrives whose source had an entry, what will be its entry here waits in the agent's state
 * until the domain is this host's. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

enum { XEN_AUTOSTART_LIMIT = 64 << 10 /* bytes of a text that goes with its domain */ };

/* The text of the entry that is of the domain, by its `uuid` or, where the text has none, by its
 * `name`; the first one in the order of their names. NULL: there is none. ERROR_INVALID with the
 * reason when it cannot go with the domain: too large, no UTF-8. Owned by the caller. */
bool xen_autostart_find(const char *folder, const char *uuid, const char *name, char **text,
                        struct error *err) must_check;

/* Moves all such entries from folder to folder, where none takes the place of one that a person
 * wrote. *moved: how many. Safe to repeat; a missing folder is fine. */
bool xen_autostart_move(const char *from, const char *to, const char *uuid, const char *name,
                        int *moved, struct error *err) must_check;

/* An entry that waits for its domain to be this host's: <folder>/<uuid>. */
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
