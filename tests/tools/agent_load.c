/* Speaks the agent protocol for thousands of hosts, on one thread (OpenSSL, epoll), for the
 * benches. agent-load certificates STATE_DIRECTORY COUNT a key on the first line as one JSON text,
 * then for each host one line of JSON
 *       ["host", "serial", "certificate"], signed by the coordinator's own CA
 *   agent-load run FILE PORT SECONDS
 *       takes what `certificates` wrote; each host polls without a pause, reports each step as done
 *       and goes on. Standard output: "ready" when all of them have polled once, then for each step
 *       "step ID MICROSECONDS" (wall clock, when it came), for each poll that ended without any
 *       "idle", and at the end "end RESULTS". */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "base/x509.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEM_SIZE = 64 << 10, MOST_HANDSHAKES = 64, ANSWER_SIZE = 1 << 20, EVENTS = 256 };

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (condition)                                                                             \
            break;                                                                                 \
        fprintf(stderr, "agent-load: " __VA_ARGS__);                                               \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)

/* ---- certificates ---- */

static char *read_pem(const char *directory, const char *name)
{
    struct error err;
    char *text = NULL;
    auto_free char *path = memory_format("%s/%s", directory, name);
    CHECK(file_read(path, PEM_SIZE, &text, NULL, &err), "%s", err.text);
    return text;
}

static void print_json(json_t *value)
{
    auto_free char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    puts(text);
    json_decref(value);
}

static int make_certificates(const char *directory, int count)
{
    struct error err;
    auto_free char *ca = read_pem(directory, "ca.pem"), *ca_key = read_pem(directory, "ca.key");
    auto_free char *key = NULL, *csr = NULL;
    CHECK(x509_make_key(&key, &err) && x509_make_request(key, "load", &csr, &err), "%s", err.text);
    print_json(json_string(key));
    for (int i = 0; i < count; i++) {
        char host[UUID_SIZE];
        auto_free char *certificate = NULL, *serial = NULL;
        uuid_make(host);
        const struct x509_issue issue = {.purpose = X509_FOR_HOST, .common_name = host, .days = 2};
        CHECK(x509_issue(ca, ca_key, csr, &issue, &certificate, &serial, &err), "%s", err.text);
        print_json(json_pack("[s, s, s]", host, serial, certificate));
    }
    return 0;
}

/* ---- one host ---- */

enum role { ROLE_POLL, ROLE_REPORT, ROLES };

struct call {
    struct host *host;
    enum role role;
    SSL *tls;
    int fd; /* -1: not connected */
    bool is_open, is_sending, is_waiting;
    char *request;
    size_t request_size;
    struct buffer answer;
};

struct host {
    X509 *certificate;
    struct call calls[ROLES];
    json_t *known;   /* steps that came and are not reported */
    json_t *results; /* to be reported */
    bool has_polled;
};

static struct {
    SSL_CTX *tls;
    EVP_PKEY *key;
    struct sockaddr_in address;
    int epoll;
    struct host *hosts;
    int count, begun, handshakes, polled;
    long results;
} load;

static void watch(struct call *call, bool is_new)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = call};
    CHECK(epoll_ctl(load.epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, call->fd, &event) == 0,
          "epoll: %s", strerror(errno));
}

