/* Enrolment; see enrolment.h. */
#include "agent/coordinator_client/enrolment.h"

#include "agent/coordinator_client/http_client.h"
#include "agent/coordinator_client/identity.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"
#include "protocol/agent_api.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { PEM_LIMIT = 64 << 10, ANSWER_LIMIT = 1 << 20, TIMEOUT_S = 30, TOKEN_FILE_LIMIT = 1024 };

struct wanted {
    char fingerprint[65];
    char *found; /* PEM */
};

static bool is_wanted(void *context, const char *pem)
{
    struct wanted *wanted = context;
    char fingerprint[65];
    struct error err;
    if (!x509_fingerprint(pem, fingerprint, &err) || strcmp(fingerprint, wanted->fingerprint) != 0)
        return false;
    wanted->found = memory_copy_text(pem);
    return true;
}

/* "AB:CD..." and "abcd..." alike. */
static bool parse_fingerprint(const char *text, char out[65], struct error *err)
{
    size_t length = 0;
    for (const char *at = text; *at; at++) {
        if (*at == ':')
            continue;
        if (!isxdigit((unsigned char)*at) || length == 64)
            length = 65;
        else
            out[length++] = (char)tolower((unsigned char)*at);
        if (length == 65)
            break;
    }
    if (length != 64)
        return error_set(err, ERROR_INVALID,
                         "ca_sha256: expected the 64 hex digits of a SHA-256 fingerprint");
    out[64] = '\0';
    return true;
}

static bool find_by_fingerprint(struct http_client *client,
                                const struct coordinator_address *address, char **ca,
                                struct error *err)
{
    struct wanted wanted = {0};
    bool was_found = false;
    if (!parse_fingerprint(address->ca_sha256, wanted.fingerprint, err) ||
        !http_client_chain(client, address->api, is_wanted, &wanted, &was_found, err))
        return false;
    if (!was_found)
        return error_set(err, ERROR_REFUSED,
                         "%s shows no certificate with the fingerprint ca_sha256: it is another "
                         "server, or does not send its CA (then name the CA's file with \"ca\")",
                         address->api);
    *ca = wanted.found;
    return true;
}

static bool find_ca(struct http_client *client, const struct coordinator_address *address,
                    char **ca, struct error *err)
{
    if (address->ca)
        return file_read(address->ca, PEM_LIMIT, ca, NULL, err);
    if (address->ca_sha256)
        return find_by_fingerprint(client, address, ca, err);
    return error_set(err, ERROR_REFUSED,
                     "coordinator %s: \"ca\" (PEM file) or \"ca_sha256\" (fingerprint) is needed "
                     "to be sure whom the token is sent to",
                     address->api);
}

static bool ask(struct http_client *client, const struct coordinator_address *address,
                const char *ca, const char *token, char *csr, struct agent_enrol_answer *out,
                struct error *err)
{
    struct agent_enrol enrol = {.csr = csr};
    size_t length = strlen(token);
    if (length >= sizeof enrol.token)
        return error_set(err, ERROR_INVALID, "the token is too long");
    memcpy(enrol.token, token, length);
    auto_free char *body = json_encode_text(agent_enrol_fields, &enrol);
    const struct http_client_trust trust = {.ca = ca};
    struct buffer answer;
    buffer_init(&answer, ANSWER_LIMIT);
    bool ok = http_client_post(client, address->api, "/agent/v1/enrol", &trust, body, TIMEOUT_S,
                               &answer, err) &&
              json_decode_text(answer.data ? answer.data : "", answer.size,
                               agent_enrol_answer_fields, out, err);
    buffer_done(&answer);
    explicit_bzero(body, strlen(body));
    explicit_bzero(enrol.token, sizeof enrol.token);
    return ok;
}

/* The answer came over TLS that the named CA vouches for; the CA of hosts in it is another one when
 * the API port shows an operator's own certificate. */
static bool keep(const char *state_directory, const struct agent_enrol_answer *answer,
                 struct error *err)
{
    char host[UUID_SIZE];
    if (!x509_host_of_pem(answer->certificate, host, err))
        return error_prefix(err, "the coordinator's answer");
    if (strcmp(host, answer->host) != 0)
        return error_set(err, ERROR_REFUSED,
                         "the coordinator's answer names another host than its certificate");
    if (!identity_save(state_directory, answer->certificate, answer->ca, err))
        return false;
    log_info("enrolled as host %s", host);
    return true;
}

static bool enrol_at(struct http_client *client, const struct coordinator_address *address,
                     const char *state_directory, const char *token, char *csr, struct error *err)
{
    auto_free char *ca = NULL;
    struct agent_enrol_answer answer = {0};
    bool ok = find_ca(client, address, &ca, err) &&
              ask(client, address, ca, token, csr, &answer, err) &&
              keep(state_directory, &answer, err);
    json_release(agent_enrol_answer_fields, &answer);
    return ok;
}

bool enrolment_run(const struct coordinator_address *coordinators, size_t count,
                   const char *state_directory, const char *token, struct error *err)
{
    struct http_client *client = NULL;
    auto_free char *csr = NULL;
    if (!identity_begin(state_directory, &csr, err) || !http_client_open(&client, NULL, err))
        return false;
    bool ok = false;
    bool goes_on = true;
    for (size_t i = 0; i < count && !ok && goes_on; i++) {
        ok = enrol_at(client, &coordinators[i], state_directory, token, csr, err);
        goes_on = error_is_transient(err->code);
    }
    http_client_close(client);
    return ok;
}

static bool is_word(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isgraph((unsigned char)text[i]))
            return false;
    return size > 0;
}

static bool check_private(const char *path, struct error *err)
{
    struct stat info;
    if (stat(path, &info) < 0) {
        enum error_code code = errno == ENOENT ? ERROR_NOT_FOUND : ERROR_INTERNAL;
        return error_set_errno(err, code, errno, "%s", path);
    }
    if (S_ISREG(info.st_mode) && (info.st_mode & 077))
        return error_set(err, ERROR_REFUSED, "%s: others can read it; chmod 600 it", path);
    return true;
}

bool enrolment_read_token(const char *path, char **token, struct error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    auto_free char *text = NULL;
    size_t size = 0;
    if ((!is_stdin && !check_private(path, err)) ||
        !file_read(is_stdin ? "/dev/stdin" : path, TOKEN_FILE_LIMIT, &text, &size, err))
        return false;
    if (size && text[size - 1] == '\n')
        text[--size] = '\0';
    if (!is_word(text, size)) {
        explicit_bzero(text, size);
        return error_set(err, ERROR_INVALID, "%s: expected one line with an enrolment token",
                         is_stdin ? "standard input" : path);
    }
    *token = take(text);
    return true;
}
