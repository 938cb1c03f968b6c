/* A migration moves one run of a guest: it is pinned durably, and no other is taken for it. */
#include "agent/mirror/guest_run.h"

#include "base/file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIGRATION "11111111-1111-4111-8111-111111111111"
#define DOMAIN    "33333333-3333-4333-8333-333333333333"

/* What the driver answers: the present run, and how the one before it ended. */
static char present[48]; /* "" = no such domain */
static enum guest_end present_end, older_end;
static bool is_deaf;
static int looks_left; /* then the run is gone; 0: it goes on */

static bool find_run(struct hypervisor *hv, const char *uuid, const char *id, struct guest_run *out,
                     struct error *err)
{
    (void)hv;
    cr_assert_str_eq(uuid, DOMAIN);
    if (is_deaf)
        return error_set(err, ERROR_INTERNAL, "the hypervisor does not answer");
    if (!*id && !*present)
        return error_set(err, ERROR_NOT_FOUND, "no domain");
    if (looks_left > 0 && --looks_left == 0)
        present_end = GUEST_GONE;
    bool is_present = !*id || strcmp(id, present) == 0;
    out->end = is_present ? present_end : older_end;
    snprintf(out->id, sizeof out->id, "%s", is_present ? present : id);
    return true;
}

static const struct hypervisor_driver driver = {.name = "test", .guest_run = find_run};
static char folder[64];
static struct guest guest = {.driver = &driver, .migration = MIGRATION, .domain = DOMAIN};
static struct error err;

static void open_journal(void)
{
    char path[96];
    journal_close(guest.journal);
    snprintf(path, sizeof path, "%s/journal.db", folder);
    cr_assert(journal_open(&guest.journal, path, &err), "%s", err.text);
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/crosspool-guest-run-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    guest.driver = &driver;
    guest.journal = NULL;
    is_deaf = false;
    looks_left = 0;
    present_end = GUEST_RUNS;
    older_end = GUEST_GONE;
    snprintf(present, sizeof present, "7/boot");
    open_journal();
}

static void teardown(void)
{
    journal_close(guest.journal);
    cr_assert(file_remove_tree(folder, &err), "%s", err.text);
}

TestSuite(guest_run, .init = setup, .fini = teardown);

static void must_have_ended(bool is_fine, const char *text)
{
    cr_assert_not(is_fine);
    cr_assert_eq(err.code, ERROR_GUEST_ENDED, "%s", err.text);
    cr_assert_str_eq(err.text, text);
}

Test(guest_run, is_pinned_once_and_over_restarts)
{
    cr_assert(guest_run_pin(&guest, &err), "%s", err.text);
    open_journal();
    snprintf(present, sizeof present, "8/boot");
    older_end = GUEST_REBOOTED;
    must_have_ended(guest_run_pin(&guest, &err), "the guest rebooted while it was moved");
    must_have_ended(guest_run_check(&guest, &err), "the guest rebooted while it was moved");
    must_have_ended(guest_run_is_here(&guest, &err), "the guest rebooted while it was moved");
}

Test(guest_run, that_ended_in_its_domain_is_still_here)
{
    cr_assert(guest_run_pin(&guest, &err));
    present_end = GUEST_POWERED_OFF;
    must_have_ended(guest_run_check(&guest, &err), "the guest powered off while it was moved");
    cr_assert(guest_run_is_here(&guest, &err));
}

Test(guest_run, is_gone_with_its_domain)
{
    cr_assert(guest_run_pin(&guest, &err));
    present[0] = '\0';
    must_have_ended(guest_run_is_here(&guest, &err),
                    "the guest ended, or its domain was destroyed, while it was moved");
    older_end = GUEST_CRASHED;
    must_have_ended(guest_run_is_here(&guest, &err), "the guest crashed while it was moved");
}

Test(guest_run, cannot_be_pinned_when_the_guest_does_not_run)
{
    present_end = GUEST_CRASHED;
    must_have_ended(guest_run_pin(&guest, &err), "the guest crashed while it was moved");
    present[0] = '\0';
    must_have_ended(guest_run_pin(&guest, &err),
                    "the guest ended, or its domain was destroyed, while it was moved");
}

Test(guest_run, of_a_migration_without_one_is_not_missed)
{
    present[0] = '\0';
    cr_assert(guest_run_check(&guest, &err));
    cr_assert(guest_run_is_here(&guest, &err));
    cr_assert(guest_run_forget(&guest, &err));
}

Test(guest_run, is_another_one_after_it_was_forgotten)
{
    cr_assert(guest_run_pin(&guest, &err));
    cr_assert(guest_run_forget(&guest, &err));
    snprintf(present, sizeof present, "8/boot");
    older_end = GUEST_REBOOTED;
    cr_assert(guest_run_pin(&guest, &err));
    cr_assert(guest_run_check(&guest, &err));
}

Test(guest_run, explains_what_was_seen_only_when_it_ended)
{
    struct error why = {.code = ERROR_UNREACHABLE, .text = "the connection ended"};
    cr_assert(guest_run_pin(&guest, &err));
    guest_run_explain(&guest, &why);
    cr_assert_eq(why.code, ERROR_UNREACHABLE);
    is_deaf = true;
    guest_run_explain(&guest, &why);
    cr_assert_str_eq(why.text, "the connection ended");
    is_deaf = false;
    present_end = GUEST_REBOOTED;
    guest_run_explain(&guest, &why);
    cr_assert_eq(why.code, ERROR_GUEST_ENDED);
    cr_assert_str_eq(why.text, "the guest rebooted while it was moved");
}

Test(guest_run, explains_a_qemu_whose_process_is_just_ending)
{
    struct error why = {.code = ERROR_NOT_FOUND, .text = "QEMU has ended"};
    cr_assert(guest_run_pin(&guest, &err));
    looks_left = 3;
    guest_run_explain(&guest, &why);
    cr_assert_eq(why.code, ERROR_GUEST_ENDED);
}

Test(guest_run, leaves_a_qemu_that_ended_alone_as_it_was_seen)
{
    struct error why = {.code = ERROR_NOT_FOUND, .text = "QEMU has ended"};
    cr_assert(guest_run_pin(&guest, &err));
    guest_run_explain(&guest, &why);
    cr_assert_eq(why.code, ERROR_NOT_FOUND);
}

Test(guest_run, is_not_asked_for_where_the_driver_knows_none)
{
    const struct hypervisor_driver silent = {.name = "test"};
    guest.driver = &silent;
    cr_assert(guest_run_pin(&guest, &err));
    cr_assert(guest_run_check(&guest, &err));
    cr_assert(guest_run_is_here(&guest, &err));
}
