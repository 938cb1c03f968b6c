/* The records of restarts: whole or absent, and only of the domain they are named for. */
#include "agent/hypervisor/libxl/xen_restart.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DOMAIN "2f4dbb7e-63a1-4d4b-a31c-0b6a43c6f3a1"
#define OTHER  "33333333-3333-4333-8333-333333333333"
#define BOOT   "d3b07384-d9a0-4c9b-8f7a-0a1b2c3d4e5f"

static char top[64], folder[96];
static struct error err;

static void setup(void)
{
    snprintf(top, sizeof top, "/tmp/crosspool-restart-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(folder, sizeof folder, "%s/restarts", top);
}

static void teardown(void)
{
    cr_assert(file_remove_tree(top, &err), "%s", err.text);
}

TestSuite(xen_restart, .init = setup, .fini = teardown);

static char *read_fixture(const char *name)
{
    auto_free char *path = memory_format("%s/%s", FIXTURES, name);
    char *text = NULL;
    cr_assert(file_read(path, 1 << 20, &text, NULL, &err), "%s", err.text);
    return text;
}

static void write_record(const char *config)
{
    const struct xen_restart restart = {.uuid = DOMAIN,
                                        .boot = BOOT,
                                        .old_id = 7,
                                        .new_id = 9,
                                        .is_built = true,
                                        .memory_bytes = 128 << 20,
                                        .config = (char *)config};
    cr_assert(xen_restart_write(folder, &restart, &err), "%s", err.text);
}

static void put(const char *uuid, const char *text)
{
    auto_free char *path = memory_format("%s/%s", folder, uuid);
    cr_assert(file_make_directory(folder, 0700, &err));
    cr_assert(file_write(path, 0600, text, strlen(text), &err));
}

static void must_be_refused(const char *uuid, const char *text)
{
    auto_xen_restart struct xen_restart found = {0};
    put(uuid, text);
    cr_assert_not(xen_restart_read(folder, uuid, &found, &err));
    cr_assert_eq(err.code, ERROR_INVALID, "%s", err.text);
    cr_assert(strstr(err.text, uuid), "%s", err.text);
}

Test(xen_restart, is_read_as_it_was_written)
{
    auto_free char *config = read_fixture("pvh_running.json");
    auto_xen_restart struct xen_restart found = {0};
    write_record(config);
    cr_assert(xen_restart_read(folder, DOMAIN, &found, &err), "%s", err.text);
    cr_assert_str_eq(found.boot, BOOT);
    cr_assert_eq(found.old_id, 7);
    cr_assert_eq(found.new_id, 9);
    cr_assert(found.is_built && !found.keeps_old);
    cr_assert_eq(found.memory_bytes, 128 << 20);
    json_auto_t *before = json_loads(config, 0, NULL), *after = json_loads(found.config, 0, NULL);
    cr_assert(json_equal(before, after));
}

Test(xen_restart, that_is_missing_is_not_found)
{
    auto_xen_restart struct xen_restart found = {0};
    cr_assert_not(xen_restart_read(folder, DOMAIN, &found, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert(xen_restart_remove(folder, DOMAIN, &err));
}

Test(xen_restart, that_is_damaged_is_refused)
{
    must_be_refused(DOMAIN, "");
    must_be_refused(DOMAIN, "{\"uuid\": \"" DOMAIN "\"}");
    must_be_refused(
        DOMAIN,
        "{\"uuid\": \"" DOMAIN "\", \"boot\": \"b\", \"old_id\": -1, \"new_id\""
        ": 0, \"is_built\": false, \"keeps_old\": false, \"memory_bytes\": 1, \"config\": {}}");
    write_record("{}");
    auto_free char *path = memory_format("%s/%s", folder, DOMAIN);
    auto_free char *text = NULL;
    cr_assert(file_read(path, 1 << 20, &text, NULL, &err));
    must_be_refused(OTHER, text);
}

Test(xen_restart, is_listed_by_its_domain_until_it_is_removed)
{
    char(*uuids)[UUID_SIZE] = NULL;
    size_t count = 1;
    cr_assert(xen_restart_list(folder, &uuids, &count, &err));
    cr_assert_eq(count, 0);
    write_record("{}");
    put("notes", "of somebody else");
    cr_assert(xen_restart_list(folder, &uuids, &count, &err));
    cr_assert_eq(count, 1);
    cr_assert_str_eq(uuids[0], DOMAIN);
    free(uuids);
    cr_assert(xen_restart_remove(folder, DOMAIN, &err));
    cr_assert(xen_restart_list(folder, &uuids, &count, &err));
    cr_assert_eq(count, 0);
}

Test(xen_restart, makes_the_same_configuration_with_the_chosen_number)
{
    auto_free char *config = read_fixture("pvh_running.json");
    auto_free char *made = NULL;
    struct xen_restart restart = {.uuid = DOMAIN, .new_id = 9, .config = config};
    cr_assert(xen_restart_config(&restart, &made, &err), "%s", err.text);
    json_auto_t *before = json_loads(config, 0, NULL), *after = json_loads(made, 0, NULL);
    json_t *created = json_object_get(after, "c_info");
    cr_assert_eq(json_integer_value(json_object_get(created, "domid")), 9);
    json_object_del(created, "domid");
    json_object_del(json_object_get(before, "c_info"), "domid");
    cr_assert(json_equal(before, after));
}

Test(xen_restart, needs_a_configuration_that_can_be_one)
{
    char *made = NULL;
    const char *const bad[] = {"[]", "{}", "{\"c_info\": 3}", "{"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct xen_restart restart = {.uuid = DOMAIN, .new_id = 9, .config = (char *)bad[i]};
        cr_assert_not(xen_restart_config(&restart, &made, &err));
        cr_assert_eq(err.code, ERROR_INVALID, "%s", err.text);
    }
}

/* -- the lock */

static bool other_process_gets_lock(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        struct xen_restart_lock lock = XEN_RESTART_UNLOCKED;
        struct error why;
        bool is_held = xen_restart_lock(folder, &lock, &why);
        _exit(is_held ? 0 : why.code == ERROR_CONFLICT ? 1 : 2);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 0;
}

Test(xen_restart, one_process_at_a_time_starts_guests)
{
    struct xen_restart_lock lock = XEN_RESTART_UNLOCKED;
    cr_assert(other_process_gets_lock());
    cr_assert(xen_restart_lock(folder, &lock, &err), "%s", err.text);
    cr_assert_not(other_process_gets_lock());
    xen_restart_unlock(&lock);
    cr_assert(other_process_gets_lock());
    xen_restart_unlock(&lock);
}

Test(xen_restart, the_lock_is_no_record)
{
    struct xen_restart_lock lock = XEN_RESTART_UNLOCKED;
    auto_free char(*uuids)[UUID_SIZE] = NULL;
    size_t count = 1;
    cr_assert(xen_restart_lock(folder, &lock, &err), "%s", err.text);
    cr_assert(xen_restart_list(folder, &uuids, &count, &err));
    cr_assert_eq(count, 0);
    xen_restart_unlock(&lock);
}

Test(xen_restart, a_lock_that_cannot_be_made_says_so)
{
    struct xen_restart_lock lock = XEN_RESTART_UNLOCKED;
    cr_assert_not(xen_restart_lock("/proc/none/restarts", &lock, &err));
    cr_assert_eq(err.code, ERROR_INTERNAL);
    cr_assert_eq(lock.fd, -1);
}

Test(xen_restart, a_first_start_has_no_old_domain)
{
    auto_free char *config = read_fixture("pvh.json");
    const struct xen_restart first = {.uuid = DOMAIN, .boot = BOOT, .config = config};
    auto_xen_restart struct xen_restart found = {0};
    cr_assert(xen_restart_write(folder, &first, &err), "%s", err.text);
    cr_assert(xen_restart_read(folder, DOMAIN, &found, &err), "%s", err.text);
    cr_assert_eq(found.old_id, 0);
    cr_assert_eq(found.new_id, 0);
}
