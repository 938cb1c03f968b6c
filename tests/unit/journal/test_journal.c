/* The agent's journal: durable, forward only, honest about damaged files. */
#include "agent/journal/journal.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/wait.h>

#define MIGRATION "11111111-1111-4111-8111-111111111111"
#define OTHER     "22222222-2222-4222-8222-222222222222"
#define DOMAIN    "33333333-3333-4333-8333-333333333333"
#define STEP_A    "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
#define STEP_B    "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"

static char folder[64];
static char path[96];
static struct journal *journal;
static struct error err;

static void open_again(void)
{
    journal_close(journal);
    journal = NULL;
    cr_assert(journal_open(&journal, path, &err), "%s", err.text);
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/crosspool-journal-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/journal.db", folder);
    open_again();
}

static void teardown(void)
{
    journal_close(journal);
    cr_assert(file_remove_tree(folder, &err), "%s", err.text);
}

TestSuite(journal, .init = setup, .fini = teardown);

static struct step make_step(const char *id, const char *migration)
{
    struct step step = {.kind = STEP_TRANSFER, .epoch = 7};
    snprintf(step.id, sizeof step.id, "%s", id);
    snprintf(step.spec.migration, sizeof step.spec.migration, "%s", migration);
    snprintf(step.spec.domain, sizeof step.spec.domain, DOMAIN);
    snprintf(step.spec.name, sizeof step.spec.name, "g1 \"quoted\"");
    step.spec.memory_bytes = 128 << 20;
    snprintf(step.spec.source.id, sizeof step.spec.source.id, STEP_A);
    snprintf(step.spec.source.address, sizeof step.spec.source.address, "10.0.0.1");
    step.spec.source.port = 7801;
    step.spec.destination = step.spec.source;
    struct spec_disk *disk = memory_alloc(sizeof *disk);
    snprintf(disk->device, sizeof disk->device, "vda");
    disk->size_bytes = 1 << 20;
    snprintf(disk->source.sr, UUID_SIZE, STEP_A);
    snprintf(disk->source.vdi, UUID_SIZE, STEP_B);
    disk->destination = disk->source;
    disk->destination.format = IMAGE_QCOW2;
    step.spec.disks = (struct json_array){.items = disk, .count = 1};
    step.spec.stall_limit_ms = 2000;
    step.spec.parallel_disks = 1;
    return step;
}

static bool accept_step(const char *id, const char *migration)
{
    struct step step = make_step(id, migration);
    bool is_new = false;
    cr_assert(journal_accept_step(journal, &step, &is_new, &err), "%s", err.text);
    json_release(step_fields, &step);
    return is_new;
}

static void finish_step(const char *id)
{
    struct step_result result = {.is_done = false, .error = ERROR_NO_SPACE};
    snprintf(result.step, sizeof result.step, "%s", id);
    snprintf(result.error_text, sizeof result.error_text, "disk full");
    cr_assert(journal_finish_step(journal, &result, &err), "%s", err.text);
}

struct seen {
    int count;
    char ids[8][UUID_SIZE];
    struct step_result last_result;
};

static bool see_step(void *context, const struct step *step, struct error *error)
{
    (void)error;
    struct seen *seen = context;
    snprintf(seen->ids[seen->count++], UUID_SIZE, "%s", step->id);
    cr_expect_eq(step->kind, STEP_TRANSFER);
    cr_expect_eq(step->epoch, 7);
    cr_expect_str_eq(step->spec.name, "g1 \"quoted\"");
    cr_assert_eq(step->spec.disks.count, 1);
    cr_expect_eq(spec_disk_at(&step->spec, 0)->destination.format, IMAGE_QCOW2);
    return true;
}

static bool see_result(void *context, const struct step_result *result, struct error *error)
{
    (void)error;
    struct seen *seen = context;
    snprintf(seen->ids[seen->count++], UUID_SIZE, "%s", result->step);
    seen->last_result = *result;
    return true;
}

static struct seen unfinished(void)
{
    struct seen seen = {0};
    cr_assert(journal_unfinished(journal, see_step, &seen, &err), "%s", err.text);
    return seen;
}

