/* Counts by state; see census_store.h. */
#include "coordinator/store/census_store.h"

#include "coordinator/domain/migration.h"

#include <string.h>

static int64_t count_of(const struct db_rows *rows, const char *state)
{
    for (int i = 0; i < db_count(rows); i++) {
        if (strcmp(db_value(rows, i, "state"), state) == 0)
            return db_value_int(rows, i, "count");
    }
    return 0;
}

static void visit_states(const struct db_rows *rows, const char *kind, const char *const states[],
                         census_visit *visit, void *context)
{
    for (int i = 0; states[i]; i++)
        visit(context, kind, states[i], count_of(rows, states[i]));
}

static const char migrations_sql[] =
    "SELECT state, count(*) AS count FROM migration GROUP BY state";

bool census_store_migrations(struct db *db, census_visit *visit, void *context, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, migrations_sql, 0, NULL, &rows, err))
        return false;
    visit_states(rows, "migrations", migration_state_names, visit, context);
    return true;
}

static const char hosts_sql[] =
    "SELECT CASE WHEN state <> 'enabled' THEN state"
    " WHEN last_seen > now() - make_interval(secs => $1::integer) THEN 'up'"
    " ELSE 'lost' END AS state, count(*) AS count FROM host GROUP BY 1";

bool census_store_hosts(struct db *db, int host_lost_after_s, census_visit *visit, void *context,
                        struct error *err)
{
    static const char *const states[] = {"enrolling", "revoked", "up", "lost", NULL};
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, hosts_sql, DB_PARAMS(db_int(host_lost_after_s).text), &rows, err))
        return false;
    visit_states(rows, "hosts", states, visit, context);
    return true;
}

static const char steps_sql[] = "SELECT kind, state, count(*) AS count FROM step"
                                " WHERE is_live GROUP BY kind, state"
                                " ORDER BY kind, state";

bool census_store_steps(struct db *db, census_visit *visit, void *context, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, steps_sql, 0, NULL, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++)
        visit(context, db_value(rows, i, "kind"), db_value(rows, i, "state"),
              db_value_int(rows, i, "count"));
    return true;
}

static const char waiting_sql[] =
    "SELECT m.queued, m.oldest_queued_s, s.oldest_step_s FROM"
    " (SELECT count(*) AS queued,"
    "  coalesce(extract(epoch FROM now() - min(created_at)), 0) AS oldest_queued_s"
    "  FROM migration WHERE state = 'queued' AND ended_at IS NULL) AS m,"
    " (SELECT coalesce(extract(epoch FROM now() - min(not_before)), 0) AS oldest_step_s"
    "  FROM step WHERE is_live AND state = 'queued' AND not_before <= now()) AS s";

bool census_store_waiting(struct db *db, struct census_waiting *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, waiting_sql, 0, NULL, &rows, err))
        return false;
    *out = (struct census_waiting){.queued = db_value_int(rows, 0, "queued"),
                                   .oldest_queued_s = db_value_double(rows, 0, "oldest_queued_s"),
                                   .oldest_step_s = db_value_double(rows, 0, "oldest_step_s")};
    return true;
}
