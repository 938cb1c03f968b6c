/* This end's handoff record, and the domain that the destination builds, in the journal. The
 * journal's door makes each verdict final: whoever comes second is refused. */
#pragma once

#include "agent/handoff/handoff.h"

bool record_get(const struct handoff_environment *environment, const struct migration_spec *spec,
                enum migration_role role, struct handoff_record *out, struct error *err) must_check;
bool record_put(const struct handoff_environment *environment, const struct migration_spec *spec,
                enum migration_role role, int64_t epoch, enum handoff_state state,
                struct error *err) must_check;
/* VERDICT_NONE for a record that holds none. */
enum handoff_verdict record_verdict(const struct handoff_record *record);

/* Settles an epoch of the destination: makes it ABANDONED unless it is OWNED; *verdict is what the
 * journal says then. A journal that cannot be written (disk full) is tried again until limit_ms. */
bool record_settle(const struct handoff_environment *environment, const struct migration_spec *spec,
                   int64_t epoch, int limit_ms, enum handoff_verdict *verdict,
                   struct error *err) must_check;

/* The ledger knows of the domain before it is built, and nothing else is ever destroyed: a domain
 * of this UUID that another move brought here is not ours. */
bool built_begin(const struct handoff_environment *environment, const struct migration_spec *spec,
                 struct error *err) must_check;
bool built_destroy(const struct handoff_environment *environment, const struct migration_spec *spec,
                   struct error *err) must_check;
/* It became the VM's own. */
bool built_keep(const struct handoff_environment *environment, const struct migration_spec *spec,
                struct error *err) must_check;