static struct seen unreported(void)
{
    struct seen seen = {0};
    cr_assert(journal_unreported(journal, see_result, &seen, &err), "%s", err.text);
    return seen;
}

Test(journal, step_is_new_once_and_survives_reopening)
{
    cr_expect(accept_step(STEP_A, MIGRATION));
    cr_expect(accept_step(STEP_B, MIGRATION));
    cr_expect_not(accept_step(STEP_A, MIGRATION));
    open_again();
    cr_expect_not(accept_step(STEP_A, MIGRATION));
    struct seen seen = unfinished();
    cr_assert_eq(seen.count, 2);
    cr_expect_str_eq(seen.ids[0], STEP_A);
    cr_expect_str_eq(seen.ids[1], STEP_B);
}

Test(journal, finished_step_is_reported_until_acknowledged_and_never_new_again)
{
    accept_step(STEP_A, MIGRATION);
    finish_step(STEP_A);
    open_again();
    cr_expect_eq(unfinished().count, 0);
    struct seen seen = unreported();
    cr_assert_eq(seen.count, 1);
    cr_expect_eq(seen.last_result.error, ERROR_NO_SPACE);
    cr_expect_str_eq(seen.last_result.error_text, "disk full");
    cr_assert(journal_step_reported(journal, STEP_A, &err));
    cr_expect_eq(unreported().count, 0);
    cr_expect_not(accept_step(STEP_A, MIGRATION));
}

Test(journal, each_step_shows_finished_ones_until_forgotten)
{
    struct seen seen = {0};
    accept_step(STEP_A, MIGRATION);
    accept_step(STEP_B, OTHER);
    finish_step(STEP_A);
    cr_assert(journal_step_reported(journal, STEP_A, &err));
    cr_assert(journal_each_step(journal, see_step, &seen, &err));
    cr_expect_eq(seen.count, 2);
    seen = (struct seen){0};
    cr_assert(journal_forget(journal, OTHER, &err));
    cr_assert(journal_each_step(journal, see_step, &seen, &err));
    cr_assert_eq(seen.count, 1);
    cr_expect_str_eq(seen.ids[0], STEP_A);
}

Test(journal, second_result_of_a_step_is_refused)
{
    accept_step(STEP_A, MIGRATION);
    finish_step(STEP_A);
    struct step_result result = {.is_done = true, .step = STEP_A};
    cr_expect_not(journal_finish_step(journal, &result, &err));
    cr_expect_eq(err.code, ERROR_CONFLICT);
    cr_expect_not(unreported().last_result.is_done);
}

Test(journal, unfinished_step_cannot_be_reported)
{
    accept_step(STEP_A, MIGRATION);
    cr_assert(journal_step_reported(journal, STEP_A, &err));
    cr_expect_eq(unfinished().count, 1);
    finish_step(STEP_A);
    cr_expect_eq(unreported().count, 1);
}

static bool put(enum migration_role role, int64_t epoch, enum handoff_state state)
{
    struct handoff_record record = {
        .migration = MIGRATION, .domain = DOMAIN, .role = role, .epoch = epoch, .state = state};
    return journal_put_handoff(journal, &record, &err);
}

static void check_refused(enum migration_role role, int64_t epoch, enum handoff_state state)
{
    struct handoff_record before;
    struct handoff_record after;
    cr_assert(journal_get_handoff(journal, MIGRATION, role, &before, &err));
    cr_expect_not(put(role, epoch, state), "%s of epoch %ld was let through after %s of epoch %ld",
                  handoff_state_names[state], (long)epoch, handoff_state_names[before.state],
                  (long)before.epoch);
    cr_expect_eq(err.code, ERROR_REFUSED);
    cr_assert(journal_get_handoff(journal, MIGRATION, role, &after, &err));
    cr_expect_eq(after.state, before.state);
    cr_expect_eq(after.epoch, before.epoch);
}

static void check_put(enum migration_role role, int64_t epoch, enum handoff_state state)
{
    cr_assert(put(role, epoch, state), "%s", err.text);
}

