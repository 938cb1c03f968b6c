/* The step engine with handlers of the test's own: each step once, whatever is delivered how often
 * and whenever the agent dies. */
#include "agent/steps/step_engine.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>

#define MIGRATION_A "11111111-1111-4111-8111-111111111111"
#define MIGRATION_B "22222222-2222-4222-8222-222222222222"
#define STEP_1      "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa1"
#define STEP_2      "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa2"
#define STEP_3      "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa3"

enum { KINDS = STEP_CLEAN_DESTINATION + 1 };

static char folder[64];
static struct journal *journal;
static struct step_engine *engine;
static step_handler *handlers[KINDS];
static struct error err;
static atomic_int begun, ended;
static atomic_bool may_end;

static bool do_nothing(struct step_run *run, const struct step *step, struct step_result *result,
                       struct error *error)
{
    (void)run, (void)step, (void)result, (void)error;
    atomic_fetch_add(&begun, 1);
    return true;
}

static bool fail(struct step_run *run, const struct step *step, struct step_result *result,
                 struct error *error)
{
    (void)run, (void)step;
    result->verdict = VERDICT_ABANDONED;
    return error_set(error, ERROR_NO_SPACE, "no room");
}

/* Until it is told to stop or may end. */
static bool wait_long(struct step_run *run, const struct step *step, struct step_result *result,
                      struct error *error)
{
    (void)step, (void)result;
    atomic_fetch_add(&begun, 1);
    while (!atomic_load(&may_end) && step_run_wait(run, 5))
        ;
    clock_sleep_ms(30); /* so that who does not join is seen */
    atomic_fetch_add(&ended, 1);
    return atomic_load(&may_end) || step_run_check(run, error);
}

static bool die(struct step_run *run, const struct step *step, struct step_result *result,
                struct error *error)
{
    (void)run, (void)step, (void)result, (void)error;
    return kill(getpid(), SIGKILL) == 0;
}

static void open_engine(void)
{
    char path[96];
    snprintf(path, sizeof path, "%s/journal.db", folder);
    cr_assert(journal_open(&journal, path, &err), "%s", err.text);
    step_engine_open(&engine, journal, handlers, folder);
    cr_assert(step_engine_resume(engine, &err), "%s", err.text);
}

static void close_engine(void)
{
    cr_assert(step_engine_stop(engine, 5000));
    step_engine_close(engine);
    journal_close(journal);
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/crosspool-steps-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    for (int kind = 0; kind < KINDS; kind++)
        handlers[kind] = do_nothing;
    open_engine();
}

static void teardown(void)
{
    close_engine();
    cr_assert(file_remove_tree(folder, &err));
}

TestSuite(step_engine, .init = setup, .fini = teardown, .timeout = 60);

static struct step make_step(const char *id, enum step_kind kind, const char *migration)
{
    struct step step = {.kind = kind};
    snprintf(step.id, sizeof step.id, "%s", id);
    snprintf(step.spec.migration, sizeof step.spec.migration, "%s", migration);
    snprintf(step.spec.domain, sizeof step.spec.domain, "%s", MIGRATION_B);
    snprintf(step.spec.name, sizeof step.spec.name, "g1");
    snprintf(step.spec.source.id, sizeof step.spec.source.id, "%s", STEP_1);
    snprintf(step.spec.source.address, sizeof step.spec.source.address, "10.0.0.1");
    step.spec.source.port = 7801;
    step.spec.destination = step.spec.source;
    step.spec.stall_limit_ms = 2000;
    step.spec.parallel_disks = 1;
    return step;
}

static void accept_step(const char *id, enum step_kind kind, const char *migration)
{
    struct step step = make_step(id, kind, migration);
    cr_assert(step_engine_accept(engine, &step, &err), "%s", err.text);
}

/* The result of a step; false when it has none. */
static bool read_result(const char *id, struct step_result *out)
{
    struct json_array results = {0};
    cr_assert(step_engine_results(engine, &results, &err), "%s", err.text);
    bool was_found = false;
    const struct step_result *items = results.items;
    for (size_t i = 0; i < results.count; i++)
        if (strcmp(items[i].step, id) == 0) {
            *out = items[i];
            was_found = true;
        }
    free(results.items);
    return was_found;
}

