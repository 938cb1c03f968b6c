/* What several handlers share; see api.h. */
#include "coordinator/api/api.h"

#include "base/log.h"
#include "base/uuid.h"
#include "coordinator/db/db.h"
#include "coordinator/store/page.h"

#include <errno.h>
#include <stdlib.h>

enum { TAKE_TIMEOUT_MS = 1000, PARAMETERS = 8 };

bool api_take(const struct api_context *context, struct db **db, struct error *err)
{
    struct error failure;
    if (db_take(context->pool, TAKE_TIMEOUT_MS, db, &failure))
        return true;
    log_warning("%s", failure.text);
    return error_set(err, ERROR_UNREACHABLE, "The database is not available now");
}

bool api_limit(const struct http_request *request, int *limit, struct error *err)
{
    const char *text = http_query(request, "limit");
    *limit = PAGE_DEFAULT;
    if (!text)
        return true;
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text || value < 1 || value > PAGE_MOST)
        return error_set(err, ERROR_INVALID, "query parameter limit: expected 1 to %d", PAGE_MOST);
    *limit = (int)value;
    return true;
}

bool api_page(const struct http_request *request, const char *const more[], struct page *page,
              struct error *err)
{
    const char *allowed[PARAMETERS + 1] = {"limit", "cursor"};
    for (int i = 0; more && more[i] && i + 2 < PARAMETERS; i++)
        allowed[i + 2] = more[i];
    if (!http_query_only(request, allowed, err))
        return false;
    const char *cursor = http_query(request, "cursor");
    struct page wanted = {.after = cursor};
    if (!api_limit(request, &wanted.limit, err))
        return false;
    if (cursor && !uuid_is_valid(cursor))
        return error_set(err, ERROR_INVALID,
                         "query parameter cursor: expected the `next` of the page before");
    *page = wanted;
    return true;
}
