/* A server with a certificate of its own; see fixture.h. */
#include "fixture.h"

#include "base/x509.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT_TRIES = 20 };

static char ca_path[] = "/tmp/crosspool-http-XXXXXX";
static int api_port;

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

struct http_server *fixture_start(const struct http_route *routes, size_t count)
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
    struct http_config config = {.api_address = "127.0.0.1",
                                 .agent_address = "127.0.0.1",
                                 .server_certificate = certificate,
                                 .server_key = key,
                                 .ca = ca,
                                 .api_body_limit = 1024,
                                 .agent_body_limit = 1024,
                                 .streams = 100,
                                 .threads = 2,
                                 .agent_threads = 2,
                                 .agent_connections = 2};
    struct http_server *server = NULL;
    for (int i = 0; !server; i++) { /* tests beside this one take ports as well */
        config.api_port = api_port = free_port();
        config.agent_port = free_port();
        CHECK(http_start(&server, &config, routes, count, NULL, NULL, &err) ||
                  (err.code == ERROR_UNREACHABLE && i < PORT_TRIES),
              "%s", err.text);
    }
    free(ca_key), free(ca), free(key), free(csr), free(certificate), free(serial);
    return server;
}

void fixture_aim(CURL *curl, const char *path)
{
    char url[128];
    snprintf(url, sizeof url, "https://127.0.0.1:%d%s", api_port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca_path);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
}

void fixture_end(void)
{
    unlink(ca_path);
}