static void connect_call(struct call *call)
{
    int one = 1;
    call->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(call->fd >= 0, "socket: %s", strerror(errno));
    (void)setsockopt(call->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    CHECK(connect(call->fd, (struct sockaddr *)&load.address, sizeof load.address) == 0 ||
              errno == EINPROGRESS,
          "connect: %s", strerror(errno));
    call->tls = SSL_new(load.tls);
    SSL_use_certificate(call->tls, call->host->certificate);
    SSL_use_PrivateKey(call->tls, load.key);
    SSL_set_fd(call->tls, call->fd);
    SSL_set_connect_state(call->tls);
    call->is_open = false;
    load.handshakes++;
    watch(call, true);
}

static void disconnect_call(struct call *call)
{
    if (!call->is_open)
        load.handshakes--;
    SSL_free(call->tls);
    close(call->fd);
    call->fd = -1;
    call->tls = NULL;
    call->is_open = false;
}

static void drive(struct call *call);

static void post(struct call *call, const char *path, json_t *body)
{
    auto_free char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    free(call->request);
    call->request = memory_format("POST %s HTTP/1.1\r\nHost: coordinator\r\nContent-Type: "
                                  "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                  path, strlen(text), text);
    call->request_size = strlen(call->request);
    call->is_sending = call->is_waiting = true;
    buffer_clear(&call->answer);
    if (call->fd < 0)
        connect_call(call);
    else
        drive(call);
}

static void send_poll(struct host *host)
{
    post(&host->calls[ROLE_POLL], "/agent/v1/poll",
         json_pack("{s:O, s:[]}", "known", host->known, "cancelling"));
}

static void send_report(struct host *host)
{
    struct call *call = &host->calls[ROLE_REPORT];
    if (call->is_waiting || json_array_size(host->results) == 0)
        return;
    json_t *first = json_incref(json_array_get(host->results, 0));
    post(call, "/agent/v1/report",
         json_pack("{s:i, s:[o]}", "inventory_generation", 0, "results", first));
}

static void take_step(struct host *host, const json_t *step)
{
    const char *id = json_string_value(json_object_get(step, "id"));
    const char *kind = json_string_value(json_object_get(step, "kind"));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    bool decides = strcmp(kind, "handoff") == 0 || strcmp(kind, "receive") == 0;
    printf("step %s %lld\n", id, (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    json_array_append_new(host->known, json_string(id));
    json_array_append_new(host->results, json_pack("{s:s, s:b, s:s}", "step", id, "is_done", 1,
                                                   "verdict", decides ? "owned" : "none"));
}

static void forget(json_t *list, const char *id)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(json_string_value(json_array_get(list, i)), id) == 0) {
            json_array_remove(list, i);
            return;
        }
    }
}

static void take_poll(struct host *host, const char *body)
{
    json_t *answer = json_loads(body, 0, NULL);
    const json_t *steps = json_object_get(answer, "steps"), *step;
    size_t i;
    CHECK(json_is_array(steps), "a poll was answered %.200s", body);
    if (!host->has_polled && ++load.polled == load.count)
        puts("ready");
    host->has_polled = true;
    if (json_array_size(steps) == 0)
        puts("idle");
    json_array_foreach(steps, i, step) take_step(host, step);
    json_decref(answer);
    send_report(host);
    send_poll(host);
}

static void take_report(struct host *host)
{
    forget(host->known,
           json_string_value(json_object_get(json_array_get(host->results, 0), "step")));
    json_array_remove(host->results, 0);
    load.results++;
    send_report(host);
}

/* NULL while it is not whole. */
static const char *whole_body(const struct call *call, int *status)
{
    const char *text = call->answer.data, *end = text ? strstr(text, "\r\n\r\n") : NULL;
    if (!end)
        return NULL;
    const char *length = strcasestr(text, "\r\nContent-Length:");
    size_t size = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    *status = atoi(text + 9);
    return call->answer.size >= (size_t)(end + 4 - text) + size ? end + 4 : NULL;
}

static void take_answer(struct call *call, int status, const char *body)
{
    call->is_waiting = false;
    if (status == 503 && call->role == ROLE_POLL) { /* as agents do: again */
        send_poll(call->host);
        return;
    }
    CHECK(status < 300, "%s was answered %d: %.300s",
          call->role == ROLE_POLL ? "a poll" : "a report", status, body);
    if (call->role == ROLE_REPORT) {
        take_report(call->host);
        return;
    }
    auto_free char *copy = memory_copy_text(body);
    take_poll(call->host, copy);
}

static bool would_block(struct call *call, int result)
{
    int why = SSL_get_error(call->tls, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static bool receive(struct call *call)
{
    char piece[16384];
    struct error err;
    int size;
    while ((size = SSL_read(call->tls, piece, sizeof piece)) > 0)
        CHECK(buffer_append(&call->answer, piece, (size_t)size, &err), "%s", err.text);
    return would_block(call, size);
}

/* A kept connection that the coordinator closed is opened again by the next call. */
static void drive(struct call *call)
{
    if (!call->is_open) {
        int result = SSL_do_handshake(call->tls);
        CHECK(result == 1 || would_block(call, result), "a handshake failed");
        if (result != 1)
            return;
        call->is_open = true;
        load.handshakes--;
    }
    if (call->is_sending) {
        int size = SSL_write(call->tls, call->request, (int)call->request_size);
        CHECK(size > 0 || would_block(call, size), "cannot send");
        if (size <= 0)
            return;
        call->is_sending = false;
    }
    bool is_alive = receive(call);
    int status = 0;
    const char *body = call->is_waiting ? whole_body(call, &status) : NULL;
    CHECK(is_alive || body || !call->is_waiting, "a connection was lost");
    if (!is_alive)
        disconnect_call(call);
    if (body)
        take_answer(call, status, body);
}

/* ---- all of them ---- */

static X509 *parse_certificate(const char *pem)
{
    BIO *text = BIO_new_mem_buf(pem, -1);
    X509 *certificate = PEM_read_bio_X509(text, NULL, NULL, NULL);
    BIO_free(text);
    CHECK(certificate, "not a certificate");
    return certificate;
}

static json_t *parse_line(const char *line)
{
    json_t *value = json_loads(line, JSON_DECODE_ANY, NULL);
    CHECK(value, "not JSON: %.80s", line);
    return value;
}

static void add_host(const char *line)
{
    json_t *row = parse_line(line);
    load.hosts = memory_resize(load.hosts, (size_t)load.count + 1, sizeof *load.hosts);
    struct host *host = &load.hosts[load.count++];
    *host =
        (struct host){.certificate = parse_certificate(json_string_value(json_array_get(row, 2))),
                      .known = json_array(),
                      .results = json_array()};
    json_decref(row);
}

static void read_hosts(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    CHECK(file && getline(&line, &size, file) > 0, "%s: cannot be read", path);
    json_t *key = parse_line(line);
    BIO *text = BIO_new_mem_buf(json_string_value(key), -1);
    load.key = PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);
    BIO_free(text);
    json_decref(key);
    while (getline(&line, &size, file) > 0)
        add_host(line);
    free(line);
    fclose(file);
    for (int i = 0; i < load.count; i++) {
        for (int role = 0; role < ROLES; role++) {
            load.hosts[i].calls[role] =
                (struct call){.host = &load.hosts[i], .role = (enum role)role, .fd = -1};
            buffer_init(&load.hosts[i].calls[role].answer, ANSWER_SIZE);
        }
    }
}

static void prepare(int port)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    load.tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(load.tls, SSL_VERIFY_NONE, NULL); /* it is on this machine, a bench */
    SSL_CTX_set_mode(load.tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    load.address = (struct sockaddr_in){.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(load.epoll >= 0, "epoll: %s", strerror(errno));
}

static int run(const char *path, int port, int seconds)
{
    prepare(port);
    read_hosts(path);
    int64_t end_ms = clock_monotonic_ms() + (int64_t)seconds * 1000;
    while (clock_monotonic_ms() < end_ms) {
        while (load.begun < load.count && load.handshakes < MOST_HANDSHAKES)
            send_poll(&load.hosts[load.begun++]);
        struct epoll_event events[EVENTS];
        int count = epoll_wait(load.epoll, events, EVENTS, 50);
        for (int i = 0; i < count; i++) {
            struct call *call = events[i].data.ptr;
            if (call->fd >= 0)
                drive(call);
        }
    }
    printf("end %ld\n", load.results);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "certificates") == 0)
        return make_certificates(argv[2], atoi(argv[3]));
    CHECK(argc == 5 && strcmp(argv[1], "run") == 0,
          "certificates STATE_DIRECTORY COUNT | run FILE PORT SECONDS");
    return run(argv[2], atoi(argv[3]), atoi(argv[4]));
}