Test(journal, handoff_begins_with_nothing)
{
    struct handoff_record record;
    cr_assert(journal_get_handoff(journal, MIGRATION, ROLE_SOURCE, &record, &err));
    cr_expect_eq(record.state, HANDOFF_NONE);
    cr_expect_eq(record.epoch, 0);
    check_refused(ROLE_SOURCE, 1, HANDOFF_RELEASED);
    check_refused(ROLE_DESTINATION, 1, HANDOFF_PREPARED);
    check_refused(ROLE_DESTINATION, 1, HANDOFF_OWNED);
    check_refused(ROLE_DESTINATION, 0, HANDOFF_STREAMING);
}

Test(journal, source_never_goes_back)
{
    check_put(ROLE_SOURCE, 2, HANDOFF_STREAMING);
    check_put(ROLE_SOURCE, 2, HANDOFF_STREAMING);
    check_refused(ROLE_SOURCE, 1, HANDOFF_STREAMING);
    check_refused(ROLE_SOURCE, 2, HANDOFF_PREPARED);
    check_refused(ROLE_SOURCE, 2, HANDOFF_OWNED);
    check_put(ROLE_SOURCE, 2, HANDOFF_RELEASED);
    check_refused(ROLE_SOURCE, 2, HANDOFF_STREAMING);
    check_refused(ROLE_SOURCE, 3, HANDOFF_STREAMING);
    check_refused(ROLE_SOURCE, 3, HANDOFF_ABANDONED);
    check_put(ROLE_SOURCE, 2, HANDOFF_OWNED);
    check_refused(ROLE_SOURCE, 2, HANDOFF_ABANDONED);
    check_refused(ROLE_SOURCE, 3, HANDOFF_STREAMING);
}

Test(journal, destination_verdict_never_changes)
{
    check_put(ROLE_DESTINATION, 1, HANDOFF_STREAMING);
    check_refused(ROLE_DESTINATION, 1, HANDOFF_RELEASED);
    check_refused(ROLE_DESTINATION, 1, HANDOFF_OWNED);
    check_put(ROLE_DESTINATION, 1, HANDOFF_PREPARED);
    check_put(ROLE_DESTINATION, 1, HANDOFF_ABANDONED);
    check_refused(ROLE_DESTINATION, 1, HANDOFF_OWNED);
    check_refused(ROLE_DESTINATION, 1, HANDOFF_STREAMING);
    check_put(ROLE_DESTINATION, 2, HANDOFF_STREAMING);
    check_put(ROLE_DESTINATION, 2, HANDOFF_PREPARED);
    check_put(ROLE_DESTINATION, 2, HANDOFF_OWNED);
    check_refused(ROLE_DESTINATION, 2, HANDOFF_ABANDONED);
    check_refused(ROLE_DESTINATION, 3, HANDOFF_STREAMING);
    check_refused(ROLE_DESTINATION, 3, HANDOFF_ABANDONED);
}

Test(journal, roles_of_one_migration_are_apart)
{
    check_put(ROLE_SOURCE, 5, HANDOFF_STREAMING);
    check_put(ROLE_DESTINATION, 1, HANDOFF_STREAMING);
    struct handoff_record other = {
        .migration = MIGRATION, .domain = OTHER, .epoch = 6, .state = HANDOFF_STREAMING};
    cr_expect_not(journal_put_handoff(journal, &other, &err));
    cr_expect_eq(err.code, ERROR_REFUSED);
}

static bool see_record(void *context, const struct handoff_record *record, struct error *error)
{
    (void)error;
    char *order = context;
    strcat(order, record->role == ROLE_SOURCE ? "s" : "d");
    return true;
}

Test(journal, handoffs_are_visited_in_order_of_their_last_change)
{
    char order[8] = "";
    check_put(ROLE_SOURCE, 1, HANDOFF_STREAMING);
    check_put(ROLE_DESTINATION, 1, HANDOFF_STREAMING);
    check_put(ROLE_SOURCE, 1, HANDOFF_ABANDONED);
    cr_assert(journal_each_handoff(journal, see_record, order, &err));
    cr_expect_str_eq(order, "ds");
}

