/* Pages of JSON objects; see page.h. */
#include "coordinator/store/page.h"

#include "base/buffer.h"
#include "base/memory.h"

#include <assert.h>
#include <stdio.h>

enum { PAGE_BYTES = 64 << 20, PAGE_FILTERS = 4 };

static bool assemble(const struct db_rows *rows, int limit, struct buffer *out, struct error *err)
{
    int count = db_count(rows) < limit ? db_count(rows) : limit;
    if (!buffer_printf(out, err, "{\"items\":["))
        return false;
    for (int i = 0; i < count; i++) {
        if (!buffer_printf(out, err, "%s%s", i ? "," : "", db_value(rows, i, "body")))
            return false;
    }
    if (db_count(rows) > limit)
        return buffer_printf(out, err, "],\"next\":\"%s\"}", db_value(rows, count - 1, "id"));
    return buffer_printf(out, err, "],\"next\":null}");
}

bool page_query(struct db *db, const char *sql, const struct page *page, int filter_count,
                const char *const filters[], char **text, struct error *err)
{
    assert(filter_count <= PAGE_FILTERS);
    struct db_text limit =
        db_int(page->limit + 1); /* one more tells whether there is a next page */
    const char *params[2 + PAGE_FILTERS] = {page->after, limit.text};
    for (int i = 0; i < filter_count; i++)
        params[2 + i] = filters[i];
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, 2 + filter_count, params, &rows, err))
        return false;
    struct buffer out;
    buffer_init(&out, PAGE_BYTES);
    if (!assemble(rows, page->limit, &out, err)) {
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
