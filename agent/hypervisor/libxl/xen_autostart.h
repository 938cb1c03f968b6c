/* What would start a domain of this host at its boot: the service xendomains does so for each file
 * or link in a folder, /etc/xen/auto, that xl takes for a configuration. No Xen is needed here. */
#pragma once

#include "base/error.h"

/* Moves the entries that are of the domain, by their `uuid` or, where they have none, by their
 * `name`, from folder to folder. *moved: how many. Safe to repeat; a missing folder is fine. */
bool xen_autostart_move(const char *from, const char *to, const char *uuid, const char *name,
                        int *moved, struct error *err) must_check;
