/* Renewal of the host's certificate, in time. */
#include "agent/coordinator_client/client_state.h"

#include "base/cleanup.h"
#include "base/log.h"

enum { RENEW_TIMEOUT_S = 30 };

static bool fetch(struct client_call *call, char **certificate, struct error *err)
{
    auto_free char *csr = NULL;
    if (!identity_request(call->client->config.identity, &csr, err))
        return false;
    struct agent_renew renew = {.csr = csr};
    auto_free char *body = json_encode_text(agent_renew_fields, &renew);
    struct agent_enrol_answer answer = {0};
    if (!client_call_post(call, "/agent/v1/renew", body, RENEW_TIMEOUT_S, err) ||
        !json_decode_text(call->answer.data ? call->answer.data : "", call->answer.size,
                          agent_enrol_answer_fields, &answer, err))
        return false;
    *certificate = take(answer.certificate);
    json_release(agent_enrol_answer_fields, &answer);
    return true;
}

static bool renew(struct client_call *call, struct error *err)
{
    const struct coordinator_client_config *config = &call->client->config;
    auto_free char *certificate = NULL;
    bool is_due = false;
    if (!identity_is_due(config->identity, &is_due, err))
        return false;
    if (!is_due)
        return true;
    if (!fetch(call, &certificate, err) || !identity_renew(config->identity, certificate, err))
        return false;
    log_info("the host's certificate was renewed");
    call->client->must_tell_renewal = true;
    return true;
}

static bool tell(struct coordinator_client *client, struct error *err)
{
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    if (!client->must_tell_renewal)
        return true;
    client->must_tell_renewal = !hooks->renewed(hooks->context, err);
    return !client->must_tell_renewal;
}

void client_renew(struct client_call *call)
{
    struct error err;
    if (!renew(call, &err) || !tell(call->client, &err))
        log_error("the host's certificate could not be renewed, trying again: %s", err.text);
}
