/* Both ends of the handoff as two processes over a real link with real journals, and whatever may
 * happen to them: at each named moment each end is killed and started again, fails, loses its
 * connection or hears nothing any more; orders come before and after the point of no return. After
 * each case exactly one domain runs, both ends and their journals agree, and what was abandoned can
 * be handed over in the next epoch.
 *
 *   thread-handoff          the orders, and a kill at each moment; CROSSPOOL_FULL=1: all cases
 *   thread-handoff PATTERN  of all cases those whose name contains it */
#include "tests/threads/handoff/agents.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 5, CASE_LIMIT_MS = 60000, RESTART_MS = 30, OUTLAST_GO_MS = 6500 };

/* What is done while an agent is held at a moment. */
enum deed {
    NOTHING,
    KILL,            /* that agent dies there and is started again */
    KILL_LATER,      /* the same, long after the other end noticed */
    KILL_OTHER,      /* the other agent dies meanwhile and is started again */
    FAIL,            /* the moment fails */
    CUT,             /* all connections end */
    SILENCE,         /* all connections hang */
    CANCEL,          /* that end's step is cancelled */
    OUTLAST_GO,      /* held longer than the destination waits for GO */
    CONCLUDE_OWNED,  /* the destination dies for good, the coordinator knew its verdict */
    CONCLUDE_FENCED, /* the destination's host dies for good, and the operator says so */
    STOP,            /* the source's agent ends in order and is started again */
};

struct scenario {
    char name[64];
    enum end held;
    const char *moment;
    enum deed deed;
    enum handoff_verdict expected; /* NONE: either */
    void (*arrange)(struct world *world);
};

static struct fixture fixture;
static bool is_full; /* or only what fits into a minute */

/* -- moments */

static char *moment_path(enum end end, const char *moment, const char *suffix)
{
    return memory_format("%s/fp-%d/%s%s", fixture.directory, end, moment, suffix);
}

static void set_moment(enum end end, const char *moment, const char *control)
{
    struct error err;
    char *path = moment_path(end, moment, "");
    if (!file_write(path, 0600, control, strlen(control), &err))
        abort();
    free(path);
}

static void release_moment(enum end end, const char *moment)
{
    char *path = moment_path(end, moment, "");
    unlink(path);
    free(path);
}

static bool wait_until(bool (*is_so)(void *context), void *context)
{
    int64_t deadline = clock_monotonic_ms() + CASE_LIMIT_MS;
    while (!is_so(context)) {
        if (clock_monotonic_ms() > deadline)
            return false;
        clock_sleep_ms(LOOK_MS);
    }
    return true;
}

static bool exists(void *path)
{
    return access(path, F_OK) == 0;
}

static bool wait_moment(const struct scenario *scenario)
{
    char *path = moment_path(scenario->held, scenario->moment, ".hit");
    bool is_hit = wait_until(exists, path);
    free(path);
    return is_hit;
}

/* -- agents */

static pid_t agents[2];

static void kill_agent(enum end end)
{
    kill(agents[end], SIGKILL);
    waitpid(agents[end], NULL, 0);
    agents[end] = 0;
}

static void start_agent(enum end end, int64_t epoch, bool has_failpoints)
{
    agents[end] = agent_start(&fixture, end, epoch, has_failpoints);
}

struct wanted {
    bool ends[2];
    bool
        has_no_stream; /* no stream tells the destination of the source's end: a coordinator does */
};

static bool has_results(void *context)
{
    const struct wanted *all = context;
    const bool *wanted = all->ends;
    if (all->has_no_stream && fixture.world->has_result[SOURCE])
        fixture.world->cancel[DESTINATION] = true;
    return (!wanted[SOURCE] || fixture.world->has_result[SOURCE]) &&
           (!wanted[DESTINATION] || fixture.world->has_result[DESTINATION]);
}

