/* Enrolment of hosts: an administrator's one-time token, the agent's exchange of it for a
 * certificate, and the renewal of a certificate. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/db/db.h"
#include "coordinator/security/ca.h"
#include "coordinator/security/certificate.h"
#include "coordinator/security/config.h"
#include "coordinator/security/enrolment.h"
#include "protocol/agent_api.h"

#include <stdio.h>
#include <string.h>

struct enrolment_request {
    char pool[129];
    char name[129];
};
static const struct json_field enrolment_request_fields[] = {
    JSON_CHARS("pool", enrolment_request, pool, 1, true),
    JSON_CHARS("name", enrolment_request, name, 1, true),
    {0},
};
static const char *const no_parameters[] = {NULL};

bool api_enrolments_create(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    struct enrolment_request wanted = {0};
    struct enrolment made;
    if (!http_query_only(request, no_parameters, err) ||
        !json_decode_text(request->body, request->body_size, enrolment_request_fields, &wanted,
                          err) ||
        !enrolment_create(request->db, wanted.pool, wanted.name, &made, err))
        return false;
    log_info("token %s let host %s (%s) enrol", request->token_name, wanted.name, made.host);
    http_answer_json(answer, 201,
                     json_pack("{s:s, s:s, s:s}", "host", made.host, "token", made.token,
                               "expires_at", made.expires_at));
    snprintf(answer->location, sizeof answer->location, "/v1/hosts/%s", made.host);
    return true;
}

static void answer_certificate(const struct api_context *api, const char *host, char *certificate,
                               struct http_answer *answer)
{
    struct agent_enrol_answer granted = {.certificate = certificate,
                                         .ca = api->ca->certificate,
                                         .agent_port = api->config->agents.port};
    memcpy(granted.host, host, UUID_SIZE);
    answer->body = json_encode_text(agent_enrol_answer_fields, &granted);
}

bool api_agent_enrol(void *context, struct http_request *request, bool is_last_call,
                     struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct agent_enrol wanted = {0};
    char host[UUID_SIZE];
    auto_free char *certificate = NULL;
    auto_db struct db *db = NULL;
    if (!http_query_only(request, no_parameters, err) ||
        !json_decode_text(request->body, request->body_size, agent_enrol_fields, &wanted, err))
        return false;
    bool is_granted = api_take(api, &db, err) &&
                      enrolment_use(db, api->ca, wanted.token, wanted.csr, host, &certificate, err);
    explicit_bzero(wanted.token, sizeof wanted.token);
    json_release(agent_enrol_fields, &wanted);
    if (!is_granted)
        return false;
    log_info("host %s has enrolled", host);
    answer_certificate(api, host, certificate, answer);
    return true;
}

bool api_agent_renew(void *context, struct http_request *request, bool is_last_call,
                     struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct agent_renew wanted = {0};
    char serial[65];
    auto_free char *certificate = NULL;
    if (!http_query_only(request, no_parameters, err) ||
        !json_decode_text(request->body, request->body_size, agent_renew_fields, &wanted, err))
        return false;
    bool is_granted = certificate_issue(request->db, api->ca, request->host, wanted.csr,
                                        &certificate, serial, err);
    json_release(agent_renew_fields, &wanted);
    if (!is_granted)
        return false;
    log_info("host %s has renewed its certificate", request->host);
    answer_certificate(api, request->host, certificate, answer);
    return true;
}
