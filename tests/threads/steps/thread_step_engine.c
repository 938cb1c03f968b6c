/* Two deliverers, a canceller, a poller and a reporter work on one engine whose steps borrow a
 * shared object, stop each other and end at random; every step must run once, end once and be
 * reported. */
#include "agent/steps/registry.h"
#include "agent/steps/step_engine.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MIGRATIONS = 8,
    ROUNDS = 6,
    STEPS = MIGRATIONS * ROUNDS,
    KINDS = STEP_CLEAN_DESTINATION + 1
};

static struct step_engine *engine;
static struct registry *registry;
static atomic_int runs[STEPS];
static atomic_int reported;
static atomic_bool is_over;
static _Thread_local unsigned chance = 1;

static unsigned next_chance(unsigned below)
{
    chance = chance * 1103515245U + 12345U;
    return (chance >> 16) % below;
}

static void must(bool is_true, const char *what)
{
    if (is_true)
        return;
    fprintf(stderr, "failed: %s\n", what);
    abort();
}

static int number_of(const char *id)
{
    return (int)strtol(id + 24, NULL, 16);
}

static void note_stop(void *flag, bool is_shutdown)
{
    (void)is_shutdown;
    atomic_store((atomic_bool *)flag, true);
}

/* Uses the migration's object, for as long as it is there. */
static bool use(struct step_run *run, const struct step *step, struct step_result *result,
                struct error *err)
{
    (void)result;
    atomic_bool is_told = false;
    atomic_fetch_add(&runs[number_of(step->id)], 1);
    int *object = registry_borrow(registry, step->spec.migration, SLOT_TRANSFER);
    if (!object) {
        object = malloc(sizeof *object);
        *object = 7;
        if (!registry_put(registry, step->spec.migration, SLOT_TRANSFER, object))
            free(object);
        object = registry_borrow(registry, step->spec.migration, SLOT_TRANSFER);
    }
    step_run_on_stop(run, note_stop, &is_told);
    for (int i = 0; i < 5 && !atomic_load(&is_told); i++) {
        must(!object || *object == 7, "the object is alive");
        step_run_wait(run, 1);
    }
    step_run_on_stop(run, NULL, NULL);
    if (object)
        registry_return(registry, step->spec.migration, SLOT_TRANSFER);
    return step_run_check(run, err);
}

/* Stops its users and destroys it. */
static bool end(struct step_run *run, const struct step *step, struct step_result *result,
                struct error *err)
{
    (void)result;
    atomic_fetch_add(&runs[number_of(step->id)], 1);
    if (!step_run_stop_others(run, 1U << STEP_TRANSFER, NULL, NULL, err))
        return false;
    int *object = registry_take(registry, step->spec.migration, SLOT_TRANSFER);
    if (object)
        *object = 0;
    free(object);
    return true;
}

static void make_step(int number, struct step *step)
{
    int migration = number % MIGRATIONS;
    *step = (struct step){.kind = number / MIGRATIONS % 3 == 2 ? STEP_ABORT_SOURCE : STEP_TRANSFER};
    snprintf(step->id, UUID_SIZE, "aaaaaaaa-aaaa-4aaa-8aaa-%012x", (unsigned)number);
    snprintf(step->spec.migration, UUID_SIZE, "bbbbbbbb-bbbb-4bbb-8bbb-%012x", (unsigned)migration);
    memcpy(step->spec.domain, step->spec.migration, UUID_SIZE);
    memcpy(step->spec.source.id, step->spec.migration, UUID_SIZE);
    strcpy(step->spec.name, "g");
    strcpy(step->spec.source.address, "10.0.0.1");
    step->spec.source.port = 1;
    step->spec.destination = step->spec.source;
    step->spec.stall_limit_ms = 1000;
    step->spec.parallel_disks = 1;
}

static void *deliver(void *nothing)
{
    for (int i = 0; i < STEPS; i++) {
        struct step step;
        struct error err;
        make_step(i, &step);
        must(step_engine_accept(engine, &step, &err), err.text);
    }
    return nothing;
}

static void *cancel(void *nothing)
{
    chance = 99;
    while (!atomic_load(&is_over)) {
        struct step step;
        make_step((int)next_chance(STEPS), &step);
        if (step.kind == STEP_TRANSFER)
            step_engine_cancel(engine, step.id);
        clock_sleep_ms(1);
    }
    return nothing;
}

/* Looks at an object as the report thread does, whoever ends it meanwhile. */
static void look(int migration)
{
    struct step step;
    make_step(migration, &step);
    const int *object = registry_borrow(registry, step.spec.migration, SLOT_TRANSFER);
    if (!object)
        return;
    must(*object == 7, "the object is alive");
    clock_sleep_ms(4);
    must(*object == 7, "the object stays alive");
    registry_return(registry, step.spec.migration, SLOT_TRANSFER);
}

static void *poll_known(void *nothing)
{
    for (int i = 0; !atomic_load(&is_over); i++) {
        look(i % MIGRATIONS);
        struct agent_poll poll;
        step_engine_known(engine, &poll);
        json_release(agent_poll_fields, &poll);
        clock_sleep_ms(1);
    }
    return nothing;
}

static void *report(void *nothing)
{
    struct error err;
    while (atomic_load(&reported) < STEPS) {
        struct json_array results = {0};
        step_engine_wait_result(engine, 20);
        must(step_engine_results(engine, &results, &err), "results");
        const struct step_result *items = results.items;
        for (size_t i = 0; i < results.count; i++)
            must(step_engine_reported(engine, items[i].step, &err), "reported");
        atomic_fetch_add(&reported, (int)results.count);
        free(results.items);
    }
    atomic_store(&is_over, true);
    return nothing;
}

static void close_objects(void)
{
    char(*names)[UUID_SIZE] = NULL;
    size_t count = registry_list(registry, &names);
    for (size_t i = 0; i < count; i++)
        free(registry_take(registry, names[i], SLOT_TRANSFER));
    free(names);
    registry_free(registry);
}

int main(void)
{
    char folder[] = "/tmp/crosspool-threads-XXXXXX";
    char path[64];
    struct journal *journal = NULL;
    struct error err;
    step_handler *handlers[KINDS] = {[STEP_TRANSFER] = use, [STEP_ABORT_SOURCE] = end};
    void *(*const bodies[])(void *) = {deliver, deliver, cancel, poll_known, report};
    pthread_t threads[sizeof bodies / sizeof *bodies];
    log_init("thread-step-engine", LOG_ERROR);
    must(mkdtemp(folder), "mkdtemp");
    snprintf(path, sizeof path, "%s/journal.db", folder);
    must(journal_open(&journal, path, &err), "journal");
    registry = registry_new();
    step_engine_open(&engine, journal, handlers, NULL);
    must(step_engine_resume(engine, &err), "resume");
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        must(pthread_create(&threads[i], NULL, bodies[i], NULL) == 0, "thread");
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < STEPS; i++)
        must(atomic_load(&runs[i]) == 1, "each step runs once");
    must(atomic_load(&reported) == STEPS, "each step is reported once");
    must(step_engine_stop(engine, 5000), "stop");
    step_engine_close(engine);
    close_objects();
    journal_close(journal);
    must(file_remove_tree(folder, &err), "clean up");
    return 0;
}
