/* Streams over real TLS on loopback: who may open one, what the loser is told, what wakes whom. */
#include "fixture.h"

#include "agent/link/stream.h"
#include "base/clock.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(link, .init = fixture_start, .fini = fixture_stop, .timeout = 60);

static struct error err;

#define says(part) cr_assert(strstr(err.text, part), "\"%s\" lacks \"%s\"", err.text, part)

/* --- who --- */

Test(link, passes_host_and_hello_on)
{
    struct link_stream *near;
    char host[UUID_SIZE];
    struct link_hello hello;
    cr_assert(fixture_connect(&source, &near, &err), "%s", err.text);
    struct link_stream *far = fixture_take(host, &hello);
    cr_assert_str_eq(host, source.id);
    cr_assert_str_eq(hello.migration, fixture_hello.migration);
    cr_assert_eq(hello.channel, LINK_COPY);
    cr_assert_eq(hello.epoch, 7);
    cr_assert_eq(hello.disk, 3);
    link_close(near);
    link_close(far);
}

Test(link, demands_the_host_that_is_named)
{
    struct link_stream *near;
    struct link_files files = fixture_files(&source);
    cr_assert_not(link_connect(&near, source.id, "127.0.0.1", fixture_port(), &files,
                               &fixture_hello, 5000, &err));
    char text[128];
    snprintf(text, sizeof text, "peer is host %s, expected %s", destination.id, source.id);
    says(text);
    cr_assert_eq(err.code, ERROR_REFUSED);
}

static void refused_as(const struct identity *who, const char *text)
{
    struct link_stream *near;
    cr_assert_not(fixture_connect(who, &near, &err));
    says(text);
    cr_assert_eq(err.code, ERROR_REFUSED);
}

Test(link, refuses_an_expired_certificate)
{
    refused_as(&expired, "the peer refused our certificate: it has expired");
}

Test(link, refuses_a_foreign_ca)
{
    refused_as(&foreign, "the peer's certificate is not from our CA");
    struct identity mixed = foreign; /* trusts us, is not trusted */
    mixed.ca = source.ca;
    refused_as(&mixed, "the peer refused our certificate");
}

Test(link, refuses_a_certificate_that_is_no_hosts)
{
    refused_as(&server_only, "the peer refused our certificate");
}

static void listens_as(const struct identity *who, const char *text)
{
    struct link_server *server;
    struct link_stream *near;
    struct link_files files = fixture_files(who), mine = fixture_files(&source);
    cr_assert(link_listen(&server, "127.0.0.1", 0, &files, NULL, NULL, &err), "%s", err.text);
    cr_assert_not(link_connect(&near, who->id, "127.0.0.1", link_server_port(server), &mine,
                               &fixture_hello, 5000, &err));
    says(text);
    cr_assert_eq(err.code, ERROR_REFUSED);
    link_server_close(server);
}

Test(link, the_connecting_side_checks_the_certificate_too)
{
    listens_as(&expired, "the peer's certificate has expired");
    listens_as(&foreign, "the peer's certificate is not from our CA");
    listens_as(&server_only, "the peer is no host of ours");
}

/* TLS 1.3 tells the client only after its own handshake: reads until the alert. */
static int alert_reason(SSL *ssl)
{
    char byte;
    ERR_clear_error();
    if (SSL_connect(ssl) == 1)
        cr_assert(SSL_read(ssl, &byte, 1) <= 0);
    return ERR_GET_REASON(ERR_peek_error());
}

