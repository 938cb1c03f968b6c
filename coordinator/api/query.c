/* What several handlers share; see api.h. */
#include "coordinator/api/api.h"

#include "base/log.h"
#include "base/uuid.h"
#include "coordinator/db/db.h"
#include "coordinator/domain/mapping.h"
#include "coordinator/domain/policy.h"
#include "coordinator/security/name.h"
#include "coordinator/store/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TAKE_TIMEOUT_MS = 1000, PARAMETERS = 8 };

bool api_take(const struct api_context *context, struct db **db, struct error *err)
{
    struct error failure;
    if (db_take(context->pool, TAKE_TIMEOUT_MS, db, &failure))
        return true;
    log_warning("%s", failure.text);
    return error_set(err, ERROR_UNREACHABLE, "The database is not available now");
}

bool api_limit(struct http_request *request, int *limit, struct error *err)
{
    const char *text = http_query(request, "limit");
    *limit = PAGE_DEFAULT;
    if (!text)
        return true;
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text || value < 1 || value > PAGE_MOST)
        return http_wrong_parameter(request, "limit", "1 to 500", err);
    *limit = (int)value;
    return true;
}

bool api_check_name(struct http_request *request, const char *what, const char *name,
                    struct error *err)
{
    return name_check(what, name, err) || http_wrong_member(request, "/name", NAME_EXPECTED, err);
}

bool api_mapping(struct http_request *request, const char *pointer, const char *text,
                 struct mapping *out, struct error *err)
{
    size_t found = request->errors.count;
    if (mapping_decode(text, out, &request->errors, err))
        return true;
    field_errors_prefix(&request->errors, found, pointer);
    return error_prefix(err, "%s", pointer);
}

bool api_switchover(struct http_request *request, const char *pointer, const char *text,
                    struct switchover *out, struct error *err)
{
    size_t found = request->errors.count;
    if (switchover_decode(text, time(NULL), out, &request->errors, err))
        return true;
    field_errors_prefix(&request->errors, found, pointer);
    return error_prefix(err, "%s", pointer);
}

bool api_page(struct http_request *request, const char *const more[], struct page *page,
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
        return http_wrong_parameter(request, "cursor", "the `next` of the page before", err);
    *page = wanted;
    return true;
}
