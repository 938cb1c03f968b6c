/* Parked requests against wakes that come at any moment: each value is given out once, no client
 * waits for the end of its parking although its value is there, and a stop answers all. What a
 * handler left for the end of the parking is the answer unless something was woken. */
#include "fixture.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CLIENTS = 8, ROUNDS = 25, PARK_MS = 20000, SLOW_MS = 5000 };
enum { QUIET_ROUNDS = 5, QUIET_MS = 100 };

static _Atomic int values[CLIENTS]; /* what client i waits for; taken by its handler */
static _Atomic int given, looks, quiet_looks;
static _Atomic bool is_noisy; /* the handler of /quiet wakes its own key after it has looked */

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

static struct http_server *served;

static bool leave_answer(void *context, struct http_request *request, bool is_last_call,
                         struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)request;
    (void)err;
    atomic_fetch_add(&quiet_looks, 1);
    http_answer_json(answer, 203, json_pack("{s:b}", "is_last", is_last_call));
    if (is_last_call)
        return true;
    answer->park_ms = QUIET_MS;
    snprintf(answer->park_key, sizeof answer->park_key, "quiet");
    if (atomic_exchange(&is_noisy, false))
        http_wake(served, "quiet");
    return true;
}

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const struct http_route routes[] = {
    {"GET", "/wait/{client}", ACCESS_OPEN, wait_value, SCOPE_NONE},
    {"GET", "/quiet/{client}", ACCESS_OPEN, leave_answer, SCOPE_NONE},
};

static size_t drop(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    (void)context;
    return size * count;
}

static long get(CURL *curl, const char *what, int client)
{
    char path[64];
    long status = 0;
    snprintf(path, sizeof path, "/%s/%d", what, client);
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
        long status = get(curl, "wait", client);
        CHECK(status == 200, "client %d, round %d: %ld, expected 200", client, i, status);
        CHECK(clock_monotonic_ms() - begin < SLOW_MS, "client %d slept through its wake", client);
    }
    long last = get(curl, "wait", client); /* nothing comes any more: the stop answers it */
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

static void answer_quiet(void)
{
    CURL *curl = curl_easy_init();
    for (int i = 1; i <= QUIET_ROUNDS; i++) {
        long status = get(curl, "quiet", i);
        CHECK(status == 203 && quiet_looks == i, "quiet round %d: %ld after %d looks", i, status,
              quiet_looks);
    }
    atomic_store(&is_noisy, true);
    long status = get(curl, "quiet", 0);
    CHECK(status == 203 && quiet_looks >= QUIET_ROUNDS + 2,
          "a wake before the parking: %ld after %d looks", status, quiet_looks);
    curl_easy_cleanup(curl);
}

int main(void)
{
    pthread_t clients[CLIENTS];
    log_init("thread-http-park", LOG_WARNING);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct http_server *server = served = fixture_start(routes, sizeof routes / sizeof *routes);
    answer_quiet();
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