static bool end_agent(enum end end)
{
    int status = 0;
    if (agents[end] == 0)
        return true;
    fixture.world->end_destination = true;
    waitpid(agents[end], &status, 0);
    agents[end] = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* -- deeds */

static void power_off_destination(void)
{
    kill_agent(DESTINATION);
    fixture.world->domain[DESTINATION] = ABSENT;
}

/* Returns whether the destination is expected to end its step. */
static bool act(const struct scenario *scenario, int64_t epoch)
{
    struct world *world = fixture.world;
    enum end held = scenario->held;
    switch (scenario->deed) {
    case NOTHING:
    case FAIL:
        break;
    case KILL:
    case KILL_LATER:
        kill_agent(held);
        clock_sleep_ms(scenario->deed == KILL ? RESTART_MS : OUTLAST_GO_MS);
        start_agent(held, epoch, false);
        break;
    case KILL_OTHER:
        kill_agent(!held);
        clock_sleep_ms(RESTART_MS);
        start_agent(!held, epoch, false);
        break;
    case CUT:
        network_order(&fixture, NETWORK_CUT);
        break;
    case SILENCE:
        network_order(&fixture, NETWORK_SILENT);
        break;
    case CANCEL:
        world->cancel[held] = true;
        clock_sleep_ms(100);
        break;
    case OUTLAST_GO:
        clock_sleep_ms(OUTLAST_GO_MS);
        break;
    case CONCLUDE_OWNED:
        kill_agent(DESTINATION);
        world->conclude = VERDICT_OWNED;
        return false;
    case CONCLUDE_FENCED:
        power_off_destination();
        world->conclude = VERDICT_ABANDONED;
        return false;
    case STOP:
        kill_agent(DESTINATION);
        world->stop_source = true;
        release_moment(held, scenario->moment);
        waitpid(agents[SOURCE], NULL, 0);
        world->stop_source = false;
        start_agent(DESTINATION, epoch, false);
        start_agent(SOURCE, epoch, false);
        break;
    }
    return true;
}

/* -- what must be so afterwards */

static int failures;

static void expect(const struct scenario *scenario, bool is_true, const char *what)
{
    if (is_true)
        return;
    const struct world *world = fixture.world;
    fprintf(stderr, "%s: %s (source %s, destination %s; verdicts %d, %d; \"%s\", \"%s\")\n",
            scenario->name, what, place_names[world->domain[SOURCE]],
            place_names[world->domain[DESTINATION]], world->result[SOURCE].verdict,
            world->result[DESTINATION].verdict, world->result[SOURCE].error_text,
            world->result[DESTINATION].error_text);
    failures++;
}

static void check_owned(const struct scenario *scenario)
{
    const struct world *world = fixture.world;
    struct handoff_record destination = agent_record(&fixture, DESTINATION);
    expect(scenario, destination.state == HANDOFF_OWNED, "the destination's record is not owned");
    expect(scenario, agent_record(&fixture, SOURCE).state == HANDOFF_OWNED,
           "the source's record is not owned");
    expect(scenario, world->domain[SOURCE] == SUSPENDED, "the source's domain is touched");
    expect(scenario, world->result[SOURCE].is_done, "owned, and not done");
    expect(scenario, world->result[DESTINATION].verdict != VERDICT_OWNED || world->adopted,
           "owned, and not adopted");
}

static void check_abandoned(const struct scenario *scenario)
{
    const struct world *world = fixture.world;
    struct handoff_record destination = agent_record(&fixture, DESTINATION);
    expect(scenario, destination.state != HANDOFF_OWNED, "the destination's record is owned");
    expect(scenario, agent_record(&fixture, SOURCE).state == HANDOFF_ABANDONED,
           "the source's record is not abandoned");
    expect(scenario, world->domain[DESTINATION] == ABSENT, "a domain is left at the destination");
    expect(scenario, !world->adopted, "abandoned, and adopted");
    expect(scenario, !world->result[SOURCE].is_done && world->result[SOURCE].error_text[0],
           "abandoned without a reason");
}

static void check(const struct scenario *scenario, bool has_destination)
{
    const struct world *world = fixture.world;
    enum handoff_verdict verdict = world->result[SOURCE].verdict;
    int running = (world->domain[SOURCE] == RUNNING) + (world->domain[DESTINATION] == RUNNING);
    expect(scenario, running == 1 || scenario->deed == CONCLUDE_OWNED, "not exactly one runs");
    expect(scenario, world->violations == 0, "a promise was violated");
    expect(scenario, verdict != VERDICT_NONE, "the source has no verdict");
    expect(scenario, scenario->expected == VERDICT_NONE || verdict == scenario->expected,
           "another verdict was expected");
    expect(scenario,
           !has_destination || world->result[DESTINATION].verdict == verdict ||
               /* its step never began */ world->result[DESTINATION].verdict == VERDICT_NONE,
           "the two verdicts differ");
    if (verdict == VERDICT_OWNED)
        check_owned(scenario);
    else
        check_abandoned(scenario);
}

/* -- cases */

static void begin(const struct scenario *scenario)
{
    struct error err;
    for (int end = SOURCE; end <= DESTINATION; end++) {
        char *points = memory_format("%s/fp-%d", fixture.directory, end);
        if (!file_remove_tree(points, &err) || !file_make_directory(points, 0700, &err))
            abort();
        free(points);
        for (int i = 0; i < 3; i++) {
            static const char *const suffixes[] = {"", "-wal", "-shm"};
            char *path = memory_format("%s/journal-%d.db%s", fixture.directory, end, suffixes[i]);
            unlink(path);
            free(path);
        }
    }
    network_order(&fixture, NETWORK_CUT);
    world_reset(fixture.world);
    if (scenario->arrange)
        scenario->arrange(fixture.world);
    if (scenario->moment)
        set_moment(scenario->held, scenario->moment,
                   scenario->deed == FAIL ? "error it failed here" : "wait");
}

static void run_epoch(const struct scenario *scenario, int64_t epoch)
{
    struct wanted wanted = {.ends = {true, true}};
    wanted.has_no_stream = scenario->moment && strstr(scenario->moment, "streaming");
    start_agent(DESTINATION, epoch, true);
    start_agent(SOURCE, epoch, true);
    if (scenario->moment && scenario->deed != FAIL) {
        if (wait_moment(scenario))
            wanted.ends[DESTINATION] = act(scenario, epoch);
        else
            expect(scenario, false, "the moment never came");
        release_moment(scenario->held, scenario->moment);
    }
    if (!wait_until(has_results, &wanted)) {
        expect(scenario, false, "no verdict in time");
        for (int end = SOURCE; end <= DESTINATION; end++)
            if (agents[end])
                kill_agent((enum end)end);
    }
    expect(scenario, end_agent(SOURCE), "the source's agent did not end well");
    expect(scenario, end_agent(DESTINATION), "the destination's agent did not end well");
    check(scenario, wanted.ends[DESTINATION]);
}

/* What was abandoned is neither stuck nor spoiled. */
static void run_next_epoch(const struct scenario *scenario)
{
    struct scenario next = {.expected = VERDICT_OWNED};
    struct world *world = fixture.world;
    bool was_receiving = world->receiving;
    snprintf(next.name, sizeof next.name, "%.48s, next epoch", scenario->name);
    expect(scenario, was_receiving, "the receivers stay closed");
    if (scenario->moment)
        release_moment(scenario->held, scenario->moment);
    world_reset(world);
    run_epoch(&next, 2);
}

static void run(const struct scenario *scenario)
{
    int64_t begun = clock_monotonic_ms();
    begin(scenario);
    run_epoch(scenario, 1);
    const struct step_result *result = &fixture.world->result[SOURCE];
    printf("%-58s %-9s %5lld ms%s%s\n", scenario->name, handoff_verdict_names[result->verdict],
           (long long)(clock_monotonic_ms() - begun), result->error_text[0] ? ": " : "",
           result->error_text);
    if (scenario->expected == VERDICT_OWNED && scenario->deed == NOTHING)
        expect(scenario, result->pause_us > 0, "the pause was not measured");
    bool goes_on = is_full || scenario->deed != KILL;
    if (goes_on && result->verdict == VERDICT_ABANDONED && scenario->deed != CONCLUDE_FENCED)
        run_next_epoch(scenario);
    fflush(stdout);
}

static void drain_fails(struct world *world)
{
    world->drain_fails = true;
}
static void flush_fails(struct world *world)
{
    world->flush_fails = true;
}
static void restore_fails(struct world *world)
{
    world->restore_fails = true;
}
static void save_fails(struct world *world)
{
    world->save_fails = true;
}
static void late_save_fails(struct world *world)
{
    world->late_save_fails = true;
}
static void unpause_fails_first(struct world *world)
{
    world->unpause_failures = 2;
}

#define OWNED     VERDICT_OWNED
#define ABANDONED VERDICT_ABANDONED
static const struct scenario scenarios[] = {
    {"nothing happens", SOURCE, NULL, NOTHING, OWNED, NULL},
    {"the drain fails", SOURCE, NULL, NOTHING, ABANDONED, drain_fails},
    {"the flush fails", SOURCE, NULL, NOTHING, ABANDONED, flush_fails},
    {"the restore fails", SOURCE, NULL, NOTHING, ABANDONED, restore_fails},
    {"save fails", SOURCE, NULL, NOTHING, ABANDONED, save_fails},
    {"save fails after the suspension", SOURCE, NULL, NOTHING, ABANDONED, late_save_fails},
    {"the unpause works at the third try", SOURCE, NULL, FAIL, OWNED, unpause_fails_first},
    {"cancel while memory passes", SOURCE, "handoff.source-streaming", CANCEL, ABANDONED, NULL},
    {"cancel in the pause", SOURCE, "handoff.drained", CANCEL, ABANDONED, NULL},
    {"cancel right before the release", SOURCE, "handoff.before-released", CANCEL, ABANDONED, NULL},
    {"cancel after the release", SOURCE, "handoff.released", CANCEL, OWNED, NULL},
    {"cancel at the prepared destination", DESTINATION, "handoff.destination-prepared", CANCEL,
     ABANDONED, NULL},
    {"cancel at the owner", DESTINATION, "handoff.owned", CANCEL, OWNED, NULL},
    {"GO comes too late", SOURCE, "handoff.released", OUTLAST_GO, ABANDONED, NULL},
    {"released, the owner's agent is gone", DESTINATION, "handoff.unpaused", CONCLUDE_OWNED, OWNED,
     NULL},
    {"released, the destination's host is dead", DESTINATION, "handoff.before-owned",
     CONCLUDE_FENCED, ABANDONED, NULL},
    {"the source's agent ends while released", SOURCE, "handoff.go-sent", STOP, VERDICT_NONE, NULL},
};

static const char *const source_moments[] = {
    "handoff.source-streaming",  "handoff.config-sent",     "handoff.suspended", "handoff.drained",
    "handoff.prepared-received", "handoff.before-released", "handoff.released",  "handoff.go-sent"};
static const char *const destination_moments[] = {
    "handoff.destination-flushed", "handoff.destination-prepared", "handoff.before-owned",
    "handoff.owned", "handoff.unpaused"};

/* A moment after which only OWNED is right, wherever the fault strikes. */
static bool is_committed(const char *moment)
{
    return strcmp(moment, "handoff.owned") == 0 || strcmp(moment, "handoff.unpaused") == 0;
}

static bool can_fail(const char *moment)
{
    return !is_committed(moment) && strcmp(moment, "handoff.released") != 0 &&
           strcmp(moment, "handoff.go-sent") != 0;
}

static const char *pattern = "";

static void run_moment(enum end held, const char *moment, enum deed deed, const char *what)
{
    struct scenario scenario = {.held = held, .moment = moment, .deed = deed};
    scenario.expected = is_committed(moment)               ? OWNED
                        : can_fail(moment) && deed == FAIL ? ABANDONED
                                                           : VERDICT_NONE;
    snprintf(scenario.name, sizeof scenario.name, "%s %s", what, moment);
    if (strstr(scenario.name, pattern))
        run(&scenario);
}

static void run_moments(enum end held, const char *const *moments, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_moment(held, moments[i], KILL, "killed at");
        if (!is_full)
            continue;
        run_moment(held, moments[i], KILL_OTHER, "the other killed at");
        run_moment(held, moments[i], CUT, "cut at");
        if (can_fail(moments[i]))
            run_moment(held, moments[i], FAIL, "failed at");
    }
}

/* These take their timeouts. */
static void run_slow_moments(void)
{
    run_moment(DESTINATION, "handoff.destination-streaming", KILL, "killed at");
    run_moment(DESTINATION, "handoff.destination-streaming", KILL_OTHER, "the other killed at");
    run_moment(SOURCE, "handoff.drained", SILENCE, "silence at");
    run_moment(SOURCE, "handoff.released", SILENCE, "silence at");
    run_moment(DESTINATION, "handoff.destination-prepared", SILENCE, "silence at");
    run_moment(SOURCE, "handoff.released", KILL_LATER, "killed for long at");
    run_moment(DESTINATION, "handoff.destination-prepared", KILL_LATER, "killed for long at");
}

int main(int argc, char **argv)
{
    pattern = argc > 1 ? argv[1] : "";
    is_full = argc > 1 || getenv("CROSSPOOL_FULL");
    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strstr(scenarios[i].name, pattern))
            run(&scenarios[i]);
    run_moments(SOURCE, source_moments, sizeof source_moments / sizeof *source_moments);
    run_moments(DESTINATION, destination_moments,
                sizeof destination_moments / sizeof *destination_moments);
    if (is_full)
        run_slow_moments();
    fixture_close(&fixture);
    printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