static struct step_result wait_result(const char *id)
{
    struct step_result result = {0};
    int64_t deadline = clock_monotonic_ms() + 10000;
    while (!read_result(id, &result)) {
        cr_assert_lt(clock_monotonic_ms(), deadline, "step %s has no result", id);
        step_engine_wait_result(engine, 20);
    }
    return result;
}

static void wait_for(atomic_int *number, int value)
{
    int64_t deadline = clock_monotonic_ms() + 10000;
    while (atomic_load(number) < value) {
        cr_assert_lt(clock_monotonic_ms(), deadline, "waited in vain");
        clock_sleep_ms(2);
    }
}

static bool is_among(const struct json_array *texts, const char *text)
{
    char *const *items = texts->items;
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(items[i], text) == 0)
            return true;
    return false;
}

static bool is_known(const char *id)
{
    struct agent_poll poll;
    step_engine_known(engine, &poll);
    bool is_there = is_among(&poll.known, id);
    json_release(agent_poll_fields, &poll);
    return is_there;
}

static bool is_cancelling(const char *id)
{
    struct agent_poll poll;
    step_engine_known(engine, &poll);
    bool is_there = is_among(&poll.cancelling, id);
    json_release(agent_poll_fields, &poll);
    return is_there;
}

Test(step_engine, step_delivered_again_runs_once)
{
    for (int i = 0; i < 5; i++)
        accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    cr_expect(wait_result(STEP_1).is_done);
    accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    cr_assert(step_engine_reported(engine, STEP_1, &err));
    accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    close_engine();
    open_engine();
    accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    clock_sleep_ms(50);
    cr_expect_eq(atomic_load(&begun), 1);
}

Test(step_engine, step_is_known_until_its_result_is_reported)
{
    cr_expect_not(is_known(STEP_1));
    accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    cr_expect(is_known(STEP_1));
    wait_result(STEP_1);
    cr_expect(is_known(STEP_1));
    close_engine();
    open_engine();
    cr_expect(is_known(STEP_1));
    wait_result(STEP_1);
    cr_assert(step_engine_reported(engine, STEP_1, &err));
    cr_expect_not(is_known(STEP_1));
    struct step_result result;
    cr_expect_not(read_result(STEP_1, &result));
}

Test(step_engine, failure_is_reported_with_code_text_and_verdict)
{
    handlers[STEP_HANDOFF] = fail;
    accept_step(STEP_1, STEP_HANDOFF, MIGRATION_A);
    struct step_result result = wait_result(STEP_1);
    cr_expect_not(result.is_done);
    cr_expect_eq(result.error, ERROR_NO_SPACE);
    cr_expect_str_eq(result.error_text, "no room");
    cr_expect_eq(result.verdict, VERDICT_ABANDONED);
}

Test(step_engine, cancelled_step_ends_as_cancelled)
{
    handlers[STEP_TRANSFER] = wait_long;
    accept_step(STEP_1, STEP_TRANSFER, MIGRATION_A);
    wait_for(&begun, 1);
    cr_expect_not(is_cancelling(STEP_1));
    step_engine_cancel(engine, STEP_1);
    cr_expect(is_cancelling(STEP_1));
    struct step_result result = wait_result(STEP_1);
    cr_expect_not(result.is_done);
    cr_expect_eq(result.error, ERROR_CANCELLED);
    step_engine_cancel(engine, STEP_1);
    step_engine_cancel(engine, STEP_3);
}

static atomic_int stops;
static void count_stop(void *object, bool is_shutdown)
{
    cr_expect_not(is_shutdown);
    atomic_fetch_add((atomic_int *)object, 1);
}

/* Begins to listen only after it was told. */
static bool listen_late(struct step_run *run, const struct step *step, struct step_result *result,
                        struct error *error)
{
    (void)step, (void)result, (void)error;
    atomic_fetch_add(&begun, 1);
    while (step_run_wait(run, 5))
        ;
    step_run_on_stop(run, count_stop, &stops);
    step_run_on_stop(run, NULL, NULL);
    return true;
}

Test(step_engine, stop_that_came_too_early_is_not_lost)
{
    handlers[STEP_TRANSFER] = listen_late;
    accept_step(STEP_1, STEP_TRANSFER, MIGRATION_A);
    wait_for(&begun, 1);
    step_engine_cancel(engine, STEP_1);
    wait_result(STEP_1);
    cr_expect_geq(atomic_load(&stops), 1);
}

