/* Which coordinator is called, and when again after a failure. */
#include "agent/coordinator_client/client_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "protocol/vocabulary.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

enum { FIRST_PAUSE_MS = 250, LONGEST_PAUSE_MS = 5000 };

bool client_call_init(struct client_call *call, struct coordinator_client *client, const char *what,
                      struct error *err)
{
    *call = (struct client_call){.client = client, .what = what};
    buffer_init(&call->answer, LIMIT_MESSAGE);
    return http_client_open(&call->http, &client->is_stopped, err);
}

void client_call_done(struct client_call *call)
{
    http_client_close(call->http);
    buffer_done(&call->answer);
}

static bool never(void *context)
{
    (void)context;
    return false;
}

/* Sleeps until `is_over` says so, which is asked under the lock after each change. */
static bool pause_until(struct coordinator_client *client, int ms, bool (*is_over)(void *context),
                        void *context)
{
    int64_t deadline_ms = clock_monotonic_ms() + ms;
    struct timespec deadline = {.tv_sec = deadline_ms / 1000,
                                .tv_nsec = deadline_ms % 1000 * 1000000};
    int code = 0;
    pthread_mutex_lock(&client->lock);
    while (!atomic_load(&client->is_stopped) && code == 0 && !is_over(context))
        code = pthread_cond_timedwait(&client->changed, &client->lock, &deadline);
    pthread_mutex_unlock(&client->lock);
    return !atomic_load(&client->is_stopped);
}

bool client_pause(struct coordinator_client *client, int ms)
{
    return pause_until(client, ms, never, NULL);
}

struct news_wait {
    const struct coordinator_client *client;
    const struct client_since *since;
};

/* With the lock held. */
static bool has_news(void *context)
{
    const struct news_wait *wait = context;
    const struct coordinator_client_hooks *hooks = &wait->client->config.hooks;
    return wait->client->looks != wait->since->looks ||
           hooks->finished(hooks->context) != wait->since->finished;
}

bool client_pause_unless_news(struct coordinator_client *client, int ms,
                              const struct client_since *since)
{
    struct news_wait wait = {.client = client, .since = since};
    return pause_until(client, ms, has_news, &wait);
}

void client_notice(struct coordinator_client *client)
{
    pthread_mutex_lock(&client->lock);
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
}

/* Doubles with each round over all coordinators; between half and the whole of it, so that the
 * agents of a coordinator that comes back do not all come at once. */
static int pause_ms(const struct client_call *call)
{
    size_t count = call->client->config.coordinator_count;
    int rounds = call->failures / (int)count;
    int longest = FIRST_PAUSE_MS;
    for (int i = 1; i < rounds && longest < LONGEST_PAUSE_MS; i++)
        longest *= 2;
    longest = longest < LONGEST_PAUSE_MS ? longest : LONGEST_PAUSE_MS;
    unsigned int chance = 0;
    if (getrandom(&chance, sizeof chance, 0) != sizeof chance)
        chance = 0;
    return longest / 2 + (int)(chance % (unsigned int)(longest / 2 + 1));
}

static void note_failure(struct client_call *call, const struct error *err)
{
    size_t count = call->client->config.coordinator_count;
    call->failures++;
    if (!call->was_told && call->failures >= (int)count)
        log_warning("%s: no coordinator takes the call, trying on: %s", call->what, err->text);
    call->was_told = call->was_told || call->failures >= (int)count;
    call->current = (call->current + 1) % count;
    if (call->failures % (int)count == 0)
        client_pause(call->client, pause_ms(call));
}

bool client_call_post(struct client_call *call, const char *path, const char *body, int timeout_s,
                      struct error *err)
{
    const struct coordinator_client_config *config = &call->client->config;
    const char *base = config->coordinators[call->current].agent;
    const struct http_client_trust trust = {.ca = identity_ca(config->identity),
                                            .certificate = identity_certificate(config->identity),
                                            .key = identity_key(config->identity)};
    if (http_client_post(call->http, base, path, &trust, body, timeout_s, &call->answer, err)) {
        if (call->was_told)
            log_info("%s: %s answers again", call->what, base);
        call->failures = 0;
        call->was_told = false;
        return true;
    }
    if (err->code != ERROR_CANCELLED)
        note_failure(call, err);
    return false;
}
