/* What each kind of step does: one handler in a file of its own, all in one table. Every handler is
 * safe to repeat after the agent died anywhere in it. */
#pragma once

#include "agent/handoff/handoff.h"
#include "agent/mirror/transfer.h"
#include "agent/steps/registry.h"
#include "agent/steps/step_engine.h"

/* What the handlers work with; both structs hold the same driver, hypervisor and journal. */
struct step_environment {
    struct handoff_environment handoff;
    struct transfer_environment transfer;
    struct registry *registry;
};

extern step_handler *const step_handlers[]; /* by enum step_kind */

step_handler step_prepare;
step_handler step_transfer;
step_handler step_receive;
step_handler step_handoff;
step_handler step_conclude;
step_handler step_abort_source;
step_handler step_abort_destination;
step_handler step_clean_source;
step_handler step_clean_destination;

/* Bits for step_run_stop_others and its like. */
#define STEP_BIT(symbol) (1U << STEP_##symbol)

/* The migration's transfer: the one in the registry, or opened and placed there. The caller gives
 * it back with registry_return. */
bool step_borrow_transfer(struct step_environment *environment, const struct migration_spec *spec,
                          struct transfer **out, struct error *err) must_check;
/* Makes newer settings durable and tells a transfer that is open. Safe to repeat. */
bool step_apply_settings(struct step_environment *environment,
                         const struct transfer_settings *settings, struct error *err) must_check;
/* The same, taken out of the registry: the caller closes it. */
bool step_take_transfer(struct step_environment *environment, const struct migration_spec *spec,
                        struct transfer **out, struct error *err) must_check;
/* What the ended handoff said of itself last is kept until the migration ends at its source. */
void step_keep_handoff_progress(struct step_environment *environment, const char *migration,
                                struct handoff_source *source);
void step_drop_handoff_progress(struct step_environment *environment, const char *migration);
/* The source's handoff record. */
bool step_source_record(struct step_environment *environment, const struct migration_spec *spec,
                        struct handoff_record *out, struct error *err) must_check;
/* ERROR_CONFLICT when the source's domain is released or lost to the destination: it must not be
 * touched any more by anything that thinks it is ours. */
bool step_check_source_owns(struct step_environment *environment, const struct migration_spec *spec,
                            struct error *err) must_check;
/* Stops and joins the migration's other transfer and handoff here. True: they have ended and the
 * source owns the domain, checked before, meanwhile and after. For TRANSFER and ABORT_SOURCE. */
bool step_stop_source_work(struct step_run *run, const struct migration_spec *spec,
                           struct error *err) must_check;
/* Brings a released source to the destination's verdict and waits until its handoff step ended;
 * one that is decided already must agree. For CONCLUDE and CLEAN_SOURCE. */
bool step_conclude_source(struct step_run *run, const struct step *step,
                          enum handoff_verdict verdict, struct error *err) must_check;
/* Is a domain of that UUID at this host, and what does it do? */
bool step_find_domain(struct step_environment *environment, const char *uuid, bool *is_here,
                      enum domain_state *state, struct error *err) must_check;
