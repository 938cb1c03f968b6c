/* Mapping sets: list, show, create, replace, remove. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "coordinator/domain/mapping.h"
#include "coordinator/store/mapping_set.h"

#include <stdio.h>

struct set_request {
    char name[LIMIT_NAME + 1];
    char *mapping; /* its own strict decoding follows */
};
static const struct json_field set_request_fields[] = {
    JSON_CHARS("name", set_request, name, 1, true),
    {JSON_ROW("mapping", set_request, mapping, JSON_FIELD_ANY, true), .max = LIMIT_MAPPING},
    {0},
};
static const char *const no_parameters[] = {NULL};

/* *mapping (owned) is the map encoded anew, so that only what was understood is stored. */
static bool read_body(struct http_request *request, char name[LIMIT_NAME + 1], char **mapping,
                      struct error *err)
{
    struct set_request wanted = {0};
    if (!http_body(request, set_request_fields, &wanted, err))
        return false;
    auto_free char *text = wanted.mapping;
    struct mapping map = {0};
    if (!api_check_name(request, "mapping set", wanted.name, err) ||
        !api_mapping(request, "/mapping", text, &map, err))
        return false;
    *mapping = mapping_encode(&map);
    mapping_done(&map);
    snprintf(name, LIMIT_NAME + 1, "%s", wanted.name);
    return true;
}

bool api_mapping_sets_list(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &mapping_set_list, NULL, answer, err);
}

static bool find(struct http_request *request, char id[UUID_SIZE], struct error *err)
{
    auto_free char *mapping = NULL;
    return http_query_only(request, no_parameters, err) &&
           mapping_set_find(request->db, request->parameters[0], id, &mapping, err);
}

bool api_mapping_sets_show(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    return find(request, id, err) && mapping_set_show(request->db, id, &answer->body, err);
}

bool api_mapping_sets_current(void *context, struct http_request *request, bool is_last_call,
                              struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    return find(request, id, err) && mapping_set_lock(request->db, id, err) &&
           mapping_set_show(request->db, id, &answer->body, err);
}

bool api_mapping_sets_create(void *context, struct http_request *request, bool is_last_call,
                             struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char name[LIMIT_NAME + 1];
    char id[UUID_SIZE];
    auto_free char *mapping = NULL;
    if (!http_query_only(request, no_parameters, err) || !read_body(request, name, &mapping, err) ||
        !mapping_set_create(request->db, name, mapping, id, err) ||
        !mapping_set_show(request->db, id, &answer->body, err))
        return false;
    http_audit(request, "mapping-set", id, NULL, answer->body);
    answer->status = 201;
    snprintf(answer->location, sizeof answer->location, "/v1/mapping-sets/%s", id);
    return true;
}

bool api_mapping_sets_replace(void *context, struct http_request *request, bool is_last_call,
                              struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char name[LIMIT_NAME + 1];
    char id[UUID_SIZE];
    auto_free char *mapping = NULL;
    auto_free char *before = NULL;
    if (!find(request, id, err) || !read_body(request, name, &mapping, err) ||
        !mapping_set_lock(request->db, id, err) ||
        !mapping_set_show(request->db, id, &before, err) ||
        !mapping_set_replace(request->db, id, name, mapping, err) ||
        !mapping_set_show(request->db, id, &answer->body, err))
        return false;
    http_audit(request, "mapping-set", id, before, answer->body);
    return true;
}

bool api_mapping_sets_remove(void *context, struct http_request *request, bool is_last_call,
                             struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    auto_free char *before = NULL;
    if (!find(request, id, err) || !mapping_set_lock(request->db, id, err) ||
        !mapping_set_show(request->db, id, &before, err) ||
        !mapping_set_remove(request->db, id, err))
        return false;
    http_audit(request, "mapping-set", id, before, NULL);
    answer->status = 204;
    return true;
}
