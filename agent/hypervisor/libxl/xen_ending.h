/* How a domain's guest ended, and what the domain's configuration wants then. Pure. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

/* Xen's shutdown codes, but for "suspend", which is no end. */
enum xen_ending {
    XEN_GOES_ON,
    XEN_POWEROFF,
    XEN_REBOOT,
    XEN_CRASH,
    XEN_WATCHDOG,
    XEN_SOFT_RESET,
};
enum xen_action {
    XEN_DESTROY,
    XEN_RESTART,
    XEN_RENAME_RESTART, /* the old domain stays, under another name and UUID */
    XEN_PRESERVE,
};
extern const char *const xen_action_names[]; /* libxl's words */

extern const char *const xen_ending_words[]; /* "the guest ..." */

enum guest_end xen_ending_of_guest(enum xen_ending ending);
/* By libxl's JSON of the domain; `ending` is an end. *left_out: what the configuration wants on top
 * and the guard does not do, or "". ERROR_INVALID when the JSON holds no such action. */
bool xen_ending_action(const char *config, enum xen_ending ending, enum xen_action *out,
                       const char **left_out, struct error *err) must_check;