Test(journal, numbers_only_grow)
{
    int64_t value = 0;
    cr_assert(journal_next(journal, "inventory", &value, &err));
    cr_expect_eq(value, 1);
    open_again();
    cr_assert(journal_next(journal, "inventory", &value, &err));
    cr_expect_eq(value, 2);
    cr_assert(journal_raise(journal, "inventory", 10, &err));
    cr_expect_not(journal_raise(journal, "inventory", 10, &err));
    cr_expect_eq(err.code, ERROR_REFUSED);
    cr_expect_not(journal_raise(journal, "inventory", 9, &err));
    cr_assert(journal_current(journal, "inventory", &value, &err));
    cr_expect_eq(value, 10);
    cr_assert(journal_current(journal, "unheard-of", &value, &err));
    cr_expect_eq(value, 0);
}

struct ledger_seen {
    int count;
    struct ledger_entry entries[8];
};

static bool see_entry(void *context, const struct ledger_entry *entry, struct error *error)
{
    (void)error;
    struct ledger_seen *seen = context;
    seen->entries[seen->count++] = *entry;
    return true;
}

static struct ledger_seen ledger_unreported(void)
{
    struct ledger_seen seen = {0};
    cr_assert(journal_unreported_ledger(journal, see_entry, &seen, &err), "%s", err.text);
    return seen;
}

static int ledger_left(const char *migration)
{
    struct ledger_seen seen = {0};
    cr_assert(journal_each_ledger(journal, migration, see_entry, &seen, &err), "%s", err.text);
    return seen.count;
}

static void ledger(const char *migration, const char *reference, bool is_there)
{
    cr_assert(is_there ? journal_ledger_add(journal, migration, "vdi", reference, &err)
                       : journal_ledger_remove(journal, migration, "vdi", reference, &err),
              "%s", err.text);
}

Test(journal, ledger_reports_each_change_once)
{
    ledger(MIGRATION, "one", true);
    ledger(MIGRATION, "one", true);
    ledger(OTHER, "two", true);
    struct ledger_seen seen = ledger_unreported();
    cr_assert_eq(seen.count, 2);
    cr_expect_lt(seen.entries[0].sequence, seen.entries[1].sequence);
    cr_expect_eq(ledger_left(MIGRATION), 1);
    cr_expect_eq(ledger_left(NULL), 2);
    int64_t up_to = seen.entries[1].sequence;
    ledger(MIGRATION, "one", false);
    cr_assert(journal_ledger_reported(journal, up_to, &err));
    seen = ledger_unreported();
    cr_assert_eq(seen.count, 1);
    cr_expect(seen.entries[0].is_removed);
    cr_expect_gt(seen.entries[0].sequence, up_to);
    cr_assert(journal_ledger_reported(journal, seen.entries[0].sequence, &err));
    ledger(MIGRATION, "one", false);
    cr_expect_eq(ledger_unreported().count, 0);
    cr_expect_eq(ledger_left(NULL), 1);
}

Test(journal, ledger_entry_made_again_counts_again)
{
    ledger(MIGRATION, "one", true);
    ledger(MIGRATION, "one", false);
    ledger(MIGRATION, "one", true);
    cr_expect_eq(ledger_left(MIGRATION), 1);
    cr_expect_not(ledger_unreported().entries[0].is_removed);
}

Test(journal, migration_with_something_left_is_not_forgotten)
{
    accept_step(STEP_A, MIGRATION);
    ledger(MIGRATION, "one", true);
    cr_expect_not(journal_forget(journal, MIGRATION, &err));
    cr_expect_eq(err.code, ERROR_CONFLICT);
    ledger(MIGRATION, "one", false);
    check_put(ROLE_SOURCE, 1, HANDOFF_STREAMING);
    check_put(ROLE_SOURCE, 1, HANDOFF_RELEASED);
    cr_expect_not(journal_forget(journal, MIGRATION, &err));
    cr_expect_eq(err.code, ERROR_CONFLICT);
    check_put(ROLE_SOURCE, 1, HANDOFF_OWNED);
    cr_expect(journal_forget(journal, MIGRATION, &err), "%s", err.text);
}

