/* Pages of JSON objects; see page.h. */
#include "coordinator/store/page.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
    PAGE_FULL_BYTES = 8 << 20, /* a page takes no further object from here on */
    PAGE_BYTES = 64 << 20,     /* with the one that made it full */
    STATEMENT_BYTES = 32 << 10,
    SELECT = sizeof "SELECT " - 1,
};

static int filter_count(const struct page_list *list)
{
    int count = 0;
    while (list->filters[count].name)
        count++;
    assert(list->own <= PAGE_OWN && count <= PAGE_FILTERS);
    return count;
}

/* The list's statement with the place in its order: `key` beside each object, then only what comes
 * after the cursor. */
static bool compose(const struct page *page, struct buffer *out, struct error *err)
{
    const struct page_list *list = page->list;
    const struct page_sort *sort = page->sort;
    const char *direction = page->is_descending ? "DESC" : "ASC";
    int key = list->own + filter_count(list) + 1;
    assert(strncmp(list->sql, "SELECT ", SELECT) == 0);
    return buffer_printf(out, err, "SELECT (%s)::text AS key, %s", sort->column,
                         list->sql + SELECT) &&
           buffer_printf(
               out, err, " AND ($%d::text IS NULL OR (%s, %s) %s ($%d::text::%s, $%d::uuid))", key,
               sort->column, list->id, page->is_descending ? "<" : ">", key, sort->type, key + 1) &&
           buffer_printf(out, err, " ORDER BY %s %s, %s %s LIMIT $%d::integer", sort->column,
                         direction, list->id, direction, key + 2);
}

/* The members that were chosen. */
static char *choose(const char *body, const struct page *page)
{
    json_auto_t *whole = json_loads(body, 0, NULL);
    json_auto_t *part = json_object();
    for (int i = 0; page->list->fields[i]; i++) {
        json_t *value = json_object_get(whole, page->list->fields[i]);
        if (value && page->fields & UINT64_C(1) << i)
            json_object_set(part, page->list->fields[i], value);
    }
    char *text = json_dumps(part, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text)
        abort(); /* only memory can be missing */
    return text;
}

static bool append_item(struct buffer *out, const char *body, const struct page *page,
                        struct error *err)
{
    auto_free char *chosen = page->fields ? choose(body, page) : NULL;
    return buffer_printf(out, err, "%s", chosen ? chosen : body);
}

/* At most `limit` objects, fewer when they are large. */
static bool assemble(const struct db_rows *rows, const struct page *page, struct buffer *out,
                     struct error *err)
{
    int most = db_count(rows) < page->limit ? db_count(rows) : page->limit;
    int count = 0;
    char cursor[PAGE_CURSOR_SIZE];
    if (!buffer_printf(out, err, "{\"items\":["))
        return false;
    for (int i = 0; i < most && out->size < PAGE_FULL_BYTES; i++, count++) {
        if (!buffer_printf(out, err, "%s", i ? "," : "") ||
            !append_item(out, db_value(rows, i, "body"), page, err))
            return false;
    }
    if (count == db_count(rows))
        return buffer_printf(out, err, "],\"next\":null}");
    page_cursor_make(page, db_value(rows, count - 1, "id"), db_value(rows, count - 1, "key"),
                     cursor);
    return buffer_printf(out, err, "],\"next\":\"%s\"}", cursor);
}

static bool run(struct db *db, const struct page *page, const char *const own[],
                struct db_rows **rows, struct error *err)
{
    /* one more tells whether there is a next page */
    struct db_text limit = db_int(page->limit + 1);
    const char *params[PAGE_OWN + PAGE_FILTERS + 3];
    struct buffer text;
    int count = 0;
    for (int i = 0; i < page->list->own; i++)
        params[count++] = own[i];
    for (int i = 0; i < filter_count(page->list); i++)
        params[count++] = page->filters[i];
    params[count++] = page->is_first ? NULL : page->after_key;
    params[count++] = page->is_first ? NULL : page->after_id;
    params[count++] = limit.text;
    buffer_init(&text, STATEMENT_BYTES);
    const char *sql = compose(page, &text, err) ? text.data : NULL;
    bool is_done = sql && db_query(db, sql, count, params, rows, err);
    buffer_done(&text);
    return is_done;
}

bool page_query(struct db *db, const struct page *page, const char *const own[], char **text,
                struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!run(db, page, own, &rows, err))
        return false;
    struct buffer out;
    buffer_init(&out, PAGE_BYTES);
    if (!assemble(rows, page, &out, err)) {
        buffer_done(&out);
        return false;
    }
    *text = buffer_take(&out);
    return true;
}

bool page_one(struct db *db, const char *sql, int count, const char *const params[], char **text,
              struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, count, params, &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "the object was removed a moment ago");
    *text = memory_copy_text(db_value(rows, 0, "body"));
    return true;
}
