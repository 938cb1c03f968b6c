/* Handoff records behind their door: epochs only grow, states only go forward. */
#include "agent/journal/database.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

const char *const handoff_state_names[] = {"none",  "streaming", "prepared", "released",
                                           "owned", "abandoned", NULL};

#define BIT(state) (1U << (state))

/* Within one epoch: the states that may follow each state (itself always may). OWNED and ABANDONED
 * are verdicts: nothing follows them. */
static const unsigned next_in_epoch[2][HANDOFF_ABANDONED + 1] = {
    [ROLE_SOURCE] = {[HANDOFF_STREAMING] = BIT(HANDOFF_RELEASED) | BIT(HANDOFF_ABANDONED),
                     [HANDOFF_RELEASED] = BIT(HANDOFF_OWNED) | BIT(HANDOFF_ABANDONED)},
    [ROLE_DESTINATION] = {[HANDOFF_STREAMING] = BIT(HANDOFF_PREPARED) | BIT(HANDOFF_ABANDONED),
                          [HANDOFF_PREPARED] = BIT(HANDOFF_OWNED) | BIT(HANDOFF_ABANDONED)},
};

/* The states from which a higher epoch may begin: the domain's owner must be decided, or the
 * beginning of the new epoch gives the old one up. A released source and an owner never do. */
static const unsigned may_begin_after =
    BIT(HANDOFF_NONE) | BIT(HANDOFF_STREAMING) | BIT(HANDOFF_PREPARED) | BIT(HANDOFF_ABANDONED);
static const unsigned first_in_epoch = BIT(HANDOFF_STREAMING) | BIT(HANDOFF_ABANDONED);

static bool check_step(const struct handoff_record *old, const struct handoff_record *new)
{
    if (new->epoch < old->epoch)
        return false;
    if (new->epoch > old->epoch)
        return (BIT(old->state) & may_begin_after) && (BIT(new->state) & first_in_epoch);
    return new->state == old->state || (BIT(new->state) & next_in_epoch[new->role][old->state]);
}

static bool check_door(const struct handoff_record *old, const struct handoff_record *new,
                       struct error *err)
{
    bool is_valid = (new->role == ROLE_SOURCE || new->role == ROLE_DESTINATION) &&
                    new->state > HANDOFF_NONE &&new->state <= HANDOFF_ABANDONED &&new->epoch >= 1;
    if (!is_valid)
        return error_set(err, ERROR_REFUSED, "migration %s: no such handoff record",
                         new->migration);
    if (old->domain[0] && strcmp(old->domain, new->domain) != 0)
        return error_set(err, ERROR_REFUSED, "migration %s moves domain %s, not %s", new->migration,
                         old->domain, new->domain);
    if (check_step(old, new))
        return true;
    return error_set(err, ERROR_REFUSED,
                     "migration %s: the handoff record of the %s is %s of epoch %" PRId64
                     " and cannot become %s of epoch %" PRId64,
                     new->migration, migration_role_names[new->role],
                     handoff_state_names[old->state], old->epoch, handoff_state_names[new->state],
                     new->epoch);
}

static void read_record(sqlite3_stmt *row, struct handoff_record *out)
{
    database_copy(row, 0, out->migration, sizeof out->migration);
    database_copy(row, 1, out->domain, sizeof out->domain);
    out->role = (enum migration_role)sqlite3_column_int(row, 2);
    out->epoch = sqlite3_column_int64(row, 3);
    out->state = (enum handoff_state)sqlite3_column_int(row, 4);
}

static bool get(struct journal *journal, const char *migration, enum migration_role role,
                struct handoff_record *out, struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err,
                        "SELECT migration, domain, role, epoch, state FROM handoff"
                        " WHERE migration = ?1 AND role = ?2",
                        "ti", migration, (int64_t)role) ||
        !database_row(journal, statement, &has_row, err))
        return false;
    *out = (struct handoff_record){.role = role};
    if (has_row)
        read_record(statement, out);
    else
        snprintf(out->migration, sizeof out->migration, "%s", migration);
    return true;
}

static bool put(struct journal *journal, const struct handoff_record *record, struct error *err)
{
    struct handoff_record old;
    int64_t position = 0;
    if (!get(journal, record->migration, record->role, &old, err) ||
        !check_door(&old, record, err) || !database_next_number(journal, "handoff", &position, err))
        return false;
    return database_run(journal, NULL, err,
                        "INSERT INTO handoff (migration, role, domain, epoch, state, position)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (migration, role) DO UPDATE"
                        " SET epoch = excluded.epoch, state = excluded.state,"
                        " position = excluded.position",
                        "titiii", record->migration, (int64_t)record->role, record->domain,
                        record->epoch, (int64_t)record->state, position);
}

bool journal_put_handoff(struct journal *journal, const struct handoff_record *record,
                         struct error *err)
{
    bool ok = database_begin(journal, err) && put(journal, record, err);
    return database_end(journal, ok, err);
}

bool journal_get_handoff(struct journal *journal, const char *migration, enum migration_role role,
                         struct handoff_record *out, struct error *err)
{
    struct handoff_record found;
    bool ok = database_begin(journal, err) && get(journal, migration, role, &found, err);
    if (!database_end(journal, ok, err))
        return false;
    *out = found;
    return true;
}

static bool collect(struct journal *journal, struct handoff_record **records, size_t *count,
                    struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err,
                        "SELECT migration, domain, role, epoch, state FROM handoff"
                        " ORDER BY position",
                        ""))
        return false;
    while (database_row(journal, statement, &has_row, err)) {
        if (!has_row)
            return true;
        *records = memory_resize(*records, *count + 1, sizeof **records);
        (*records)[*count] = (struct handoff_record){0};
        read_record(statement, &(*records)[(*count)++]);
    }
    return false;
}

bool journal_each_handoff(struct journal *journal, journal_handoff_fn *fn, void *context,
                          struct error *err)
{
    auto_free struct handoff_record *records = NULL;
    size_t count = 0;
    bool ok = database_begin(journal, err) && collect(journal, &records, &count, err);
    if (!database_end(journal, ok, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!fn(context, &records[i], err))
            return false;
    return true;
}