Test(journal, forgetting_keeps_what_is_not_reported)
{
    int64_t value = 0;
    accept_step(STEP_A, MIGRATION);
    accept_step(STEP_B, MIGRATION);
    finish_step(STEP_A);
    ledger(MIGRATION, "one", true);
    ledger(MIGRATION, "one", false);
    cr_assert(journal_raise(journal, "mirror/" MIGRATION "/0", 4, &err));
    cr_assert(journal_raise(journal, "mirror/" OTHER "/0", 5, &err));
    cr_assert(journal_forget(journal, MIGRATION, &err), "%s", err.text);
    cr_expect_eq(unfinished().count, 1);
    cr_expect_eq(unreported().count, 1);
    cr_expect_eq(ledger_unreported().count, 1);
    cr_assert(journal_current(journal, "mirror/" MIGRATION "/0", &value, &err));
    cr_expect_eq(value, 0);
    cr_assert(journal_current(journal, "mirror/" OTHER "/0", &value, &err));
    cr_expect_eq(value, 5);
    finish_step(STEP_B);
    cr_assert(journal_step_reported(journal, STEP_A, &err));
    cr_assert(journal_step_reported(journal, STEP_B, &err));
    cr_expect(accept_step(STEP_A, MIGRATION), "its row should be gone");
}

Test(journal, forgetting_keeps_the_destinations_verdict_without_its_domain)
{
    struct handoff_record record;
    check_put(ROLE_SOURCE, 1, HANDOFF_STREAMING);
    check_put(ROLE_SOURCE, 1, HANDOFF_ABANDONED);
    check_put(ROLE_DESTINATION, 1, HANDOFF_STREAMING);
    check_put(ROLE_DESTINATION, 1, HANDOFF_ABANDONED);
    cr_assert(journal_forget(journal, MIGRATION, &err), "%s", err.text);
    cr_assert(journal_get_handoff(journal, MIGRATION, ROLE_SOURCE, &record, &err));
    cr_expect_eq(record.state, HANDOFF_NONE);
    cr_assert(journal_get_handoff(journal, MIGRATION, ROLE_DESTINATION, &record, &err));
    cr_expect_eq(record.state, HANDOFF_ABANDONED);
    cr_expect_str_eq(record.domain, "");
    check_refused(ROLE_DESTINATION, 1, HANDOFF_OWNED);
}

/* Counts up and tells each value through the pipe only after it is durable. */
static void write_until_killed(int fd)
{
    int64_t value = 0;
    open_again();
    while (journal_next(journal, "count", &value, &err))
        if (write(fd, &value, sizeof value) != sizeof value)
            break;
    _exit(1);
}

Test(journal, acknowledged_writes_survive_kill)
{
    int64_t told = 0;
    journal_close(take(journal));
    for (int round = 0; round < 5; round++) {
        int ends[2];
        cr_assert_eq(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0)
            write_until_killed(ends[1]);
        close(ends[1]);
        int64_t goal = told + 20 + round;
        while (told < goal)
            cr_assert_eq(read(ends[0], &told, sizeof told), sizeof told);
        cr_assert_eq(kill(child, SIGKILL), 0);
        waitpid(child, NULL, 0);
        while (read(ends[0], &told, sizeof told) == sizeof told)
            ;
        close(ends[0]);
        open_again();
        int64_t value = 0;
        cr_assert(journal_current(journal, "count", &value, &err), "%s", err.text);
        cr_expect_geq(value, told);
        cr_expect_leq(value, told + 1);
        told = value;
        journal_close(take(journal));
    }
}

static void check_refuses_file(const char *expected)
{
    struct journal *other = NULL;
    cr_assert_not(journal_open(&other, path, &err));
    cr_expect_eq(err.code, ERROR_INVALID);
    cr_expect_not_null(strstr(err.text, path), "%s", err.text);
    cr_expect_not_null(strstr(err.text, expected), "%s", err.text);
}

Test(journal, file_that_is_no_database_is_refused_and_untouched)
{
    journal_close(take(journal));
    char noise[8192];
    memset(noise, 'x', sizeof noise);
    cr_assert(file_write(path, 0600, noise, sizeof noise, &err));
    check_refuses_file("no SQLite database");
    auto_free char *text = NULL;
    size_t size = 0;
    cr_assert(file_read(path, 1 << 20, &text, &size, &err));
    cr_expect_eq(size, sizeof noise);
    cr_expect_eq(memcmp(text, noise, size), 0);
}

