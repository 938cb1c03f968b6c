/* Deliveries of a webhook: list, try a dead one again. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include "coordinator/store/webhook_delivery.h"
#include "coordinator/store/webhook_store.h"

#include <stdio.h>
#include <string.h>

void api_answer_delivery(const char *webhook, struct http_answer *answer)
{
    answer->status = 202;
    answer->retry_after_s = 1;
    snprintf(answer->location, sizeof answer->location, "/v1/webhooks/%s/deliveries", webhook);
}

bool api_webhook_deliveries_list(void *context, struct http_request *request, bool is_last_call,
                                 struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    return webhook_store_find(request->db, request->parameters[0], id, err) &&
           api_list(request, &webhook_delivery_list, (const char *const[]){id}, answer, err);
}

bool api_webhook_deliveries_retry(void *context, struct http_request *request, bool is_last_call,
                                  struct http_answer *answer, struct error *err)
{
    static const char *const no_parameters[] = {NULL};
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    auto_free char *before = NULL;
    const char *delivery = request->parameters[1];
    if (!http_query_only(request, no_parameters, err) ||
        !webhook_store_find(request->db, request->parameters[0], id, err))
        return false;
    if (!uuid_is_valid(delivery))
        return error_set(err, ERROR_NOT_FOUND,
                         "delivery \"%.80s\" does not exist: GET /v1/webhooks/%s/deliveries lists "
                         "them",
                         delivery, id);
    if (!webhook_delivery_retry(request->db, id, delivery, &before, &answer->body, err))
        return false;
    http_audit(request, "webhook-delivery", delivery, before, answer->body);
    api_answer_delivery(id, answer);
    return true;
}
