/* Statements that travel together (libpq's pipeline mode): a journey to the server and back costs
 * as much as a short statement itself. All that travel together end at one sync, so after one that
 * failed the rest is not run. */
#include "coordinator/db/db_connection.h"

#include <assert.h>

enum { TOGETHER_MOST = 8 };

bool db_has_waiting(const struct db *db)
{
    return db->is_begin_due || db->posted.count > 0;
}

struct sent {
    const char *sql, *name;
    int count;
    const char *const *params;
    struct db_rows **rows;
    const char *arrays[DB_POSTED_PARAMS]; /* `params` of a set of rows */
};

enum { SENT_MOST = 1 + DB_POSTED_MOST + TOGETHER_MOST };

static void gather_posted(const struct db_posted_statement *posted, struct sent *out)
{
    out->sql = posted->sql;
    out->count = posted->count;
    out->params = posted->is_set ? out->arrays : (const char *const *)posted->params;
    for (int k = 0; posted->is_set && k < posted->count; k++)
        out->arrays[k] = db_array_text(&posted->columns[k]);
}

/* What waits, and then these. */
static int gather(struct db *db, const struct db_statement statements[], int count,
                  struct sent all[SENT_MOST])
{
    int sent = 0;
    if (db->is_begin_due)
        all[sent++] = (struct sent){.sql = "BEGIN"};
    for (int i = 0; i < db->posted.count; i++)
        gather_posted(&db->posted.items[i], &all[sent++]);
    for (int i = 0; i < count; i++)
        all[sent++] = (struct sent){.sql = statements[i].sql,
                                    .count = statements[i].count,
                                    .params = statements[i].params,
                                    .rows = statements[i].rows};
    return sent;
}

static bool send_together(struct db *db, const struct sent all[], int count, struct error *err)
{
    if (!PQenterPipelineMode(db->connection))
        return db_not_sent(db, err);
    for (int i = 0; i < count; i++) {
        if (!db_send(db, all[i].name, all[i].sql, all[i].count, all[i].params))
            return db_not_sent(db, err);
    }
    return PQpipelineSync(db->connection) == 1 || db_not_sent(db, err);
}

/* The first failure is the one that is told. */
static bool take_answers(struct db *db, int count, PGresult *results[], struct error *err)
{
    bool is_good = true;
    for (int i = 0; i < count; i++) {
        if (!db_answer(db, &results[i], err))
            return false;
        if (is_good && !db_check_result(db, results[i], err)) {
            is_good = false;
            if (!db->connection)
                return false;
        }
    }
    struct error later;
    return db_take_sync(db, is_good ? err : &later) && is_good;
}

bool db_query_all(struct db *db, const struct db_statement statements[], int count,
                  struct error *err)
{
    assert(count <= TOGETHER_MOST);
    struct sent all[SENT_MOST] = {0};
    PGresult *results[SENT_MOST] = {NULL};
    if (!db->connection)
        return error_set(err, ERROR_UNREACHABLE, "database: the connection was lost");
    int sent = gather(db, statements, count, all);
    for (int i = db->is_begin_due; i < sent; i++) {
        if (!db_prepare(db, all[i].sql, &all[i].name, err))
            return false;
    }
    bool is_done = send_together(db, all, sent, err);
    db_forget_waiting(db); /* whatever becomes of it */
    is_done = is_done && take_answers(db, sent, results, err);
    db_settle_notices(db, is_done);
    for (int i = 0; i < sent; i++) {
        if (is_done && all[i].rows)
            *all[i].rows = db_rows_new(results[i]);
        else
            PQclear(results[i]);
    }
    return is_done;
}

bool db_send_waiting(struct db *db, struct error *err)
{
    return db_query_all(db, NULL, 0, err);
}
