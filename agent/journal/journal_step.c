/* Steps in the journal, as the JSON that they travel in. */
#include "agent/journal/database.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

static bool accept(struct journal *journal, const struct step *step, const char *body, bool *is_new,
                   struct error *err)
{
    int64_t position = 0;
    int changed = 0;
    if (!database_next_number(journal, "step", &position, err) ||
        !database_run(journal, &changed, err,
                      "INSERT INTO step (id, migration, position, body) VALUES (?1, ?2, ?3, ?4)"
                      " ON CONFLICT (id) DO NOTHING",
                      "ttit", step->id, step->spec.migration, position, body))
        return false;
    *is_new = changed == 1;
    return true;
}

bool journal_accept_step(struct journal *journal, const struct step *step, bool *is_new,
                         struct error *err)
{
    auto_free char *body = json_encode_text(step_fields, step);
    bool inserted = false;
    bool ok = database_begin(journal, err) && accept(journal, step, body, &inserted, err);
    if (!database_end(journal, ok, err))
        return false;
    *is_new = inserted;
    return true;
}

static bool finish(struct journal *journal, const char *step, const char *result, struct error *err)
{
    int changed = 0;
    if (!database_run(journal, &changed, err,
                      "UPDATE step SET result = ?2 WHERE id = ?1 AND result IS NULL", "tt", step,
                      result))
        return false;
    if (changed == 1)
        return true;
    return error_set(err, ERROR_CONFLICT, "step %s is unknown or has a result already", step);
}

bool journal_finish_step(struct journal *journal, const struct step_result *result,
                         struct error *err)
{
    auto_free char *text = json_encode_text(step_result_fields, result);
    bool ok = database_begin(journal, err) && finish(journal, result->step, text, err);
    return database_end(journal, ok, err);
}

bool journal_step_reported(struct journal *journal, const char *step, struct error *err)
{
    bool ok = database_begin(journal, err) &&
              database_run(journal, NULL, err,
                           "DELETE FROM step WHERE id = ?1 AND result IS NOT NULL"
                           " AND is_forgotten = 1",
                           "t", step) &&
              database_run(journal, NULL, err,
                           "UPDATE step SET is_reported = 1 WHERE id = ?1 AND result IS NOT NULL",
                           "t", step);
    return database_end(journal, ok, err);
}

/* Texts of one column, read whole before any is visited, so that the visitor may use the journal.
 */
struct text_list {
    char **items;
    size_t count;
};

static void text_list_done(struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static bool collect(struct journal *journal, const char *sql, struct text_list *list,
                    struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err, sql, ""))
        return false;
    while (database_row(journal, statement, &has_row, err)) {
        if (!has_row)
            return true;
        list->items = memory_resize(list->items, list->count + 1, sizeof *list->items);
        list->items[list->count++] = memory_copy_text(database_text(statement, 0));
    }
    return false;
}

static bool visit_steps(struct journal *journal, const char *sql, journal_step_fn *fn,
                        void *context, struct error *err)
{
    __attribute__((cleanup(text_list_done))) struct text_list list = {0};
    bool ok = database_begin(journal, err) && collect(journal, sql, &list, err);
    if (!database_end(journal, ok, err))
        return false;
    for (size_t i = 0; i < list.count; i++) {
        struct step step = {0};
        if (!json_decode_text(list.items[i], strlen(list.items[i]), step_fields, &step, err))
            return error_prefix(err, "journal %s: step", journal->path);
        bool goes_on = fn(context, &step, err);
        json_release(step_fields, &step);
        if (!goes_on)
            return false;
    }
    return true;
}

bool journal_unfinished(struct journal *journal, journal_step_fn *fn, void *context,
                        struct error *err)
{
    return visit_steps(journal, "SELECT body FROM step WHERE result IS NULL ORDER BY position", fn,
                       context, err);
}

bool journal_each_step(struct journal *journal, journal_step_fn *fn, void *context,
                       struct error *err)
{
    return visit_steps(journal, "SELECT body FROM step WHERE is_forgotten = 0 ORDER BY position",
                       fn, context, err);
}

bool journal_unreported(struct journal *journal, journal_result_fn *fn, void *context,
                        struct error *err)
{
    __attribute__((cleanup(text_list_done))) struct text_list list = {0};
    bool ok = database_begin(journal, err) &&
              collect(journal,
                      "SELECT result FROM step WHERE result IS NOT NULL AND is_reported = 0"
                      " ORDER BY position",
                      &list, err);
    if (!database_end(journal, ok, err))
        return false;
    for (size_t i = 0; i < list.count; i++) {
        struct step_result result = {0};
        if (!json_decode_text(list.items[i], strlen(list.items[i]), step_result_fields, &result,
                              err))
            return error_prefix(err, "journal %s: result", journal->path);
        bool goes_on = fn(context, &result, err);
        json_release(step_result_fields, &result);
        if (!goes_on)
            return false;
    }
    return true;
}
