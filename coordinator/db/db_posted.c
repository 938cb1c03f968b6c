/* Statements that wait for the next one of their transaction; db_pipeline.c sends them. */
#include "coordinator/db/db_connection.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

void db_forget_waiting(struct db *db)
{
    for (int i = 0; i < db->posted.count; i++) {
        struct db_posted_statement *posted = &db->posted.items[i];
        for (int k = 0; k < posted->count; k++) {
            free(posted->params[k]);
            db_array_done(&posted->columns[k]);
        }
        *posted = (struct db_posted_statement){0};
    }
    db->posted.count = 0;
    db->is_begin_due = false;
}

static struct db_posted_statement *add_posted(struct db *db, const char *sql, int count)
{
    struct db_posted_statement *posted = &db->posted.items[db->posted.count++];
    posted->sql = sql;
    posted->count = count;
    return posted;
}

static bool make_room(struct db *db, struct error *err)
{
    return db->posted.count < DB_POSTED_MOST || db_send_waiting(db, err);
}

bool db_post(struct db *db, const char *sql, int count, const char *const params[],
             struct error *err)
{
    assert(count <= DB_POSTED_PARAMS);
    if (db->depth == 0)
        return db_query(db, sql, count, params, NULL, err);
    if (!make_room(db, err))
        return false;
    struct db_posted_statement *posted = add_posted(db, sql, count);
    for (int i = 0; i < count; i++)
        posted->params[i] = params[i] ? memory_copy_text(params[i]) : NULL;
    return true;
}

static struct db_posted_statement *find_set(struct db *db, const char *sql)
{
    for (int i = 0; i < db->posted.count; i++) {
        if (db->posted.items[i].is_set && db->posted.items[i].sql == sql)
            return &db->posted.items[i];
    }
    return NULL;
}

static void add_row(struct db_posted_statement *posted, const char *const params[])
{
    for (int i = 0; i < posted->count; i++)
        db_array_add(&posted->columns[i], params[i]);
}

static bool query_row(struct db *db, const char *sql, int count, const char *const params[],
                      struct error *err)
{
    struct db_array columns[DB_POSTED_PARAMS] = {0};
    const char *texts[DB_POSTED_PARAMS] = {NULL};
    for (int i = 0; i < count; i++) {
        db_array_add(&columns[i], params[i]);
        texts[i] = db_array_text(&columns[i]);
    }
    bool is_done = db_query(db, sql, count, texts, NULL, err);
    for (int i = 0; i < count; i++)
        db_array_done(&columns[i]);
    return is_done;
}

bool db_post_row(struct db *db, const char *sql, int count, const char *const params[],
                 struct error *err)
{
    assert(count <= DB_POSTED_PARAMS);
    if (db->depth == 0)
        return query_row(db, sql, count, params, err);
    struct db_posted_statement *posted = find_set(db, sql);
    if (!posted) {
        if (!make_room(db, err))
            return false;
        posted = add_posted(db, sql, count);
        posted->is_set = true;
    }
    add_row(posted, params);
    return true;
}
