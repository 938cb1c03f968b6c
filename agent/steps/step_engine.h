/* Runs steps: each one on a thread of its own, once, by the journal. An accepted step is durable
 * before it starts and its result before it is reported; one that the agent's death interrupted is
 * run again at the next start, so every handler is safe to repeat.
 *
 * A step is told to stop by a cancellation (its outcome then counts like any other) or by the end
 * of the agent (a failure is then no outcome: the step goes on at the next start). */
#pragma once

#include "agent/journal/journal.h"
#include "protocol/agent_api.h"

struct step_engine;
struct step_run; /* one step that runs */

/* Does what the step says. True: *result (is_done is preset) says how it ended; false: `err` does.
 */
typedef bool step_handler(struct step_run *run, const struct step *step, struct step_result *result,
                          struct error *err);

/* `handlers` is indexed by enum step_kind; `environment` is for the handlers. All borrowed. */
void step_engine_open(struct step_engine **out, struct journal *journal,
                      step_handler *const *handlers, void *environment);
/* Continues what the journal holds; once, before anything is accepted. */
bool step_engine_resume(struct step_engine *engine, struct error *err) must_check;
/* Tells all steps to stop; false when some still run after timeout_ms. Nothing starts afterwards.
 */
bool step_engine_stop(struct step_engine *engine, int timeout_ms);
/* Only after a stop that returned true. */
void step_engine_close(struct step_engine *engine);

/* Journals and starts a step; one that is known already is fine. */
bool step_engine_accept(struct step_engine *engine, const struct step *step,
                        struct error *err) must_check;
/* Tells a step to stop; unknown and finished ones are fine. */
void step_engine_cancel(struct step_engine *engine, const char *step);
/* What a poll says; the caller releases it with agent_poll_fields. */
void step_engine_known(struct step_engine *engine, struct agent_poll *out);
/* Results that the coordinator does not have yet (struct step_result, at most 256 of them; the
 * caller frees the items). */
bool step_engine_results(struct step_engine *engine, struct json_array *out,
                         struct error *err) must_check;
/* Steps that have ended since the engine was opened. It grows after the step's last act and before
 * its result is among step_engine_results. */
int64_t step_engine_finished(struct step_engine *engine);
bool step_engine_reported(struct step_engine *engine, const char *step,
                          struct error *err) must_check;
/* Waits until a step ended since the last call, or somebody wakes it, or timeout_ms passed. */
void step_engine_wait_result(struct step_engine *engine, int timeout_ms);
void step_engine_wake(struct step_engine *engine);
/* True when a step of that kind of the migration runs. */
bool step_engine_is_running(struct step_engine *engine, const char *migration, enum step_kind kind);
/* True when a step runs of a migration of that domain, at either end. */
bool step_engine_has_domain(struct step_engine *engine, const char *domain);

/* For handlers. */
void *step_run_environment(const struct step_run *run);
/* ERROR_CANCELLED when the step was told to stop. */
bool step_run_check(struct step_run *run, struct error *err) must_check;
/* Sleeps; false as soon as the step was told to stop. */
bool step_run_wait(struct step_run *run, int ms);
/* Sleeps whatever was cancelled; false only when the agent ends. For what cannot be given up. */
bool step_run_insist(struct step_run *run, int ms);
/* Called when the step is cancelled and when the agent ends, on another thread, or at once when it
 * was told already; perhaps more than once. NULL takes it back and returns when no call is under
 * way. `stop` must not wait. */
typedef void step_stop_fn(void *object, bool is_shutdown);
void step_run_on_stop(struct step_run *run, step_stop_fn *stop, void *object);
/* Tells the migration's other steps of these kinds (bits 1 << kind) to stop and waits until they
 * have ended. While it waits it asks `may_wait` (may be NULL) now and then. */
typedef bool step_may_wait_fn(void *context, struct error *err);
bool step_run_stop_others(struct step_run *run, unsigned kinds, step_may_wait_fn *may_wait,
                          void *context, struct error *err) must_check;
/* The same without telling them. */
bool step_run_join_others(struct step_run *run, unsigned kinds, step_may_wait_fn *may_wait,
                          void *context, struct error *err) must_check;
/* True when another step of these kinds of this migration runs. */
bool step_run_has_others(struct step_run *run, unsigned kinds);
