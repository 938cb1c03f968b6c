/* Streams that one thread feeds while clients come, read slowly, go away, and the server stops:
 * each client gets every line once and in order, a full stream is not fed but says when it has
 * room, and those that stay are ended whole. */
#include "fixture.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { CLIENTS = 48, LINES = 3000, PADDING = 120, LEAVE_AFTER = 500 };

struct feed {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        struct http_stream *stream;
        int next; /* line */
    } readers[CLIENTS];
    int count;
    bool is_changed, is_stopping;
};
static struct feed feed = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static _Atomic int refusals, whole;

static void wake(void *context)
{
    (void)context;
    pthread_mutex_lock(&feed.lock);
    feed.is_changed = true;
    pthread_cond_signal(&feed.changed);
    pthread_mutex_unlock(&feed.lock);
}

static bool open_stream(void *context, struct http_request *request, bool is_last_call,
                        struct http_answer *answer, struct error *err)
{
    (void)context, (void)is_last_call;
    struct http_stream *stream = NULL;
    if (!http_stream_open(request, wake, NULL, &stream, err))
        return false;
    pthread_mutex_lock(&feed.lock);
    feed.readers[feed.count++].stream = stream;
    pthread_mutex_unlock(&feed.lock);
    wake(NULL);
    answer->content_type = "text/plain";
    return true;
}

static bool open_and_fail(void *context, struct http_request *request, bool is_last_call,
                          struct http_answer *answer, struct error *err)
{
    (void)context, (void)is_last_call, (void)answer;
    struct http_stream *stream = NULL;
    if (!http_stream_open(request, wake, NULL, &stream, err))
        return false;
    http_stream_end(stream);
    return error_set(err, ERROR_CONFLICT, "changed its mind");
}

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const struct http_route routes[] = {
    {"GET", "/stream", ACCESS_OPEN, open_stream, SCOPE_NONE},
    {"GET", "/fail", ACCESS_OPEN, open_and_fail, SCOPE_NONE}};

/* Called locked. */
static void feed_one(int i)
{
    struct http_stream *stream = feed.readers[i].stream;
    while (stream && feed.readers[i].next < LINES) {
        char line[PADDING + 1];
        snprintf(line, sizeof line, "%0*d\n", PADDING - 1, feed.readers[i].next);
        if (!http_stream_send(stream, line, PADDING)) {
            atomic_fetch_add(&refusals, 1);
            break;
        }
        feed.readers[i].next++;
    }
    if (!stream || http_stream_is_open(stream))
        return;
    feed.readers[i].stream = NULL;
    http_stream_end(stream);
}

static void *run_feed(void *context)
{
    (void)context;
    pthread_mutex_lock(&feed.lock);
    while (!feed.is_stopping) {
        while (!feed.is_changed)
            pthread_cond_wait(&feed.changed, &feed.lock);
        feed.is_changed = false;
        for (int i = 0; i < feed.count; i++) {
            feed_one(i);
            pthread_mutex_unlock(&feed.lock); /* others come and go meanwhile */
            pthread_mutex_lock(&feed.lock);
        }
    }
    for (int i = 0; i < feed.count; i++) {
        if (feed.readers[i].stream)
            http_stream_end(feed.readers[i].stream);
    }
    pthread_mutex_unlock(&feed.lock);
    return NULL;
}

struct client {
    pthread_t thread;
    int number;
    char line[PADDING];
    size_t filled;
    int next;
};

static bool is_leaver(const struct client *client)
{
    return client->number % 4 == 3;
}

static void check_line(struct client *client)
{
    char expected[PADDING + 1];
    snprintf(expected, sizeof expected, "%0*d\n", PADDING - 1, client->next);
    CHECK(memcmp(client->line, expected, PADDING) == 0, "client %d: %.*s instead of line %d",
          client->number, PADDING - 1, client->line, client->next);
    client->filled = 0;
    if (++client->next == LINES)
        atomic_fetch_add(&whole, 1);
}

static size_t take(char *data, size_t size, size_t count, void *context)
{
    struct client *client = context;
    for (size_t i = 0; i < size * count; i++) {
        client->line[client->filled++] = data[i];
        if (client->filled == PADDING)
            check_line(client);
    }
    if (client->number % 4 == 1)
        clock_sleep_ms(2); /* slowly, so that its stream fills */
    return is_leaver(client) && client->next >= LEAVE_AFTER ? 0 : size * count;
}

static void *run_client(void *context)
{
    struct client *client = context;
    CURL *curl = curl_easy_init();
    fixture_aim(curl, "/stream");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
    CURLcode code = curl_easy_perform(curl);
    if (is_leaver(client))
        CHECK(code == CURLE_WRITE_ERROR, "client %d left: %s", client->number,
              curl_easy_strerror(code));
    else
        CHECK(code == CURLE_OK && client->next == LINES && client->filled == 0,
              "client %d: %s after line %d", client->number, curl_easy_strerror(code),
              client->next);
    curl_easy_cleanup(curl);
    return NULL;
}

static size_t drop(char *data, size_t size, size_t count, void *context)
{
    (void)data, (void)context;
    return size * count;
}

static void check_failing_handler(void)
{
    long status = 0;
    CURL *curl = curl_easy_init();
    fixture_aim(curl, "/fail");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    CHECK(code == CURLE_OK && status == 409, "a handler that fails: %s, status %ld",
          curl_easy_strerror(code), status);
    curl_easy_cleanup(curl);
}

int main(void)
{
    static struct client clients[CLIENTS];
    pthread_t feeder;
    log_init("thread-http-stream", LOG_WARNING);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct http_server *server = fixture_start(routes, 2);
    CHECK(pthread_create(&feeder, NULL, run_feed, NULL) == 0, "no thread");
    check_failing_handler();
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].number = i;
        CHECK(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]) == 0, "no thread");
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (is_leaver(&clients[i]))
            pthread_join(clients[i].thread, NULL);
    }
    while (whole < CLIENTS - CLIENTS / 4)
        clock_sleep_ms(1);
    http_stop(server, 5000); /* while the feed still holds the streams */
    for (int i = 0; i < CLIENTS; i++) {
        if (!is_leaver(&clients[i]))
            pthread_join(clients[i].thread, NULL);
    }
    pthread_mutex_lock(&feed.lock);
    feed.is_stopping = feed.is_changed = true;
    pthread_cond_signal(&feed.changed);
    pthread_mutex_unlock(&feed.lock);
    pthread_join(feeder, NULL);
    fixture_end();
    CHECK(refusals > 0, "no stream was ever full");
    printf("%d clients had all lines, %d sends found no room\n", whole, refusals);
    curl_global_cleanup();
    return 0;
}
