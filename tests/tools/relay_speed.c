/* How fast relays carry bytes: local socket -> TLS on loopback -> local socket, over N connections.
 *
 *   relay-speed CONNECTIONS MIB_PER_CONNECTION [send|nbd-like]
 *
 * Prints one line: connections, MiB/s in all, processor seconds per GiB of the two relays alone, of
 * the whole process (with the sender and the reader), and both ways of counting honestly named. */
#include "agent/link/link.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 << 10, CONNECTIONS_LIMIT = 64 };

#define demand(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "relay-speed: %s: %s\n", #condition, err.text);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct link_files files;
static char host[UUID_SIZE];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct link_stream *accepted;

struct connection {
    struct link_relay *near_relay, *far_relay;
    int near, far;
    size_t bytes;
    double cpu_s; /* of the sender's and reader's own threads */
    pthread_t sender, reader;
};

static void make_files(void)
{
    struct error err = {.text = ""};
    char *ca_key, *ca, *key, *request, *certificate, *serial;
    uuid_make(host);
    struct x509_issue issue = {X509_FOR_HOST, host, NULL, 1};
    demand(x509_make_key(&ca_key, &err) && x509_make_ca(ca_key, "crosspool", 1, &ca, &err));
    demand(x509_make_key(&key, &err) && x509_make_request(key, host, &request, &err));
    demand(x509_issue(ca, ca_key, request, &issue, &certificate, &serial, &err));
    files = (struct link_files){ca, certificate, key};
    free(ca_key), free(request), free(serial);
}

static void on_stream(void *context, struct link_stream *stream, const char *peer_host,
                      const struct link_hello *hello)
{
    (void)context, (void)peer_host, (void)hello;
    struct error err;
    demand(link_accept(stream, &err));
    pthread_mutex_lock(&lock);
    accepted = stream;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static struct link_stream *take_accepted(void)
{
    pthread_mutex_lock(&lock);
    while (!accepted)
        pthread_cond_wait(&changed, &lock);
    struct link_stream *stream = take(accepted);
    pthread_mutex_unlock(&lock);
    return stream;
}

static struct link_relay *start_relay(struct link_stream *stream, int *local)
{
    struct error err = {.text = ""};
    struct link_relay_options options = {0};
    struct link_relay *relay;
    int fds[2];
    demand(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    demand(link_relay_start_fd(&relay, stream, fds[0], &options, &err));
    *local = fds[1];
    return relay;
}

static void start_connection(struct connection *connection, int port)
{
    struct error err;
    struct link_hello hello = {.channel = LINK_COPY, .epoch = 1};
    struct link_stream *near;
    uuid_make(hello.migration);
    demand(link_connect(&near, host, "127.0.0.1", port, &files, &hello, 10000, &err));
    connection->near_relay = start_relay(near, &connection->near);
    connection->far_relay = start_relay(take_accepted(), &connection->far);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void *send_bytes(void *argument)
{
    struct connection *connection = argument;
    auto_free char *data = memory_alloc(PIECE);
    for (size_t left = connection->bytes; left > 0;) {
        ssize_t sent =
            send(connection->near, data, left < PIECE ? left : (size_t)PIECE, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        left -= (size_t)sent;
    }
    shutdown(connection->near, SHUT_WR);
    double cpu_s = seconds(CLOCK_THREAD_CPUTIME_ID);
    pthread_mutex_lock(&lock);
    connection->cpu_s += cpu_s;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void *read_bytes(void *argument)
{
    struct connection *connection = argument;
    auto_free char *data = memory_alloc(PIECE);
    size_t total = 0;
    for (ssize_t got; (got = recv(connection->far, data, PIECE, 0)) > 0;)
        total += (size_t)got;
    struct error err = {.text = "bytes are missing"};
    demand(total == connection->bytes);
    double cpu_s = seconds(CLOCK_THREAD_CPUTIME_ID);
    pthread_mutex_lock(&lock);
    connection->cpu_s += cpu_s;
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(int argc, char **argv)
{
    struct error err = {.text = "usage: relay-speed CONNECTIONS MIB_PER_CONNECTION"};
    demand(argc == 3);
    int count = atoi(argv[1]);
    size_t mib = (size_t)atoi(argv[2]);
    demand(count > 0 && count <= CONNECTIONS_LIMIT && mib > 0);
    struct connection connections[CONNECTIONS_LIMIT] = {0};
    struct link_server *server;
    log_init("relay-speed", LOG_WARNING);
    make_files();
    demand(link_listen(&server, "127.0.0.1", 0, &files, on_stream, NULL, &err));
    for (int i = 0; i < count; i++) {
        connections[i].bytes = mib << 20;
        start_connection(&connections[i], link_server_port(server));
    }
    double begun_s = seconds(CLOCK_MONOTONIC), begun_cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < count; i++) {
        demand(!pthread_create(&connections[i].sender, NULL, send_bytes, &connections[i]));
        demand(!pthread_create(&connections[i].reader, NULL, read_bytes, &connections[i]));
    }
    double ends_cpu_s = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(connections[i].sender, NULL);
        pthread_join(connections[i].reader, NULL);
        ends_cpu_s += connections[i].cpu_s;
    }
    double took_s = seconds(CLOCK_MONOTONIC) - begun_s;
    double cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID) - begun_cpu_s;
    double gib = (double)mib * count / 1024;
    printf("connections=%d mib_per_s=%.0f relays_cpu_s_per_gib=%.3f all_cpu_s_per_gib=%.3f\n",
           count, gib * 1024 / took_s, (cpu_s - ends_cpu_s) / gib, cpu_s / gib);
    for (int i = 0; i < count; i++) {
        close(connections[i].near);
        close(connections[i].far);
        link_relay_stop(connections[i].near_relay);
        link_relay_stop(connections[i].far_relay);
    }
    link_server_close(server);
    return 0;
}