Test(link, refuses_a_client_without_certificate)
{
    SSL *ssl = fixture_tls(NULL, 0, true);
    cr_assert_eq(alert_reason(ssl), SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
    fixture_tls_close(ssl);
}

Test(link, refuses_tls_1_2)
{
    SSL *ssl = fixture_tls(&source, TLS1_2_VERSION, true);
    cr_assert_eq(alert_reason(ssl), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    fixture_tls_close(ssl);
}

Test(link, refuses_a_peer_of_another_protocol)
{
    SSL *ssl = fixture_tls(&source, 0, false);
    cr_assert_eq(alert_reason(ssl), SSL_R_UNEXPECTED_EOF_WHILE_READING);
    fixture_tls_close(ssl);
}

Test(link, a_peer_without_aes_instructions_gets_the_cipher_that_it_asks_for_first)
{
    SSL *ssl = fixture_tls(&source, 0, true);
    cr_assert(SSL_set_ciphersuites(ssl, "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"));
    cr_assert_eq(SSL_connect(ssl), 1);
    cr_assert_str_eq(SSL_get_cipher_name(ssl), "TLS_CHACHA20_POLY1305_SHA256");
    fixture_tls_close(ssl);
    if (!__builtin_cpu_supports("aes"))
        return;
    ssl = fixture_tls(&source, 0, true);
    cr_assert_eq(SSL_connect(ssl), 1);
    cr_assert_str_eq(SSL_get_cipher_name(ssl), "TLS_AES_128_GCM_SHA256");
    fixture_tls_close(ssl);
}

/* --- hello --- */

/* What the server answers to these bytes; "" when it only closes. */
static void answer_to(const void *hello, size_t size, char *answer, int limit)
{
    SSL *ssl = fixture_tls(&source, 0, true);
    cr_assert(SSL_connect(ssl) == 1);
    cr_assert(size == 0 || SSL_write(ssl, hello, (int)size) == (int)size);
    int got = SSL_read(ssl, answer, limit - 1);
    answer[got > 0 ? got : 0] = '\0';
    fixture_tls_close(ssl);
}

Test(link, a_hello_that_is_garbage_is_refused)
{
    char answer[4096];
    answer_to("garbage\n", 8, answer, sizeof answer);
    cr_assert(strstr(answer, "\"accepted\":false") && strstr(answer, "invalid"), "%s", answer);
}

Test(link, a_hello_that_is_too_long_is_refused)
{
    char hello[2000], answer[4096];
    memset(hello, ' ', sizeof hello);
    answer_to(hello, sizeof hello, answer, sizeof answer);
    cr_assert(strstr(answer, "at most 1024 bytes"), "%s", answer);
}

Test(link, a_hello_that_comes_late_is_not_waited_for)
{
    char answer[4096] = "x";
    int64_t begun = clock_monotonic_ms();
    answer_to("{", 1, answer, sizeof answer);
    int64_t took = clock_monotonic_ms() - begun;
    cr_assert_str_eq(answer, "");
    cr_assert(took > 4000 && took < 9000, "%ld ms", took);
}

Test(link, silent_connections_do_not_keep_hosts_out)
{
    int fds[80];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)fixture_port())};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 80; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert(connect(fds[i], (struct sockaddr *)&to, sizeof to) == 0);
    }
    struct link_stream *near;
    int64_t begun = clock_monotonic_ms();
    cr_assert(fixture_connect(&source, &near, &err), "%s", err.text);
    cr_assert(clock_monotonic_ms() - begun < 3000);
    char byte;
    cr_assert_eq(recv(fds[0], &byte, 1, 0), 0, "the first gives way at once");
    cr_assert(clock_monotonic_ms() - begun < 3000);
    cr_assert_eq(recv(fds[79], &byte, 1, 0), 0, "the last is closed after its time");
    link_close(near);
    link_close(fixture_take(NULL, NULL));
    for (int i = 0; i < 80; i++)
        close(fds[i]);
}

Test(link, a_refusal_comes_with_code_and_text)
{
    struct link_stream *near;
    fixture_policy = FIXTURE_REFUSE;
    for (int i = 0; i < 20; i++) {
        cr_assert_not(fixture_connect(&source, &near, &err));
        cr_assert_eq(err.code, ERROR_CONFLICT);
        cr_assert_str_eq(err.text, "epoch 8 was seen");
    }
}

Test(link, a_close_without_an_answer_is_an_error)
{
    struct link_stream *near;
    fixture_policy = FIXTURE_CLOSE;
    cr_assert_not(fixture_connect(&source, &near, &err));
    says("closed the stream while opening");
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
}

