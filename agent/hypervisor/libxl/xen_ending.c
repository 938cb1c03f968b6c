/* The table of endings and actions; see xen_ending.h. */
#include "agent/hypervisor/libxl/xen_ending.h"

#include <string.h>

const char *const xen_action_names[] = {"destroy", "restart", "rename-restart", "preserve", NULL};

const char *const xen_ending_words[] = {
    [XEN_GOES_ON] = "goes on",
    [XEN_POWEROFF] = "powered off",
    [XEN_REBOOT] = "rebooted",
    [XEN_CRASH] = "crashed",
    [XEN_WATCHDOG] = "was ended by its watchdog",
    [XEN_SOFT_RESET] = "asked for a soft reset",
};

/* `missing`: libxl leaves out what has its default. */
static const struct {
    const char *member, *missing;
    enum guest_end end;
} endings[] = {
    [XEN_GOES_ON] = {"", "", GUEST_RUNS},
    [XEN_POWEROFF] = {"on_poweroff", "destroy", GUEST_POWERED_OFF},
    [XEN_REBOOT] = {"on_reboot", "destroy", GUEST_REBOOTED},
    [XEN_CRASH] = {"on_crash", "destroy", GUEST_CRASHED},
    [XEN_WATCHDOG] = {"on_watchdog", "destroy", GUEST_CRASHED},
    [XEN_SOFT_RESET] = {"on_soft_reset", "destroy", GUEST_REBOOTED},
};

static const struct {
    const char *word;
    enum xen_action action;
    const char *left_out;
} actions[] = {
    {"destroy", XEN_DESTROY, ""},
    {"restart", XEN_RESTART, ""},
    {"rename-restart", XEN_RENAME_RESTART, ""},
    {"preserve", XEN_PRESERVE, ""},
    {"coredump-destroy", XEN_DESTROY, "the core dump"},
    {"coredump-restart", XEN_RESTART, "the core dump"},
    {"soft-reset", XEN_RESTART, "keeping its memory (soft reset)"},
};

enum guest_end xen_ending_of_guest(enum xen_ending ending)
{
    return endings[ending].end;
}

bool xen_ending_action(const char *config, enum xen_ending ending, enum xen_action *out,
                       const char **left_out, struct error *err)
{
    json_auto_t *root = NULL;
    if (!json_parse(config, strlen(config), &root, err))
        return error_prefix(err, "configuration");
    const json_t *found = json_object_get(root, endings[ending].member);
    const char *word = found ? json_string_value(found) : endings[ending].missing;
    for (size_t i = 0; word && i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(word, actions[i].word) != 0)
            continue;
        *out = actions[i].action;
        *left_out = actions[i].left_out;
        return true;
    }
    return error_set(err, ERROR_INVALID, "configuration: %s: unknown action \"%s\"",
                     endings[ending].member, word ? word : "");
}
