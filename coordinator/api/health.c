/* Is the process alive, and is it ready to serve: the database answers, takes writes, has our
 * schema and our time. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/clock.h"
#include "coordinator/db/db.h"

#include <math.h>

/* Expiry of certificates and tokens is judged by the database's clock and by ours. */
enum { CLOCKS_APART_MOST_S = 5 };

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

static const char state_sql[] =
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
    " AS is_read_only, extract(epoch FROM clock_timestamp()) AS now_s";

static bool check_server(struct db *db, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    double before_s = clock_wall_precise_s();
    if (!db_query(db, state_sql, 0, NULL, &rows, err))
        return false;
    double after_s = clock_wall_precise_s();
    double now_s = db_value_double(rows, 0, "now_s");
    if (db_value_bool(rows, 0, "is_read_only"))
        return error_set(err, ERROR_UNREACHABLE, "The database takes no writes: it is a standby");
    /* the answer was made at some time in between */
    double apart_s = now_s < before_s ? now_s - before_s : now_s > after_s ? now_s - after_s : 0;
    if (fabs(apart_s) > CLOCKS_APART_MOST_S)
        return error_set(err, ERROR_UNREACHABLE,
                         "The database's clock is %.1f s %s this coordinator's, more than %d s: "
                         "check time synchronization at both",
                         fabs(apart_s), apart_s > 0 ? "ahead of" : "behind", CLOCKS_APART_MOST_S);
    return true;
}

static bool check_schema(const struct api_context *api, struct db *db, struct error *err)
{
    int version = 0;
    if (!db_schema_version(db, &version, err))
        return false;
    return version == api->schema_version ||
           error_set(err, ERROR_UNREACHABLE,
                     "The database has schema version %d, this coordinator serves %d", version,
                     api->schema_version);
}

bool api_ready(void *context, struct http_request *request, bool is_last_call,
               struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    auto_db struct db *db = NULL;
    if (!http_query_only(request, no_parameters, err) || !api_take(api, &db, err) ||
        !check_server(db, err) || !check_schema(api, db, err))
        return false;
    http_answer_json(answer, 200,
                     json_pack("{s:s, s:i}", "status", "ready", "schema", api->schema_version));
    return true;
}
