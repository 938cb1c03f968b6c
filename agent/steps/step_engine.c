/* The step engine: the list of steps that are not reported yet, and their life. Lock order: the
 * engine's lock is never held while a run's `stop_lock` is taken or a handler's code is called. */
#include "agent/steps/step_engine.h"

#include "agent/steps/step_run.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    LIMIT_STEPS = 1000,     /* accepted and not reported; a poll can name 1024 */
    LIMIT_RESULTS = 256,    /* in one report */
    FINISH_RETRY_MS = 1000, /* a result that the journal could not take */
};

void step_engine_open(struct step_engine **out, struct journal *journal,
                      step_handler *const *handlers, void *environment)
{
    struct step_engine *engine = memory_alloc(sizeof *engine);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&engine->lock, NULL);
    engine->journal = journal;
    engine->handlers = handlers;
    engine->environment = environment;
    *out = engine;
}

void step_engine_close(struct step_engine *engine)
{
    if (!engine)
        return;
    while (engine->runs) {
        struct step_run *run = engine->runs;
        engine->runs = run->next;
        step_run_free(run);
    }
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

static struct step_run *find(struct step_engine *engine, const char *step)
{
    struct step_run *run = engine->runs;
    while (run && strcmp(run->step.id, step) != 0)
        run = run->next;
    return run;
}

static size_t count_runs(const struct step_engine *engine)
{
    size_t count = 0;
    for (const struct step_run *run = engine->runs; run; run = run->next)
        count++;
    return count;
}

static void append(struct step_engine *engine, struct step_run *run)
{
    struct step_run **end = &engine->runs;
    while (*end)
        end = &(*end)->next;
    *end = run;
}

static void unlink_run(struct step_engine *engine, const struct step_run *run)
{
    struct step_run **at = &engine->runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
}

static void count_finished(struct step_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->finished++;
    pthread_mutex_unlock(&engine->lock);
}

/* Makes the outcome durable; a full disk is waited out, the agent's end is not. */
static bool finish(struct step_run *run, const struct step_result *result)
{
    struct error err;
    count_finished(run->engine);
    while (!journal_finish_step(run->engine->journal, result, &err)) {
        if (err.code == ERROR_CONFLICT) {
            log_error("step %s: %s", run->step.id, err.text);
            return false;
        }
        log_error("step %s: its result cannot be kept, trying again: %s", run->step.id, err.text);
        if (!step_run_insist(run, FINISH_RETRY_MS))
            return false;
    }
    return true;
}

/* False: no outcome, the step goes on at the next start. */
static bool execute(struct step_run *run)
{
    const struct step *step = &run->step;
    const char *word = step_kind_names[step->kind];
    struct step_result result = {.is_done = true};
    struct error err = {0};
    log_info("step %s %s begins", word, step->id);
    bool is_done = run->engine->handlers[step->kind](run, step, &result, &err);
    if (!is_done && step_run_is_shutdown(run)) {
        log_info("step %s %s stops with the agent and goes on later", word, step->id);
        return false;
    }
    if (!is_done) {
        result.is_done = false;
        result.error = err.code;
        memcpy(result.error_text, err.text, sizeof result.error_text);
    }
    memcpy(result.step, step->id, sizeof result.step);
    failpoint_pass("step.finished");
    if (!finish(run, &result))
        return false;
    failpoint_pass("step.journalled");
    if (result.is_done)
        log_info("step %s %s is done", word, step->id);
    else
        log_warning("step %s %s ended: %s: %s", word, step->id, error_code_name(result.error),
                    result.error_text);
    return true;
}

static void *run_thread(void *argument)
{
    struct step_run *run = argument;
    struct step_engine *engine = run->engine;
    log_context_migration(run->step.spec.migration);
    log_context_trace(run->step.spec.traceparent);
    bool has_result = execute(run);
    pthread_mutex_lock(&engine->lock);
    run->is_running = false;
    engine->running--;
    engine->has_news = engine->has_news || has_result;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

/* Under the lock; the run is in the list. A step that cannot start ends with that as its result. */
static bool start(struct step_engine *engine, struct step_run *run, struct error *err)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    run->is_running = true;
    engine->running++;
    int code = pthread_create(&thread, &attributes, run_thread, run);
    pthread_attr_destroy(&attributes);
    if (code == 0)
        return true;
    run->is_running = false;
    engine->running--;
    engine->finished++;
    engine->has_news = true;
    struct step_result result = {.error = ERROR_INTERNAL,
                                 .error_text = "the agent cannot start a thread for the step"};
    memcpy(result.step, run->step.id, sizeof result.step);
    log_error("step %s: cannot start a thread: %s", run->step.id, strerror(code));
    return journal_finish_step(engine->journal, &result, err);
}

static bool resume_step(void *context, const struct step *step, struct error *err)
{
    struct step_engine *engine = context;
    (void)err;
    append(engine, step_run_new(engine, step));
    return true;
}

static bool resume_result(void *context, const struct step_result *result, struct error *err)
{
    struct step_engine *engine = context;
    (void)err;
    struct step step = {0};
    memcpy(step.id, result->step, sizeof step.id);
    append(engine, step_run_new(engine, &step));
    engine->has_news = true;
    return true;
}

/* All are in the list before the first starts, so that an abort finds whom to stop. */
bool step_engine_resume(struct step_engine *engine, struct error *err)
{
    pthread_mutex_lock(&engine->lock);
    bool ok = journal_unreported(engine->journal, resume_result, engine, err) &&
              journal_unfinished(engine->journal, resume_step, engine, err);
    for (struct step_run *run = engine->runs; run && ok; run = run->next)
        if (run->step.spec.migration[0])
            ok = start(engine, run, err);
    pthread_mutex_unlock(&engine->lock);
    return ok;
}

bool step_engine_accept(struct step_engine *engine, const struct step *step, struct error *err)
{
    pthread_mutex_lock(&engine->lock);
    bool is_known = find(engine, step->id) != NULL;
    bool is_full = count_runs(engine) >= LIMIT_STEPS;
    bool is_stopping = engine->is_stopping;
    pthread_mutex_unlock(&engine->lock);
    if (is_known)
        return true;
    if (is_stopping)
        return error_set(err, ERROR_CANCELLED, "step %s: the agent stops", step->id);
    if (is_full)
        return error_set(err, ERROR_NO_SPACE, "step %s: %d steps are not reported yet", step->id,
                         LIMIT_STEPS);
    bool is_new = false;
    if (!journal_accept_step(engine->journal, step, &is_new, err))
        return false;
    if (!is_new)
        return true;
    failpoint_pass("step.accepted");
    pthread_mutex_lock(&engine->lock);
    bool ok = true;
    struct step_run *run = step_run_new(engine, step);
    append(engine, run);
    if (!engine->is_stopping)
        ok = start(engine, run, err);
    pthread_mutex_unlock(&engine->lock);
    return ok;
}

void step_engine_cancel(struct step_engine *engine, const char *step)
{
    pthread_mutex_lock(&engine->lock);
    struct step_run *run = find(engine, step);
    bool is_news = run && !run->is_cancelled;
    if (run)
        run->users++;
    pthread_mutex_unlock(&engine->lock);
    if (!run)
        return;
    step_run_stop(run, false);
    if (is_news)
        log_info("step %s is told to end", step);
    step_run_release(run);
}

bool step_engine_stop(struct step_engine *engine, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    pthread_mutex_lock(&engine->lock);
    engine->is_stopping = true;
    for (struct step_run *run = engine->runs; run;) {
        run->users++;
        pthread_mutex_unlock(&engine->lock);
        step_run_stop(run, true);
        pthread_mutex_lock(&engine->lock);
        struct step_run *next = run->next;
        run->users--;
        run = next;
    }
    while (engine->running > 0 && clock_monotonic_ms() < deadline)
        step_engine_wait_change(engine, deadline);
    bool has_ended = engine->running == 0;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    return has_ended;
}

static void add_text(struct json_array *array, const char *text)
{
    char **items = memory_resize(array->items, array->count + 1, sizeof *items);
    items[array->count++] = memory_copy_text(text);
    array->items = items;
}

void step_engine_known(struct step_engine *engine, struct agent_poll *out)
{
    *out = (struct agent_poll){0};
    pthread_mutex_lock(&engine->lock);
    for (const struct step_run *run = engine->runs; run; run = run->next) {
        add_text(&out->known, run->step.id);
        if (run->is_cancelled)
            add_text(&out->cancelling, run->step.id);
    }
    pthread_mutex_unlock(&engine->lock);
}

static bool collect_result(void *context, const struct step_result *result, struct error *err)
{
    struct json_array *array = context;
    (void)err;
    if (array->count >= LIMIT_RESULTS)
        return true;
    struct step_result *items = memory_resize(array->items, array->count + 1, sizeof *items);
    items[array->count++] = *result;
    array->items = items;
    return true;
}

bool step_engine_results(struct step_engine *engine, struct json_array *out, struct error *err)
{
    struct json_array array = {0};
    if (!journal_unreported(engine->journal, collect_result, &array, err)) {
        free(array.items);
        return false;
    }
    *out = array;
    return true;
}

int64_t step_engine_finished(struct step_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    int64_t finished = engine->finished;
    pthread_mutex_unlock(&engine->lock);
    return finished;
}

bool step_engine_reported(struct step_engine *engine, const char *step, struct error *err)
{
    if (!journal_step_reported(engine->journal, step, err))
        return false;
    pthread_mutex_lock(&engine->lock);
    struct step_run *run = find(engine, step);
    /* Its thread ends right after the result became durable. */
    while (run && (run->is_running || run->users > 0)) {
        step_engine_wait_change(engine, clock_monotonic_ms() + 100);
        run = find(engine, step);
    }
    if (run)
        unlink_run(engine, run);
    pthread_mutex_unlock(&engine->lock);
    if (run)
        step_run_free(run);
    return true;
}

void step_engine_wait_result(struct step_engine *engine, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    pthread_mutex_lock(&engine->lock);
    while (!engine->has_news && clock_monotonic_ms() < deadline)
        step_engine_wait_change(engine, deadline);
    engine->has_news = false;
    pthread_mutex_unlock(&engine->lock);
}

void step_engine_wake(struct step_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->has_news = true;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

bool step_engine_is_running(struct step_engine *engine, const char *migration, enum step_kind kind)
{
    bool is_running = false;
    pthread_mutex_lock(&engine->lock);
    for (const struct step_run *run = engine->runs; run && !is_running; run = run->next)
        is_running = run->is_running && run->step.kind == kind &&
                     strcmp(run->step.spec.migration, migration) == 0;
    pthread_mutex_unlock(&engine->lock);
    return is_running;
}

bool step_engine_has_domain(struct step_engine *engine, const char *domain)
{
    bool is_running = false;
    pthread_mutex_lock(&engine->lock);
    for (const struct step_run *run = engine->runs; run && !is_running; run = run->next)
        is_running = run->is_running && strcmp(run->step.spec.domain, domain) == 0;
    pthread_mutex_unlock(&engine->lock);
    return is_running;
}

void step_engine_wait_change(struct step_engine *engine, int64_t deadline_ms)
{
    struct timespec deadline = {.tv_sec = deadline_ms / 1000,
                                .tv_nsec = deadline_ms % 1000 * 1000000};
    pthread_cond_timedwait(&engine->changed, &engine->lock, &deadline);
}
