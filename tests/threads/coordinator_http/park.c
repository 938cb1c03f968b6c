/* Parked requests against wakes that come at any moment: each value is given out once, no client
 * waits for the end of its parking although its value is there, and a stop answers all. */
#include "base/clock.h"
#include "base/log.h"
#include "base/x509.h"
#include "coordinator/http/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 8, ROUNDS = 25, PARK_MS = 20000, SLOW_MS = 5000 };

static _Atomic int values[CLIENTS]; /* what client i waits for; taken by its handler */
static _Atomic int given, looks;
static char ca_path[] = "/tmp/crosspool-park-XXXXXX";
static int api_port;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (condition)                                                                             \
            break;                                                                                 \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)

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
    char url[64];
    long status = 0;
    snprintf(url, sizeof url, "https://127.0.0.1:%d/wait/%d", api_port, client);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca_path);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
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

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
              getsockname(fd, (struct sockaddr *)&address, &size) == 0,
          "no free port");
    close(fd);
    return ntohs(address.sin_port);
}

static struct http_server *start(void)
{
    struct error err;
    char *ca_key = NULL, *ca = NULL, *key = NULL, *csr = NULL, *certificate = NULL, *serial = NULL;
    const char *const names[] = {"127.0.0.1", NULL};
    const struct x509_issue issue = {
        .purpose = X509_FOR_SERVER, .common_name = "test", .names = names, .days = 1};
    CHECK(x509_make_key(&ca_key, &err) && x509_make_ca(ca_key, "test CA", 1, &ca, &err) &&
              x509_make_key(&key, &err) && x509_make_request(key, "test", &csr, &err) &&
              x509_issue(ca, ca_key, csr, &issue, &certificate, &serial, &err),
          "%s", err.text);
    int fd = mkstemp(ca_path);
    CHECK(fd >= 0 && write(fd, ca, strlen(ca)) == (ssize_t)strlen(ca), "cannot write the CA");
    close(fd);
    api_port = free_port();
    const struct http_config config = {.api_address = "127.0.0.1",
                                       .api_port = api_port,
                                       .agent_address = "127.0.0.1",
                                       .agent_port = free_port(),
                                       .server_certificate = certificate,
                                       .server_key = key,
                                       .ca = ca,
                                       .api_body_limit = 1024,
                                       .agent_body_limit = 1024,
                                       .threads = 2};
    struct http_server *server = NULL;
    CHECK(http_start(&server, &config, routes, 1, NULL, NULL, &err), "%s", err.text);
    free(ca_key), free(ca), free(key), free(csr), free(certificate), free(serial);
    return server;
}

int main(void)
{
    pthread_t clients[CLIENTS];
    log_init("thread-http-park", LOG_WARNING);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct http_server *server = start();
    for (intptr_t i = 0; i < CLIENTS; i++)
        CHECK(pthread_create(&clients[i], NULL, run_client, (void *)i) == 0, "no thread");
    give_values(server);
    while (http_parked(server) < CLIENTS)
        clock_sleep_ms(1);
    http_stop(server, 5000);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    unlink(ca_path);
    CHECK(given == CLIENTS * ROUNDS, "%d values given, expected %d", given, CLIENTS * ROUNDS);
    printf("%d values, %d looks\n", given, looks);
    curl_global_cleanup();
    return 0;
}
