/* What a domain's configuration wants when its guest ends: every action by every ending. */
#include "agent/hypervisor/libxl/xen_ending.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <string.h>

static struct error err;
static const char *left_out;

static const struct {
    enum xen_ending ending;
    const char *member;
} members[] = {
    {XEN_POWEROFF, "on_poweroff"}, {XEN_REBOOT, "on_reboot"},         {XEN_CRASH, "on_crash"},
    {XEN_WATCHDOG, "on_watchdog"}, {XEN_SOFT_RESET, "on_soft_reset"},
};
enum { MEMBERS = sizeof members / sizeof members[0] };

static enum xen_action action_of(const char *config, enum xen_ending ending)
{
    enum xen_action action = XEN_PRESERVE;
    cr_assert(xen_ending_action(config, ending, &action, &left_out, &err), "%s", err.text);
    return action;
}

static void check_word(const char *word, enum xen_action wanted, const char *wanted_left_out)
{
    for (int i = 0; i < MEMBERS; i++) {
        auto_free char *config = memory_format("{\"%s\": \"%s\"}", members[i].member, word);
        for (int j = 0; j < MEMBERS; j++) {
            enum xen_action action = action_of(config, members[j].ending);
            cr_assert_eq(action, i == j ? wanted : XEN_DESTROY, "%s, ending %d", config, j);
            cr_assert_str_eq(left_out, i == j ? wanted_left_out : "");
        }
    }
}

Test(xen_ending, is_answered_by_its_own_member_and_no_other)
{
    check_word("destroy", XEN_DESTROY, "");
    check_word("restart", XEN_RESTART, "");
    check_word("rename-restart", XEN_RENAME_RESTART, "");
    check_word("preserve", XEN_PRESERVE, "");
}

Test(xen_ending, that_wants_more_than_the_guard_does_says_what_is_left_out)
{
    check_word("coredump-destroy", XEN_DESTROY, "the core dump");
    check_word("coredump-restart", XEN_RESTART, "the core dump");
    check_word("soft-reset", XEN_RESTART, "keeping its memory (soft reset)");
}

Test(xen_ending, without_a_word_for_it_destroys_as_libxl_would)
{
    for (int i = 0; i < MEMBERS; i++)
        cr_assert_eq(action_of("{}", members[i].ending), XEN_DESTROY);
}

Test(xen_ending, with_an_unknown_word_is_refused)
{
    enum xen_action action;
    const char *const bad[] = {"{\"on_reboot\": \"explode\"}", "{\"on_reboot\": 2}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(xen_ending_action(bad[i], XEN_REBOOT, &action, &left_out, &err));
        cr_assert_eq(err.code, ERROR_INVALID);
        cr_assert(strstr(err.text, "on_reboot: unknown action"), "%s", err.text);
    }
    cr_assert_not(xen_ending_action("not JSON", XEN_REBOOT, &action, &left_out, &err));
}

Test(xen_ending, is_told_to_the_rest_in_its_words)
{
    cr_assert_eq(xen_ending_of_guest(XEN_GOES_ON), GUEST_RUNS);
    cr_assert_eq(xen_ending_of_guest(XEN_POWEROFF), GUEST_POWERED_OFF);
    cr_assert_eq(xen_ending_of_guest(XEN_REBOOT), GUEST_REBOOTED);
    cr_assert_eq(xen_ending_of_guest(XEN_SOFT_RESET), GUEST_REBOOTED);
    cr_assert_eq(xen_ending_of_guest(XEN_CRASH), GUEST_CRASHED);
    cr_assert_eq(xen_ending_of_guest(XEN_WATCHDOG), GUEST_CRASHED);
}
