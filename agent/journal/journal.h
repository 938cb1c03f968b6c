/* What the agent must not forget: SQLite, WAL, synchronous=FULL. Every call is one transaction that
 * is durable when it returns. Thread-safe. A step's life here:
 * accepted -> (running in memory) -> finished -> reported (row removed with its migration). */
#pragma once

#include "protocol/agent_api.h"

struct journal;

bool journal_open(struct journal **out, const char *path, struct error *err) must_check;
void journal_close(struct journal *journal);

/* Steps. Accepting one that is known already is fine and says so. */
bool journal_accept_step(struct journal *journal, const struct step *step, bool *is_new,
                         struct error *err) must_check;
bool journal_finish_step(struct journal *journal, const struct step_result *result,
                         struct error *err) must_check;
bool journal_step_reported(struct journal *journal, const char *step, struct error *err) must_check;
/* Visits steps that are accepted and not finished (restart), or finished and not reported. */
typedef bool journal_step_fn(void *context, const struct step *step, struct error *err);
bool journal_unfinished(struct journal *journal, journal_step_fn *fn, void *context,
                        struct error *err) must_check;
/* Every step of migrations that are not forgotten, whatever became of it, oldest first. */
bool journal_each_step(struct journal *journal, journal_step_fn *fn, void *context,
                       struct error *err) must_check;
typedef bool journal_result_fn(void *context, const struct step_result *result, struct error *err);
bool journal_unreported(struct journal *journal, journal_result_fn *fn, void *context,
                        struct error *err) must_check;

/* Handoff records: at most one row per (migration, role); docs/handoff.md names the states. The
 * door: a record never goes to a lower epoch, nor backwards within one; such a call is
 * ERROR_REFUSED and changes nothing. Within an epoch: source STREAMING -> RELEASED -> OWNED or
 * ABANDONED, destination STREAMING -> PREPARED -> OWNED or ABANDONED, both STREAMING -> ABANDONED,
 * and the same state again. A higher epoch begins with STREAMING or ABANDONED, and never after
 * RELEASED or OWNED. */
enum handoff_state {
    HANDOFF_NONE,
    HANDOFF_STREAMING, /* source: saving, may resume by itself; destination: receiving */
    HANDOFF_PREPARED,  /* destination: restored, paused */
    HANDOFF_RELEASED,  /* source: past the point of no return of this epoch */
    HANDOFF_OWNED,     /* destination: it runs here; source: learned that */
    HANDOFF_ABANDONED, /* destination: never runs here in this epoch; source: runs here again */
};
extern const char *const handoff_state_names[];
struct handoff_record {
    char migration[UUID_SIZE];
    char domain[UUID_SIZE];
    enum migration_role role;
    int64_t epoch;
    enum handoff_state state;
};
bool journal_put_handoff(struct journal *journal, const struct handoff_record *record,
                         struct error *err) must_check;
/* state HANDOFF_NONE, epoch 0 when there is none. */
bool journal_get_handoff(struct journal *journal, const char *migration, enum migration_role role,
                         struct handoff_record *out, struct error *err) must_check;
/* In the order of their last change. */
typedef bool journal_handoff_fn(void *context, const struct handoff_record *record,
                                struct error *err);
bool journal_each_handoff(struct journal *journal, journal_handoff_fn *fn, void *context,
                          struct error *err) must_check;

/* Numbers that only grow, by name ("mirror/<migration>/<disk>", "inventory"): the next value is
 * durable before it is returned. `journal_raise` raises one to `value` and refuses
 * (ERROR_REFUSED) unless it is greater than what is stored. */
bool journal_next(struct journal *journal, const char *name, int64_t *value,
                  struct error *err) must_check;
bool journal_raise(struct journal *journal, const char *name, int64_t value,
                   struct error *err) must_check;
bool journal_current(struct journal *journal, const char *name, int64_t *value,
                     struct error *err) must_check;

/* Settings of transfers: those of the highest version stay. *settings has version 0 and the rest of
 * it as it was when there are none. */
bool journal_put_settings(struct journal *journal, const struct transfer_settings *settings,
                          struct error *err) must_check;
bool journal_get_settings(struct journal *journal, const char *migration,
                          struct transfer_settings *settings, struct error *err) must_check;
/* Versions of all (struct settings_known, at most 1024); the caller frees the items. */
bool journal_settings_known(struct journal *journal, struct json_array *out,
                            struct error *err) must_check;

/* Ledger: before an object is made, and after it is gone. Both are safe to repeat. */
bool journal_ledger_add(struct journal *journal, const char *migration, const char *kind,
                        const char *reference, struct error *err) must_check;
bool journal_ledger_remove(struct journal *journal, const char *migration, const char *kind,
                           const char *reference, struct error *err) must_check;
typedef bool journal_ledger_fn(void *context, const struct ledger_entry *entry, struct error *err);
/* Entries of one migration that are not removed; migration NULL: of all. */
bool journal_each_ledger(struct journal *journal, const char *migration, journal_ledger_fn *fn,
                         void *context, struct error *err) must_check;
/* Entries changed since they were last reported. */
bool journal_unreported_ledger(struct journal *journal, journal_ledger_fn *fn, void *context,
                               struct error *err) must_check;
bool journal_ledger_reported(struct journal *journal, int64_t up_to_sequence,
                             struct error *err) must_check;

/* Forgets an ended migration: refused (ERROR_CONFLICT) while a ledger entry is left or its handoff
 * is not decided. Steps stay until they are finished and reported; the destination's verdict stays
 * for good, without the domain. */
bool journal_forget(struct journal *journal, const char *migration, struct error *err) must_check;
