/* Many streams and relays at once: opening, both directions, status, renewal, shutdown, stop and
 * server close race on purpose. Proves itself only under the thread sanitizer; elsewhere it shows
 * that nothing hangs. */
#include "agent/link/link.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 4, ROUNDS = 12, BYTES = 1 << 20 };

#define demand(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, err.text);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static struct link_server *server;
static struct link_files files;
static char host[UUID_SIZE];
static atomic_bool is_over;
static atomic_int served;

static void make_files(void)
{
    struct error err;
    char *ca_key, *ca, *key, *request, *certificate, *serial;
    uuid_make(host);
    struct x509_issue issue = {X509_FOR_HOST, host, NULL, 1};
    demand(x509_make_key(&ca_key, &err) && x509_make_ca(ca_key, "crosspool", 1, &ca, &err));
    demand(x509_make_key(&key, &err) && x509_make_request(key, host, &request, &err));
    demand(x509_issue(ca, ca_key, request, &issue, &certificate, &serial, &err));
    files = (struct link_files){ca, certificate, key};
    free(ca_key), free(request), free(serial);
}

/* Sends everything back: by a relay over a socket pair for disk channels, else by hand. */
static void echo(int fd)
{
    auto_free char *data = memory_alloc(65536);
    ssize_t got;
    while ((got = recv(fd, data, 65536, 0)) > 0)
        for (ssize_t sent = 0, n; sent < got; sent += n)
            if ((n = send(fd, data + sent, (size_t)(got - sent), MSG_NOSIGNAL)) <= 0)
                return;
    shutdown(fd, SHUT_WR);
}

static void serve_by_relay(struct link_stream *stream)
{
    struct error err;
    struct link_relay *relay;
    struct link_relay_options options = {0};
    int fds[2];
    demand(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    demand(link_relay_start_fd(&relay, stream, fds[0], &options, &err));
    echo(fds[1]);
    close(fds[1]);
    link_relay_stop(relay);
}

static void serve(void *context, struct link_stream *stream, const char *peer_host,
                  const struct link_hello *hello)
{
    (void)context, (void)peer_host;
    struct error err;
    auto_free char *data = memory_alloc(65536);
    size_t got;
    atomic_fetch_add(&served, 1);
    if (hello->channel == LINK_CONTROL) {
        struct error why = {.code = ERROR_REFUSED, .text = "not today"};
        link_refuse(stream, &why);
    } else if (!link_accept(stream, &err)) {
        got = 0;
    } else if (hello->channel == LINK_COPY) {
        serve_by_relay(stream);
        return;
    } else {
        while (link_read(stream, data, 65536, 30000, &got, &err) && got > 0)
            if (!link_write_all(stream, data, got, 30000, &err))
                break;
    }
    link_close(stream);
}

static bool dial(enum link_channel channel, struct link_stream **stream, struct error *err)
{
    struct link_hello hello = {.channel = channel, .epoch = 1};
    uuid_make(hello.migration);
    return link_connect(stream, host, "127.0.0.1", link_server_port(server), &files, &hello, 60000,
                        err);
}

struct sending {
    struct link_stream *stream;
    const char *data;
};
static void *send_all(void *argument)
{
    struct sending *sending = argument;
    struct error err;
    demand(link_write_all(sending->stream, sending->data, BYTES, 60000, &err));
    return NULL;
}

static void exchange(struct link_stream *stream)
{
    struct error err;
    auto_free char *data = memory_alloc(BYTES);
    auto_free char *back = memory_alloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (char)(i * 31 >> 3);
    struct sending sending = {stream, data};
    pthread_t thread;
    demand(pthread_create(&thread, NULL, send_all, &sending) == 0);
    demand(link_read_all(stream, back, BYTES, 60000, &err));
    pthread_join(thread, NULL);
    demand(memcmp(data, back, BYTES) == 0);
}

static void *shut_down(void *stream)
{
    link_shutdown(stream);
    return NULL;
}

/* One thread reads, another shuts down at any moment. */
static void interrupt(struct link_stream *stream)
{
    struct error err;
    char byte;
    size_t got;
    pthread_t thread;
    demand(pthread_create(&thread, NULL, shut_down, stream) == 0);
    demand(!link_read(stream, &byte, 1, 60000, &got, &err) && err.code == ERROR_CANCELLED);
    pthread_join(thread, NULL);
}

/* A relay of our own whose status is asked for while it runs, stopped in the middle. */
static void relay_and_stop(struct link_stream *stream)
{
    struct error err;
    struct link_relay *relay;
    struct link_relay_options options = {.bandwidth_bytes_per_s = 50 << 20};
    struct link_relay_status status;
    char block[4096] = {0};
    int fds[2];
    demand(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    demand(link_relay_start_fd(&relay, stream, fds[0], &options, &err));
    for (int i = 0; i < 50; i++) {
        demand(send(fds[1], block, sizeof block, MSG_NOSIGNAL) == sizeof block);
        demand(recv(fds[1], block, sizeof block, MSG_WAITALL) == sizeof block);
        link_relay_status(relay, &status);
        demand(!link_relay_wait(relay, 0));
    }
    link_relay_stop(relay);
    close(fds[1]);
}

static void *be_client(void *argument)
{
    struct error err;
    struct link_stream *stream;
    for (int round = 0; round < ROUNDS; round++) {
        switch ((round + *(int *)argument) % 4) {
        case 0:
            demand(!dial(LINK_CONTROL, &stream, &err) && err.code == ERROR_REFUSED);
            continue;
        case 1:
            demand(dial(LINK_COPY, &stream, &err));
            relay_and_stop(stream);
            continue;
        case 2:
            demand(dial(LINK_MEMORY, &stream, &err));
            interrupt(stream);
            break;
        default:
            demand(dial(round % 8 < 4 ? LINK_COPY : LINK_MEMORY, &stream, &err));
            exchange(stream);
        }
        link_close(stream);
    }
    return NULL;
}

static void *renew(void *unused)
{
    struct error err;
    while (!atomic_load(&is_over)) {
        demand(link_server_renew(server, &files, &err));
        clock_sleep_ms(10);
    }
    return unused;
}

/* Streams that are open, being served by relays and by hand, when the server goes. */
static void close_under_load(void)
{
    struct error err;
    struct link_stream *streams[6];
    for (int i = 0; i < 6; i++)
        demand(dial(i % 2 ? LINK_COPY : LINK_MEMORY, &streams[i], &err));
    for (int i = 0; i < 6; i++)
        demand(link_write_all(streams[i], "busy", 4, 10000, &err));
    link_server_close(server);
    for (int i = 0; i < 6; i++)
        link_close(streams[i]);
}

int main(void)
{
    struct error err;
    int numbers[CLIENTS];
    pthread_t clients[CLIENTS], renewing;
    log_init("thread-link", LOG_ERROR);
    make_files();
    demand(link_listen(&server, "127.0.0.1", 0, &files, serve, NULL, &err));
    demand(pthread_create(&renewing, NULL, renew, NULL) == 0);
    for (int i = 0; i < CLIENTS; i++) {
        numbers[i] = i;
        demand(pthread_create(&clients[i], NULL, be_client, &numbers[i]) == 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    atomic_store(&is_over, true);
    pthread_join(renewing, NULL);
    close_under_load();
    demand(atomic_load(&served) == CLIENTS * ROUNDS + 6);
    free((char *)files.ca), free((char *)files.certificate), free((char *)files.key);
    return 0;
}
