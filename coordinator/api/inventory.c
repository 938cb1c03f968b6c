/* The inventory as the planner reads it: what `crosspool plan --inventory` takes. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "coordinator/security/config.h"
#include "coordinator/store/plan_facts.h"

static const char *const no_parameters[] = {NULL};

bool api_inventory_show(void *context, struct http_request *request, bool is_last_call,
                        struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct plan_facts facts;
    if (!http_query_only(request, no_parameters, err) ||
        !plan_facts_load(request->db, request->token.scope, api->config->host_lost_after_s, &facts,
                         err))
        return false;
    answer->body = json_encode_text(plan_inventory_fields, &facts.inventory);
    plan_facts_done(&facts);
    return true;
}
