/* The poll thread: fetches steps and cancellations. */
#include "agent/coordinator_client/client_state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

enum {
    POLL_TIMEOUT_S = 40, /* a poll parks up to 25 s */
    QUICK_MS = 200,      /* an answer that came so soon, so many times in a row, ... */
    QUICK_LIMIT = 10,
    QUICK_PAUSE_MS = 1000, /* ... is a misunderstanding that must not become a storm */
};

/* Before the steps, so that a transfer begins with them. */
static bool obey_settings(struct coordinator_client *client, const struct agent_poll_answer *answer)
{
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    const struct transfer_settings *settings = answer->settings.items;
    bool is_fine = true;
    for (size_t i = 0; i < answer->settings.count; i++) {
        struct error err;
        if (hooks->settings(hooks->context, &settings[i], &err))
            continue;
        log_error("settings of migration %s: %s", settings[i].migration, err.text);
        is_fine = false;
    }
    return is_fine;
}

/* False: some step could not be accepted. */
static bool obey(struct coordinator_client *client, const struct agent_poll_answer *answer)
{
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    const struct step *steps = answer->steps.items;
    char *const *cancel = answer->cancel.items;
    bool is_fine = obey_settings(client, answer);
    for (size_t i = 0; i < answer->steps.count; i++) {
        struct error err;
        if (hooks->accept(hooks->context, &steps[i], &err))
            continue;
        log_error("step %s %s is not accepted: %s", step_kind_names[steps[i].kind], steps[i].id,
                  err.text);
        is_fine = false;
    }
    for (size_t i = 0; i < answer->cancel.count; i++)
        hooks->cancel(hooks->context, cancel[i]);
    return is_fine;
}

static bool poll_once(struct client_call *call, bool *is_fine)
{
    struct coordinator_client *client = call->client;
    struct error err;
    struct agent_poll poll = {0};
    client->config.hooks.known(client->config.hooks.context, &poll);
    client->config.hooks.settings_known(client->config.hooks.context, &poll.settings);
    poll.has_settings = true;
    poll.takes_traceparent = true;
    auto_free char *body = json_encode_text(agent_poll_fields, &poll);
    json_release(agent_poll_fields, &poll);
    if (!client_call_post(call, "/agent/v1/poll", body, POLL_TIMEOUT_S, &err))
        return false;
    struct agent_poll_answer answer = {0};
    if (!json_decode_text(call->answer.data ? call->answer.data : "", call->answer.size,
                          agent_poll_answer_fields, &answer, &err)) {
        log_error("poll: the answer is not understood: %s", err.text);
        *is_fine = false;
        return true;
    }
    *is_fine = obey(client, &answer);
    json_release(agent_poll_answer_fields, &answer);
    return true;
}

void *client_poll_thread(void *argument)
{
    struct coordinator_client *client = argument;
    struct client_call call;
    struct error err;
    if (!client_call_init(&call, client, "poll", &err)) {
        log_error("poll: %s", err.text);
        abort();
    }
    int quick = 0;
    while (!atomic_load(&client->is_stopped)) {
        int64_t begin = clock_monotonic_ms();
        bool is_fine = true;
        if (!poll_once(&call, &is_fine))
            continue;
        quick = clock_monotonic_ms() - begin < QUICK_MS ? quick + 1 : 0;
        if (!is_fine || quick > QUICK_LIMIT)
            client_pause(client, QUICK_PAUSE_MS);
    }
    client_call_done(&call);
    return NULL;
}
