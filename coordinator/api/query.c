/* What several handlers share; see api.h. */
#include "coordinator/api/api.h"

#include "base/log.h"
#include "coordinator/db/db.h"
#include "coordinator/domain/mapping.h"
#include "coordinator/domain/policy.h"
#include "coordinator/security/name.h"

#include <time.h>

enum { TAKE_TIMEOUT_MS = 1000 };

bool api_take(const struct api_context *context, struct db **db, struct error *err)
{
    struct error failure;
    if (db_take(context->pool, TAKE_TIMEOUT_MS, db, &failure))
        return true;
    log_warning("%s", failure.text);
    return error_set(err, ERROR_UNREACHABLE, "The database is not available now");
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