Test(journal, damaged_page_is_refused)
{
    for (int i = 0; i < 50; i++) {
        char reference[200];
        snprintf(reference, sizeof reference, "%0190d", i);
        ledger(MIGRATION, reference, true);
    }
    journal_close(take(journal)); /* the last close brings everything into the file */
    auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
    char noise[4096];
    memset(noise, 0xa5, sizeof noise);
    for (off_t page = 1; page < 8; page++)
        cr_assert_eq(pwrite(fd, noise, sizeof noise, page * 4096), sizeof noise);
    check_refuses_file("damaged");
}

static void run_sql(const char *sql)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

Test(journal, database_of_another_program_is_refused)
{
    journal_close(take(journal));
    cr_assert_eq(unlink(path), 0);
    run_sql("CREATE TABLE recipes (name TEXT)");
    check_refuses_file("not an agent's");
    run_sql("INSERT INTO recipes VALUES ('soup')");
}

Test(journal, newer_schema_is_refused)
{
    journal_close(take(journal));
    run_sql("PRAGMA user_version = 99");
    check_refuses_file("version 99 is newer");
}

/* ---- settings of transfers */

static struct transfer_settings make_settings(int64_t version, uint64_t bandwidth)
{
    struct transfer_settings settings = {
        .version = version, .bandwidth_bytes_per_s = bandwidth, .is_copy_paused = true};
    memcpy(settings.migration, MIGRATION, UUID_SIZE);
    return settings;
}

static void assert_settings(int64_t version, uint64_t bandwidth)
{
    struct transfer_settings found = {0};
    cr_assert(journal_get_settings(journal, MIGRATION, &found, &err), "%s", err.text);
    cr_expect_eq(found.version, version);
    cr_expect_eq(found.bandwidth_bytes_per_s, bandwidth);
    cr_expect_eq(found.is_copy_paused, version > 0);
    cr_expect_not(found.is_switchover_held);
}

Test(journal, settings_of_the_highest_version_stay_until_the_migration_is_forgotten)
{
    const struct transfer_settings second = make_settings(2, 200);
    const struct transfer_settings first = make_settings(1, 100);
    struct json_array known = {0};
    assert_settings(0, 0);
    cr_assert(journal_put_settings(journal, &second, &err), "%s", err.text);
    cr_assert(journal_put_settings(journal, &first, &err), "%s", err.text);
    open_again();
    assert_settings(2, 200);
    cr_assert(journal_settings_known(journal, &known, &err), "%s", err.text);
    cr_assert_eq(known.count, 1);
    const struct settings_known *one = known.items;
    cr_expect_str_eq(one->migration, MIGRATION);
    cr_expect_eq(one->version, 2);
    free(known.items);
    cr_assert(journal_forget(journal, MIGRATION, &err), "%s", err.text);
    assert_settings(0, 0);
}

Test(journal, a_file_of_the_first_schema_is_brought_to_the_second)
{
    const struct transfer_settings settings = make_settings(1, 100);
    ledger(MIGRATION, "kept", true);
    journal_close(take(journal));
    run_sql("DROP TABLE setting; PRAGMA user_version = 1");
    open_again();
    cr_assert(journal_put_settings(journal, &settings, &err), "%s", err.text);
    open_again();
    assert_settings(1, 100);
    cr_expect_eq(ledger_left(MIGRATION), 1);
}

Test(journal, folder_that_does_not_exist_is_an_error)
{
    struct journal *other = NULL;
    cr_expect_not(journal_open(&other, "/nonexistent/folder/journal.db", &err));
    cr_expect_not_null(strstr(err.text, "/nonexistent/folder/journal.db"), "%s", err.text);
}

Test(journal, too_long_reference_is_an_error)
{
    char reference[300];
    memset(reference, 'r', sizeof reference - 1);
    reference[sizeof reference - 1] = '\0';
    cr_expect_not(journal_ledger_add(journal, MIGRATION, "vdi", reference, &err));
    cr_expect_eq(ledger_left(NULL), 0);
}
