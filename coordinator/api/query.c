/* What several handlers share; see api.h. */
#include "coordinator/api/api.h"

#include "base/log.h"
#include "base/uuid.h"
#include "coordinator/db/db.h"
#include "coordinator/store/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* `picture`: 'd' stands for a digit, anything else for itself. */
static bool starts_with(const char **text, const char *picture)
{
    const char *p = *text;
    for (; *picture; picture++, p++) {
        if (*picture == 'd' ? (*p < '0' || *p > '9') : *p != *picture)
            return false;
    }
    *text = p;
    return true;
}

/* PostgreSQL refuses a month 13 by itself; what is no time of RFC 3339 must not get so far, because
 * it also takes "tomorrow". */
bool api_check_time(const char *what, const char *text, struct error *err)
{
    const char *p = text;
    bool is_good = starts_with(&p, "dddd-dd-ddTdd:dd:dd");
    if (is_good && *p == '.')
        p += 1 + strspn(p + 1, "0123456789");
    if (is_good &&
        (starts_with(&p, "Z") || starts_with(&p, "+dd:dd") || starts_with(&p, "-dd:dd")) && !*p)
        return true;
    return error_set(err, ERROR_INVALID, "%s: expected a time such as 2026-01-31T12:00:00Z", what);
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
    struct page wanted = {.after = cursor, .scope = request->token.scope};
    if (!api_limit(request, &wanted.limit, err))
        return false;
    if (cursor && !uuid_is_valid(cursor))
        return error_set(err, ERROR_INVALID,
                         "query parameter cursor: expected the `next` of the page before");
    *page = wanted;
    return true;
}