static atomic_int ended_before_abort;
static bool abort_others(struct step_run *run, const struct step *step, struct step_result *result,
                         struct error *error)
{
    (void)step, (void)result;
    bool ok =
        step_run_stop_others(run, 1U << STEP_TRANSFER | 1U << STEP_HANDOFF, NULL, NULL, error);
    atomic_store(&ended_before_abort, atomic_load(&ended));
    return ok;
}

Test(step_engine, abort_stops_and_joins_the_steps_of_its_migration_only)
{
    handlers[STEP_TRANSFER] = wait_long;
    handlers[STEP_ABORT_SOURCE] = abort_others;
    accept_step(STEP_1, STEP_TRANSFER, MIGRATION_A);
    accept_step(STEP_2, STEP_TRANSFER, MIGRATION_B);
    wait_for(&begun, 2);
    accept_step(STEP_3, STEP_ABORT_SOURCE, MIGRATION_A);
    cr_expect(wait_result(STEP_3).is_done);
    cr_expect_eq(atomic_load(&ended_before_abort), 1);
    cr_expect_eq(wait_result(STEP_1).error, ERROR_CANCELLED);
    cr_expect(step_engine_is_running(engine, MIGRATION_B, STEP_TRANSFER));
    cr_expect_not(is_cancelling(STEP_2));
}

/* make_step names the domain. */
Test(step_engine, has_a_domain_as_long_as_a_step_of_it_runs)
{
    handlers[STEP_RECEIVE] = wait_long;
    accept_step(STEP_1, STEP_RECEIVE, MIGRATION_A);
    wait_for(&begun, 1);
    cr_expect(step_engine_has_domain(engine, MIGRATION_B));
    cr_expect_not(step_engine_has_domain(engine, MIGRATION_A));
    step_engine_cancel(engine, STEP_1);
    wait_result(STEP_1);
    while (step_engine_has_domain(engine, MIGRATION_B)) /* its thread ends after the result */
        clock_sleep_ms(2);
}

static bool wait_stubbornly(struct step_run *run, const struct step *step,
                            struct step_result *result, struct error *error)
{
    (void)run, (void)step, (void)result, (void)error;
    atomic_fetch_add(&begun, 1);
    while (!atomic_load(&may_end))
        clock_sleep_ms(2);
    return true;
}

static bool refuse_to_wait(void *context, struct error *error)
{
    (void)context;
    return error_set(error, ERROR_CONFLICT, "past return");
}

static bool abort_unless_past_return(struct step_run *run, const struct step *step,
                                     struct step_result *result, struct error *error)
{
    (void)step, (void)result;
    return step_run_stop_others(run, 1U << STEP_HANDOFF, refuse_to_wait, NULL, error);
}

Test(step_engine, abort_gives_up_waiting_when_it_must_not_wait)
{
    handlers[STEP_HANDOFF] = wait_stubbornly;
    handlers[STEP_ABORT_SOURCE] = abort_unless_past_return;
    accept_step(STEP_1, STEP_HANDOFF, MIGRATION_A);
    wait_for(&begun, 1);
    accept_step(STEP_3, STEP_ABORT_SOURCE, MIGRATION_A);
    struct step_result result = wait_result(STEP_3);
    cr_expect_eq(result.error, ERROR_CONFLICT);
    cr_expect_str_eq(result.error_text, "past return");
    atomic_store(&may_end, true);
    cr_expect(wait_result(STEP_1).is_done);
}

Test(step_engine, end_of_the_agent_is_no_result_and_the_step_goes_on)
{
    struct step_result result;
    handlers[STEP_TRANSFER] = wait_long;
    accept_step(STEP_1, STEP_TRANSFER, MIGRATION_A);
    wait_for(&begun, 1);
    close_engine();
    open_engine();
    cr_expect_not(read_result(STEP_1, &result));
    wait_for(&begun, 2);
    atomic_store(&may_end, true);
    cr_expect(wait_result(STEP_1).is_done);
}

static bool end_well_when_told(struct step_run *run, const struct step *step,
                               struct step_result *result, struct error *error)
{
    (void)step, (void)error;
    atomic_fetch_add(&begun, 1);
    while (step_run_wait(run, 5))
        ;
    result->verdict = VERDICT_ABANDONED;
    return true;
}

