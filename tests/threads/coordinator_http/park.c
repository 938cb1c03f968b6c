/* Parked requests against wakes that come at any moment: each value is given out once, no client
 * waits for the end of its parking although its value is there, and a stop answers all. */
#include "fixture.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CLIENTS = 8, ROUNDS = 25, PARK_MS = 20000, SLOW_MS = 5000 };

static _Atomic int values[CLIENTS]; /* what client i waits for; taken by its handler */
static _Atomic int given, looks;

static bool wait_value(void *context, struct http_request *request, bool is_last_call,
                       struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)err;
    int client = atoi(request->parameters[0]);
    atomic_fetch_add(&looks, 1);
    int value = atomic_exchange(&values[client], 0);
    if (!value && !is_last_call) {
        clock_sleep_ms(client % 3); /* a wake may come just here */
        answer->park_ms = PARK_MS;
        snprintf(answer->park_key, sizeof answer->park_key, "key-%d", client);
        return true;
    }
    if (value)
        atomic_fetch_add(&given, 1);
    http_answer_json(answer, value ? 200 : 202, json_pack("{s:i}", "value", value));
    return true;
}

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const struct http_route routes[] = {
    {"GET", "/wait/{client}", ACCESS_OPEN, wait_value, SCOPE_NONE}};

static size_t drop(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    (void)context;
    return size * count;
}

static long get(CURL *curl, int client)
{
    char path[64];
    long status = 0;
    snprintf(path, sizeof path, "/wait/%d", client);
    fixture_aim(curl, path);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    CURLcode code = curl_easy_perform(curl);
    CHECK(code == CURLE_OK, "client %d: %s", client, curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static void *run_client(void *context)
{
    int client = (int)(intptr_t)context;
    CURL *curl = curl_easy_init();
    for (int i = 0; i < ROUNDS; i++) {
        int64_t begin = clock_monotonic_ms();
        long status = get(curl, client);
        CHECK(status == 200, "client %d, round %d: %ld, expected 200", client, i, status);
        CHECK(clock_monotonic_ms() - begin < SLOW_MS, "client %d slept through its wake", client);
    }
    long last = get(curl, client); /* nothing comes any more: the stop answers it */
    CHECK(last == 202, "client %d: %ld at the stop, expected 202", client, last);
    curl_easy_cleanup(curl);
    return NULL;
}

/* Gives each client its values, one after the other was taken, and wakes it each time. */
static void give_values(struct http_server *server)
{
    int left[CLIENTS], open = CLIENTS;
    for (int i = 0; i < CLIENTS; i++)
        left[i] = ROUNDS;
    while (open) {
        for (int i = 0; i < CLIENTS; i++) {
            if (!left[i] || atomic_load(&values[i]))
                continue;
            char key[16];
            snprintf(key, sizeof key, "key-%d", i);
            atomic_store(&values[i], 1);
            http_wake(server, left[i] % 5 ? key : "");
            open -= --left[i] == 0;
        }
    }
}

int main(void)
{
    pthread_t clients[CLIENTS];
    log_init("thread-http-park", LOG_WARNING);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct http_server *server = fixture_start(routes, 1);
    for (intptr_t i = 0; i < CLIENTS; i++)
        CHECK(pthread_create(&clients[i], NULL, run_client, (void *)i) == 0, "no thread");
    give_values(server);
    while (http_parked(server) < CLIENTS)
        clock_sleep_ms(1);
    http_stop(server, 5000);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    fixture_end();
    CHECK(given == CLIENTS * ROUNDS, "%d values given, expected %d", given, CLIENTS * ROUNDS);
    printf("%d values, %d looks\n", given, looks);
    curl_global_cleanup();
    return 0;
}