Test(link, a_peer_that_is_not_there_is_unreachable)
{
    struct link_stream *near;
    struct link_files files = fixture_files(&source);
    cr_assert_not(
        link_connect(&near, destination.id, "127.0.0.1", 1, &files, &fixture_hello, 2000, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    says("127.0.0.1 port 1");
    cr_assert_not(
        link_connect(&near, destination.id, "localhost", 1, &files, &fixture_hello, 2000, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
}

Test(link, a_deaf_peer_times_out)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(fd, (struct sockaddr *)&at, size) == 0 && listen(fd, 1) == 0);
    cr_assert(getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    struct link_stream *near;
    struct link_files files = fixture_files(&source);
    int64_t begun = clock_monotonic_ms();
    cr_assert_not(link_connect(&near, destination.id, "127.0.0.1", ntohs(at.sin_port), &files,
                               &fixture_hello, 300, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    cr_assert(clock_monotonic_ms() - begun < 2000);
    close(fd);
}

/* --- bytes --- */

struct writing {
    struct link_stream *stream;
    const char *data;
    size_t size;
};

static void *write_thread(void *argument)
{
    struct writing *writing = argument;
    struct error failure;
    bool is_written =
        link_write_all(writing->stream, writing->data, writing->size, 20000, &failure);
    return is_written ? writing : NULL;
}

static char *noise(size_t size, unsigned seed)
{
    char *data = memory_alloc(size);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1103515245 + 12345;
        data[i] = (char)(seed >> 16);
    }
    return data;
}

/* Both ends write and read at the same time: four threads on one connection. */
static void exchange(struct link_stream *near, struct link_stream *far, size_t size)
{
    char *up = noise(size, 1), *down = noise(size, 2), *got = memory_alloc(size);
    struct writing writings[] = {{near, up, size}, {far, down, size}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        cr_assert(pthread_create(&threads[i], NULL, write_thread, &writings[i]) == 0);
    cr_assert(link_read_all(far, got, size / 2, 20000, &err), "%s", err.text);
    cr_assert(link_read_all(far, got + size / 2, size - size / 2, 20000, &err), "%s", err.text);
    cr_assert(memcmp(got, up, size) == 0);
    cr_assert(link_read_all(near, got, size, 20000, &err), "%s", err.text);
    cr_assert(memcmp(got, down, size) == 0);
    for (int i = 0; i < 2; i++) {
        void *result;
        pthread_join(threads[i], &result);
        cr_assert(result);
    }
    free(up), free(down), free(got);
}

Test(link, bytes_go_both_ways_at_once)
{
    struct link_stream *near, *far;
    fixture_pair(&near, &far);
    exchange(near, far, 9 * 1000 * 1000 + 1);
    link_close(near);
    link_close(far);
}

Test(link, keys_are_replaced_under_way)
{
    struct link_stream *near, *far;
    fixture_pair(&near, &far);
    near->records_per_key = near->records_left = 3;
    far->records_per_key = far->records_left = 5;
    exchange(near, far, 5 * 1000 * 1000);
    link_close(near);
    link_close(far);
}

Test(link, closing_is_an_orderly_end)
{
    struct link_stream *near, *far;
    char data[10];
    size_t got = 5;
    fixture_pair(&near, &far);
    cr_assert(link_write_all(near, "last", 4, 1000, &err), "%s", err.text);
    link_close(near);
    cr_assert(link_read_all(far, data, 4, 5000, &err), "%s", err.text);
    cr_assert(link_read(far, data, 10, 5000, &got, &err), "%s", err.text);
    cr_assert_eq(got, 0);
    cr_assert_not(link_read_all(far, data, 1, 5000, &err));
    says("after 0 of 1 bytes");
    link_close(far);
}

Test(link, a_cut_is_no_orderly_end)
{
    struct link_stream *near, *far;
    char data[10];
    size_t got;
    fixture_pair(&near, &far);
    link_shutdown(near);
    link_close(near);
    cr_assert_not(link_read(far, data, 10, 5000, &got, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    says("in the middle");
    link_close(far);
}

Test(link, what_came_before_a_cut_can_be_read_and_then_the_cut_is_told)
{
    struct link_stream *near, *far;
    char data[10];
    size_t got;
    fixture_pair(&near, &far);
    cr_assert(link_write_all(near, "last", 4, 1000, &err), "%s", err.text);
    link_shutdown(near);
    link_close(near);
    clock_sleep_ms(100); /* so that bytes and cut are read at once */
    cr_assert(link_read(far, data, 10, 5000, &got, &err), "%s", err.text);
    cr_assert_eq(got, 4);
    cr_assert_not(link_read(far, data, 10, 5000, &got, &err));
    says("in the middle");
    link_close(far);
}

Test(link, a_timeout_spoils_the_stream)
{
    struct link_stream *near, *far;
    char data[10];
    size_t got;
    fixture_pair(&near, &far);
    cr_assert_not(link_read(near, data, 10, 50, &got, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    cr_assert_not(link_write_all(near, "x", 1, 50, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    link_close(near);
    cr_assert_not(link_read(far, data, 10, 5000, &got, &err), "no orderly end after it");
    link_close(far);
}

Test(link, writing_to_a_peer_that_does_not_read_times_out)
{
    struct link_stream *near, *far;
    size_t size = 64 << 20;
    char *data = memory_alloc(size);
    fixture_pair(&near, &far);
    int64_t begun = clock_monotonic_ms();
    cr_assert_not(link_write_all(near, data, size, 300, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    cr_assert(clock_monotonic_ms() - begun < 3000);
    free(data);
    link_close(near);
    link_close(far);
}

static void *shutdown_soon(void *stream)
{
    clock_sleep_ms(100);
    link_shutdown(stream);
    return NULL;
}

Test(link, shutdown_wakes_a_reader)
{
    struct link_stream *near, *far;
    pthread_t thread;
    char byte;
    size_t got;
    fixture_pair(&near, &far);
    pthread_create(&thread, NULL, shutdown_soon, near);
    cr_assert_not(link_read(near, &byte, 1, -1, &got, &err));
    cr_assert_eq(err.code, ERROR_CANCELLED);
    pthread_join(thread, NULL);
    link_close(near);
    link_close(far);
}

Test(link, shutdown_wakes_a_writer)
{
    struct link_stream *near, *far;
    pthread_t thread;
    size_t size = 64 << 20;
    char *data = memory_alloc(size);
    fixture_pair(&near, &far);
    pthread_create(&thread, NULL, shutdown_soon, near);
    cr_assert_not(link_write_all(near, data, size, -1, &err));
    cr_assert_eq(err.code, ERROR_CANCELLED);
    pthread_join(thread, NULL);
    free(data);
    link_close(near);
    link_close(far);
}

/* --- server --- */

Test(link, closing_the_server_ends_its_streams)
{
    struct link_stream *near, *far;
    char byte;
    size_t got;
    fixture_pair(&near, &far);
    SSL *opening = fixture_tls(&source, 0, true); /* has not said hello */
    cr_assert(SSL_connect(opening) == 1);
    int64_t begun = clock_monotonic_ms();
    link_server_close(fixture_server);
    fixture_server = NULL;
    cr_assert(clock_monotonic_ms() - begun < 3000);
    cr_assert_not(link_read(far, &byte, 1, -1, &got, &err));
    cr_assert_eq(err.code, ERROR_CANCELLED);
    link_close(far); /* outlives its server */
    link_close(near);
    fixture_tls_close(opening);
}

Test(link, renewal_keeps_open_streams_and_serves_new_ones)
{
    struct link_stream *near, *far, *next;
    fixture_pair(&near, &far);
    struct link_files files = fixture_files(&source); /* another name shows which one is used */
    cr_assert(link_server_renew(fixture_server, &files, &err), "%s", err.text);
    exchange(near, far, 100000);
    cr_assert_not(fixture_connect(&source, &next, &err));
    says("peer is host");
    cr_assert(link_connect(&next, source.id, "127.0.0.1", fixture_port(), &files, &fixture_hello,
                           5000, &err),
              "%s", err.text);
    link_close(next);
    link_close(fixture_take(NULL, NULL));
    link_close(near);
    link_close(far);
}

Test(link, a_bad_renewal_changes_nothing)
{
    struct link_stream *near, *far;
    struct link_files files = fixture_files(&destination);
    files.key = source.key;
    cr_assert_not(link_server_renew(fixture_server, &files, &err));
    says("private key of this host");
    files = (struct link_files){"", destination.certificate, destination.key};
    cr_assert_not(link_server_renew(fixture_server, &files, &err));
    says("CA certificate");
    fixture_pair(&near, &far);
    link_close(near);
    link_close(far);
}

Test(link, a_taken_port_is_an_error)
{
    struct link_server *server;
    struct link_files files = fixture_files(&destination);
    cr_assert_not(link_listen(&server, "127.0.0.1", fixture_port(), &files, NULL, NULL, &err));
    says("127.0.0.1 port");
}