Test(step_engine, outcome_at_the_end_of_the_agent_is_kept)
{
    handlers[STEP_RECEIVE] = end_well_when_told;
    accept_step(STEP_1, STEP_RECEIVE, MIGRATION_A);
    wait_for(&begun, 1);
    close_engine();
    open_engine();
    cr_expect_eq(wait_result(STEP_1).verdict, VERDICT_ABANDONED);
    cr_expect_eq(atomic_load(&begun), 1);
}

Test(step_engine, nothing_is_accepted_once_it_stops)
{
    cr_assert(step_engine_stop(engine, 1000));
    struct step step = make_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    cr_expect_not(step_engine_accept(engine, &step, &err));
    cr_expect_not(is_known(STEP_1));
}

Test(step_engine, stop_tells_who_does_not_end_in_time)
{
    handlers[STEP_HANDOFF] = wait_stubbornly;
    accept_step(STEP_1, STEP_HANDOFF, MIGRATION_A);
    wait_for(&begun, 1);
    cr_expect_not(step_engine_stop(engine, 50));
    atomic_store(&may_end, true);
}

/* An agent of its own that accepts step 1 and is killed. */
static void run_and_die(const char *failpoints)
{
    close_engine();
    pid_t child = fork();
    if (child == 0) {
        if (failpoints)
            setenv("CROSSPOOL_FAILPOINTS", failpoints, 1);
        open_engine();
        accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
        clock_sleep_ms(10000);
        _exit(1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", (unsigned)status);
}

Test(step_engine, step_killed_while_it_runs_runs_again)
{
    handlers[STEP_PREPARE] = die;
    run_and_die(NULL);
    handlers[STEP_PREPARE] = do_nothing;
    open_engine();
    cr_expect(wait_result(STEP_1).is_done);
    cr_expect_eq(atomic_load(&begun), 1);
    accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    cr_expect_eq(atomic_load(&begun), 1);
}

Test(step_engine, ended_steps_are_counted_whatever_their_outcome)
{
    cr_expect_eq(step_engine_finished(engine), 0);
    handlers[STEP_TRANSFER] = fail;
    accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    wait_result(STEP_1);
    cr_expect_eq(step_engine_finished(engine), 1);
    accept_step(STEP_2, STEP_TRANSFER, MIGRATION_A);
    wait_result(STEP_2);
    cr_expect_eq(step_engine_finished(engine), 2);
}

#ifdef CROSSPOOL_FAILPOINTS
Test(step_engine, ended_step_is_counted_before_its_result_can_be_seen)
{
    char path[128];
    snprintf(path, sizeof path, "%s/step.journalled", folder);
    cr_assert(file_write(path, 0600, "wait", 4, &err));
    setenv("CROSSPOOL_FAILPOINTS", folder, 1);
    accept_step(STEP_1, STEP_PREPARE, MIGRATION_A);
    wait_result(STEP_1);
    cr_expect_eq(step_engine_finished(engine), 1);
    cr_assert(file_remove(path, &err));
}

static void kill_at(const char *point)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, point);
    cr_assert(file_write(path, 0600, "kill", 4, &err));
    run_and_die(folder);
    cr_assert(file_remove(path, &err));
    open_engine();
    cr_expect(wait_result(STEP_1).is_done);
    cr_expect_eq(atomic_load(&begun), 1);
}

Test(step_engine, step_killed_between_accepted_and_started_runs)
{
    kill_at("step.accepted");
}

Test(step_engine, step_killed_between_done_and_journalled_runs_again)
{
    kill_at("step.finished");
}
#endif

Test(step_engine, resumed_abort_stops_the_step_resumed_with_it)
{
    handlers[STEP_TRANSFER] = wait_long;
    handlers[STEP_ABORT_SOURCE] = abort_others;
    accept_step(STEP_1, STEP_TRANSFER, MIGRATION_A);
    wait_for(&begun, 1);
    close_engine();
    struct step step = make_step(STEP_3, STEP_ABORT_SOURCE, MIGRATION_A);
    char path[96];
    snprintf(path, sizeof path, "%s/journal.db", folder);
    bool is_new = false;
    cr_assert(journal_open(&journal, path, &err));
    cr_assert(journal_accept_step(journal, &step, &is_new, &err));
    journal_close(journal);
    open_engine();
    cr_expect(wait_result(STEP_3).is_done);
    cr_expect_eq(wait_result(STEP_1).error, ERROR_CANCELLED);
}
