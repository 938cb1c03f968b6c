/* Takes migrations through all of their steps as two agents would, by the coordinator's own store
 * and scheduler, in this process: each step is delivered, claimed by the poll that knows it, and
 * reported, which inserts the next one. For the bench of steps.
 *   step-drive CONNINFO FIRST COUNT THREADS
 * Thread t takes the migrations FIRST + t, FIRST + t + THREADS ..., each between two hosts of its
 * own, whose ids end with its number (bench/bench_steps.py makes them). Prints "steps NUMBER
 * seconds TIME". */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "coordinator/db/db.h"
#include "coordinator/scheduler/poll.h"
#include "coordinator/scheduler/report.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (condition)                                                                             \
            break;                                                                                 \
        fprintf(stderr, "step-drive: " __VA_ARGS__);                                               \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)

enum { MOST_THREADS = 128, CONNECTIONS = 4, LOST_AFTER_S = 60 };

/* The steps of a move in which nothing fails. */
static const enum step_kind plan[] = {STEP_PREPARE, STEP_TRANSFER,     STEP_HANDOFF,
                                      STEP_RECEIVE, STEP_CLEAN_SOURCE, STEP_CLEAN_DESTINATION};
enum { PLAN_STEPS = sizeof plan / sizeof *plan };

struct player {
    pthread_t thread;
    struct db_pool *pool;
    int number, players;
    long long first, count;
};

static void ignore(void *context, const char *channel, const char *payload)
{
    (void)context;
    (void)channel;
    (void)payload;
}

static void poll_host(struct db_pool *pool, const char *host, const char *known,
                      char step[UUID_SIZE])
{
    struct error err;
    const char *ids[] = {known};
    const struct agent_poll poll = {.known = {.items = ids, .count = known ? 1 : 0}};
    struct step_poll asked = {.host = host, .poll = &poll};
    CHECK(poll_answer(pool, &asked, LOST_AFTER_S, &err), "poll: %s", err.text);
    if (step) {
        const struct step *steps = asked.answer.steps.items;
        CHECK(asked.answer.steps.count > 0, "host %s has no step", host);
        memcpy(step, steps[0].id, UUID_SIZE);
    }
    json_release(agent_poll_answer_fields, &asked.answer);
}

static void do_step(struct db_pool *pool, long long migration, enum step_kind kind)
{
    struct error err;
    char host[UUID_SIZE];
    bool decides = kind == STEP_HANDOFF || kind == STEP_RECEIVE;
    CHECK((size_t)snprintf(host, sizeof host, "00000000-000%d-4000-8000-%012lld",
                           step_role(kind) == ROLE_SOURCE ? 1 : 2, migration) < sizeof host,
          "a number of a migration has at most 12 digits");
    struct step_result result = {.is_done = true,
                                 .verdict = decides ? VERDICT_OWNED : VERDICT_NONE};
    const struct agent_report report = {.results = {.items = &result, .count = 1}};
    poll_host(pool, host, NULL, result.step);
    poll_host(pool, host, result.step, NULL);
    CHECK(report_apply_results(pool, host, &report, &err), "report of %s: %s",
          step_kind_names[kind], err.text);
}

static void *play(void *argument)
{
    const struct player *player = argument;
    for (long long n = player->number; n < player->count; n += player->players) {
        for (int i = 0; i < PLAN_STEPS; i++)
            do_step(player->pool, player->first + n, plan[i]);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct error err;
    struct db_pool *pool = NULL;
    struct player players[MOST_THREADS];
    CHECK(argc == 5, "CONNINFO FIRST COUNT THREADS");
    int threads = atoi(argv[4]);
    CHECK(threads > 0 && threads <= MOST_THREADS, "expected 1 to %d threads", MOST_THREADS);
    CHECK(db_pool_open(&pool, argv[1], CONNECTIONS, &err) &&
              db_pool_notify_start(pool, ignore, NULL, &err),
          "%s", err.text);
    int64_t begin_us = clock_monotonic_us();
    for (int i = 0; i < threads; i++) {
        players[i] = (struct player){.pool = pool,
                                     .number = i,
                                     .players = threads,
                                     .first = atoll(argv[2]),
                                     .count = atoll(argv[3])};
        CHECK(pthread_create(&players[i].thread, NULL, play, &players[i]) == 0,
              "cannot start a thread");
    }
    for (int i = 0; i < threads; i++)
        pthread_join(players[i].thread, NULL);
    printf("steps %lld seconds %.6f\n", PLAN_STEPS * atoll(argv[3]),
           (double)(clock_monotonic_us() - begin_us) / 1e6);
    db_pool_close(pool);
    return 0;
}
