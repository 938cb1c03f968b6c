/* A running step: how it is told to stop, and how it waits for others. */
#include "agent/steps/step_run.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <assert.h>
#include <string.h>

enum { ASK_INTERVAL_MS = 200 };

/* The copy goes through the same text as the journal. */
static void copy_step(const struct step *from, struct step *to)
{
    struct error err;
    auto_free char *text = json_encode_text(step_fields, from);
    bool is_done = json_decode_text(text, strlen(text), step_fields, to, &err);
    assert(is_done);
    (void)is_done;
}

struct step_run *step_run_new(struct step_engine *engine, const struct step *step)
{
    struct step_run *run = memory_alloc(sizeof *run);
    run->engine = engine;
    if (step->spec.migration[0])
        copy_step(step, &run->step);
    else
        memcpy(run->step.id, step->id, sizeof run->step.id);
    pthread_mutex_init(&run->stop_lock, NULL);
    return run;
}

void step_run_free(struct step_run *run)
{
    json_release(step_fields, &run->step);
    pthread_mutex_destroy(&run->stop_lock);
    free(run);
}

void step_run_release(struct step_run *run)
{
    struct step_engine *engine = run->engine;
    pthread_mutex_lock(&engine->lock);
    run->users--;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

void *step_run_environment(const struct step_run *run)
{
    return run->engine->environment;
}

static bool is_told(struct step_run *run)
{
    pthread_mutex_lock(&run->engine->lock);
    bool is_stopped = run->is_cancelled || run->is_shutdown;
    pthread_mutex_unlock(&run->engine->lock);
    return is_stopped;
}

bool step_run_is_shutdown(struct step_run *run)
{
    pthread_mutex_lock(&run->engine->lock);
    bool is_shutdown = run->is_shutdown;
    pthread_mutex_unlock(&run->engine->lock);
    return is_shutdown;
}

bool step_run_check(struct step_run *run, struct error *err)
{
    if (!is_told(run))
        return true;
    return error_set(err, ERROR_CANCELLED, "the step %s was told to stop",
                     step_kind_names[run->step.kind]);
}

/* The flag is set under the engine's lock before stop_lock is taken, and step_run_on_stop looks at
 * it under stop_lock: one of the two sees the other, so the call is not lost. */
void step_run_stop(struct step_run *run, bool is_shutdown)
{
    struct step_engine *engine = run->engine;
    pthread_mutex_lock(&engine->lock);
    run->is_shutdown = run->is_shutdown || is_shutdown;
    run->is_cancelled = run->is_cancelled || !is_shutdown;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    pthread_mutex_lock(&run->stop_lock);
    if (run->stop)
        run->stop(run->stop_object, is_shutdown);
    pthread_mutex_unlock(&run->stop_lock);
}

void step_run_on_stop(struct step_run *run, step_stop_fn *stop, void *object)
{
    pthread_mutex_lock(&run->stop_lock);
    run->stop = stop;
    run->stop_object = object;
    if (stop && is_told(run))
        stop(object, step_run_is_shutdown(run));
    pthread_mutex_unlock(&run->stop_lock);
}

static bool wait_unless(struct step_run *run, int ms, const bool *flag, const bool *other_flag)
{
    struct step_engine *engine = run->engine;
    int64_t deadline = clock_monotonic_ms() + ms;
    pthread_mutex_lock(&engine->lock);
    while (!*flag && !*other_flag && clock_monotonic_ms() < deadline)
        step_engine_wait_change(engine, deadline);
    bool goes_on = !*flag && !*other_flag;
    pthread_mutex_unlock(&engine->lock);
    return goes_on;
}

bool step_run_wait(struct step_run *run, int ms)
{
    return wait_unless(run, ms, &run->is_cancelled, &run->is_shutdown);
}

bool step_run_insist(struct step_run *run, int ms)
{
    return wait_unless(run, ms, &run->is_shutdown, &run->is_shutdown);
}

/* Under the lock. */
static struct step_run *find_other(const struct step_run *run, unsigned kinds, bool is_untold)
{
    for (struct step_run *other = run->engine->runs; other; other = other->next)
        if (other != run && other->is_running && (kinds & 1U << other->step.kind) &&
            strcmp(other->step.spec.migration, run->step.spec.migration) == 0 &&
            !(is_untold && other->is_cancelled))
            return other;
    return NULL;
}

static void tell_others(struct step_run *run, unsigned kinds)
{
    struct step_engine *engine = run->engine;
    pthread_mutex_lock(&engine->lock);
    struct step_run *other = NULL;
    while ((other = find_other(run, kinds, true))) {
        other->users++;
        pthread_mutex_unlock(&engine->lock);
        step_run_stop(other, false);
        pthread_mutex_lock(&engine->lock);
        other->users--;
    }
    pthread_mutex_unlock(&engine->lock);
}

bool step_run_has_others(struct step_run *run, unsigned kinds)
{
    pthread_mutex_lock(&run->engine->lock);
    bool has_others = find_other(run, kinds, false) != NULL;
    pthread_mutex_unlock(&run->engine->lock);
    return has_others;
}

bool step_run_join_others(struct step_run *run, unsigned kinds, step_may_wait_fn *may_wait,
                          void *context, struct error *err)
{
    struct step_engine *engine = run->engine;
    bool goes_on = true;
    while (goes_on) {
        pthread_mutex_lock(&engine->lock);
        bool has_others = find_other(run, kinds, false) != NULL;
        if (has_others && !run->is_cancelled && !run->is_shutdown)
            step_engine_wait_change(engine, clock_monotonic_ms() + ASK_INTERVAL_MS);
        pthread_mutex_unlock(&engine->lock);
        if (!has_others)
            return true;
        goes_on = step_run_check(run, err) && (!may_wait || may_wait(context, err));
    }
    return false;
}

bool step_run_stop_others(struct step_run *run, unsigned kinds, step_may_wait_fn *may_wait,
                          void *context, struct error *err)
{
    tell_others(run, kinds);
    return step_run_join_others(run, kinds, may_wait, context, err);
}
