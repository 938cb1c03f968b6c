/* Pools: list, show, create. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/json_table.h"
#include "coordinator/store/page.h"
#include "coordinator/store/listing.h"
#include "coordinator/store/pool_store.h"

#include <stdio.h>
#include <stdlib.h>

struct pool_request {
    char name[129];
};
static const struct json_field pool_request_fields[] = {
    JSON_CHARS("name", pool_request, name, 1, true),
    {0},
};
static const char *const no_parameters[] = {NULL};

bool api_pools_list(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &pool_list, (const char *const[]){request->token.scope}, answer, err);
}

bool api_pools_show(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return http_query_only(request, no_parameters, err) &&
           pool_store_show(request->db, request->token.scope, request->parameters[0], &answer->body,
                           err);
}

bool api_pools_cpu(void *context, struct http_request *request, bool is_last_call,
                   struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    struct pool_cpu cpu = {0};
    struct pool_cpu_type *types = NULL;
    char id[UUID_SIZE];
    if (!http_query_only(request, no_parameters, err) ||
        !listing_find_pool(request->db, request->token.scope, request->parameters[0], id, err) ||
        !pool_store_cpu(request->db, id, &cpu, err))
        return false;
    size_t count = pool_cpu_types(cpu.reports, cpu.report_count, cpu.hosts, &types);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_encode(pool_cpu_type_fields, &types[i]));
    http_answer_json(answer, 200,
                     json_pack("{s:s, s:s, s:o, s:i, s:o}", "pool", cpu.pool, "pool_name", cpu.name,
                               "cpu_vendor", cpu.vendor[0] ? json_string(cpu.vendor) : json_null(),
                               "hosts", cpu.hosts, "guest_types", list));
    free(types);
    free(cpu.reports);
    return true;
}

bool api_pools_create(void *context, struct http_request *request, bool is_last_call,
                      struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    struct pool_request wanted = {0};
    char id[UUID_SIZE];
    if (!http_query_only(request, no_parameters, err) ||
        !http_body(request, pool_request_fields, &wanted, err) ||
        !api_check_name(request, "pool", wanted.name, err) ||
        !pool_store_create(request->db, wanted.name, id, &answer->body, err))
        return false;
    http_audit(request, "pool", id, NULL, answer->body);
    answer->status = 201;
    snprintf(answer->location, sizeof answer->location, "/v1/pools/%s", id);
    return true;
}
