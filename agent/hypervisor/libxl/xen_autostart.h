/* What starts a domain of this host at its boot: the service xendomains does so for each file or
 * link in a folder, /etc/xen/auto, that xl takes for a configuration; libvirt for each link in its
 * own folder to the XML of a domain, which is known by its `uuid`. No Xen is needed here.
 * When a domain is another host's, its entry goes to a second folder, which nothing reads. */
#pragma once

#include "base/error.h"

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
