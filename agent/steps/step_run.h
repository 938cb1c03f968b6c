/* One step that runs, and what its engine holds; only the engine's two files include it. */
#pragma once

#include "agent/steps/step_engine.h"

#include <pthread.h>

struct step_engine {
    struct journal *journal;
    step_handler *const *handlers;
    void *environment;
    pthread_mutex_t lock; /* guards what follows and the flags of the runs */
    pthread_cond_t changed;
    struct step_run *runs; /* oldest first, until reported */
    int running;
    int64_t finished; /* steps whose result was about to become durable */
    bool is_stopping;
    bool has_news; /* for step_engine_wait_result */
};

struct step_run {
    struct step_engine *engine;
    struct step step; /* for a finished one from before a restart: only its id */
    struct step_run *next;
    bool is_running;
    bool is_cancelled;
    bool is_shutdown;          /* told to stop because the agent ends */
    int users;                 /* keep it from being freed */
    pthread_mutex_t stop_lock; /* held during a call of `stop` */
    step_stop_fn *stop;
    void *stop_object;
};

struct step_run *step_run_new(struct step_engine *engine, const struct step *step);
void step_run_free(struct step_run *run);
void step_run_release(struct step_run *run); /* users - 1 */
/* Tells it to stop. */
void step_run_stop(struct step_run *run, bool is_shutdown);
bool step_run_is_shutdown(struct step_run *run);
/* Under the engine's lock: until something changed or the monotonic time has come. */
void step_engine_wait_change(struct step_engine *engine, int64_t deadline_ms);
