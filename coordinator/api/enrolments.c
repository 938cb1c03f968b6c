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

static void note_enrolment(struct http_request *request, const struct enrolment_request *wanted,
                           const struct enrolment *made)
{
    json_t *after = json_pack("{s:s, s:s, s:s}", "name", wanted->name, "pool", wanted->pool,
                              "enrolment_expires_at", made->expires_at);
    auto_free char *text = json_dumps(after, JSON_COMPACT);
    json_decref(after);
    http_audit(request, "host", made->host, NULL, text);
}

bool api_enrolments_create(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    struct enrolment_request wanted = {0};
    struct enrolment made;
    if (!http_query_only(request, no_parameters, err) ||
        !http_body(request, enrolment_request_fields, &wanted, err) ||
        !api_check_name(request, "host", wanted.name, err) ||
        !enrolment_create(request->db, request->token.scope, wanted.pool, wanted.name, &made, err))
        return false;
    note_enrolment(request, &wanted, &made);
    log_info("token %s let host %s (%s) enrol", request->token.name, wanted.name, made.host);
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

/* Inside the transaction of the change: the host has this certificate now. */
static bool record(const struct http_request *request, struct db *db, const char *operation,
                   const char *host, const char *serial, struct error *err)
{
    const struct audit_actor actor = {.kind = "host",
                                      .name = host,
                                      .request = request->id,
                                      .operation = operation,
                                      .status = 200};
    struct audit_change change = {0};
    char after[96];
    snprintf(after, sizeof after, "{\"serial\":\"%s\"}", serial);
    audit_change_set(&change, "certificate", host, NULL, after);
    bool is_written = audit_write(db, &actor, &change, err);
    audit_change_done(&change);
    return is_written;
}

/* All else of the body was checked before. */
static bool wrong_csr(struct http_request *request, struct error *err)
{
    return err->code == ERROR_INVALID &&
           http_wrong_member(request, "/csr", "a certificate request in PEM", err);
}

struct grant {
    char host[UUID_SIZE], serial[65];
    char *certificate;
};

static bool enrol(const struct api_context *api, const struct http_request *request, struct db *db,
                  const struct agent_enrol *wanted, struct grant *grant, struct error *err)
{
    if (!db_begin(db, err))
        return false;
    if (enrolment_use(db, api->ca, wanted->token, wanted->csr, grant->host, &grant->certificate,
                      grant->serial, err) &&
        (!grant->serial[0] ||
         record(request, db, "POST /agent/v1/enrol", grant->host, grant->serial, err)) &&
        db_commit(db, err))
        return true;
    db_rollback(db);
    return false;
}

bool api_agent_enrol(void *context, struct http_request *request, bool is_last_call,
                     struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct agent_enrol wanted = {0};
    struct grant grant = {0};
    auto_db struct db *db = NULL;
    if (!http_query_only(request, no_parameters, err) ||
        !http_body(request, agent_enrol_fields, &wanted, err))
        return false;
    bool is_granted = api_take(api, &db, err) && enrol(api, request, db, &wanted, &grant, err);
    explicit_bzero(wanted.token, sizeof wanted.token);
    json_release(agent_enrol_fields, &wanted);
    auto_free char *certificate = grant.certificate;
    if (!is_granted)
        return wrong_csr(request, err);
    log_info("host %s has enrolled", grant.host);
    answer_certificate(api, grant.host, certificate, answer);
    return true;
}

static bool renew(const struct api_context *api, const struct http_request *request,
                  const struct agent_renew *wanted, struct grant *grant, struct error *err)
{
    if (!db_begin(request->db, err))
        return false;
    if (certificate_issue(request->db, api->ca, request->host, wanted->csr, &grant->certificate,
                          grant->serial, err) &&
        record(request, request->db, "POST /agent/v1/renew", request->host, grant->serial, err) &&
        db_commit(request->db, err))
        return true;
    db_rollback(request->db);
    return false;
}

bool api_agent_renew(void *context, struct http_request *request, bool is_last_call,
                     struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct agent_renew wanted = {0};
    struct grant grant = {0};
    if (!http_query_only(request, no_parameters, err) ||
        !http_body(request, agent_renew_fields, &wanted, err))
        return false;
    bool is_granted = renew(api, request, &wanted, &grant, err);
    json_release(agent_renew_fields, &wanted);
    auto_free char *certificate = grant.certificate;
    if (!is_granted)
        return wrong_csr(request, err);
    log_info("host %s has renewed its certificate", request->host);
    answer_certificate(api, request->host, certificate, answer);
    return true;
}
