/* Is the process alive, and is it ready to serve: the database answers and has our schema. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "coordinator/db/db.h"

static const char *const no_parameters[] = {NULL};

bool api_health(void *context, struct http_request *request, bool is_last_call,
                struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    if (!http_query_only(request, no_parameters, err))
        return false;
    http_answer_json(answer, 200, json_pack("{s:s}", "status", "ok"));
    return true;
}

bool api_ready(void *context, struct http_request *request, bool is_last_call,
               struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    auto_db struct db *db = NULL;
    int version = 0;
    if (!http_query_only(request, no_parameters, err) || !api_take(api, &db, err) ||
        !db_schema_version(db, &version, err))
        return false;
    if (version != api->schema_version)
        return error_set(err, ERROR_UNREACHABLE,
                         "The database has schema version %d, this coordinator serves %d", version,
                         api->schema_version);
    http_answer_json(answer, 200, json_pack("{s:s, s:i}", "status", "ready", "schema", version));
    return true;
}
