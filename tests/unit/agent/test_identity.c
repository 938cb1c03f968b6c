/* Enrolment and renewal, as far as they are the host's own files. */
#include "agent/coordinator_client/enrolment.h"
#include "agent/coordinator_client/identity.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/x509.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>

#define HOST  "33333333-3333-4333-8333-333333333333"
#define OTHER "44444444-4444-4444-8444-444444444444"

static char folder[64];
static char *ca_key, *ca;
static struct error err;

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/crosspool-identity-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert(x509_make_key(&ca_key, &err) && x509_make_ca(ca_key, "test", 10, &ca, &err), "%s",
              err.text);
}
static void teardown(void)
{
    free(ca_key);
    free(ca);
    cr_assert(file_remove_tree(folder, &err));
}
TestSuite(identity, .init = setup, .fini = teardown);

static char *issue(const char *csr, const char *host)
{
    const struct x509_issue issue = {.purpose = X509_FOR_HOST, .common_name = host, .days = 3};
    char *certificate = NULL;
    auto_free char *serial = NULL;
    cr_assert(x509_issue(ca, ca_key, csr, &issue, &certificate, &serial, &err), "%s", err.text);
    return certificate;
}

static void enrol(void)
{
    auto_free char *csr = NULL;
    cr_assert(identity_begin(folder, &csr, &err), "%s", err.text);
    auto_free char *certificate = issue(csr, HOST);
    cr_assert(identity_save(folder, certificate, ca, &err), "%s", err.text);
}

Test(identity, host_that_is_not_enrolled_is_told_what_to_do)
{
    struct identity *identity = NULL;
    cr_expect_not(identity_open(&identity, folder, &err));
    cr_expect_eq(err.code, ERROR_NOT_FOUND);
    cr_expect_not_null(strstr(err.text, "enrol --token-file"), "%s", err.text);
}

Test(identity, repeated_attempt_asks_for_the_same)
{
    auto_free char *first = NULL;
    auto_free char *second = NULL;
    cr_assert(identity_begin(folder, &first, &err));
    cr_assert(identity_begin(folder, &second, &err));
    cr_expect_str_eq(first, second);
}

Test(identity, enrolled_host_is_not_enrolled_over)
{
    auto_free char *csr = NULL;
    enrol();
    cr_expect_not(identity_begin(folder, &csr, &err));
    cr_expect_eq(err.code, ERROR_CONFLICT);
}

Test(identity, key_is_for_its_owner_only)
{
    struct stat status;
    enrol();
    auto_free char *path = memory_format("%s/host.key", folder);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600);
}

Test(identity, renewal_replaces_the_certificate_and_keeps_old_texts_alive)
{
    struct identity *identity = NULL;
    auto_free char *csr = NULL;
    enrol();
    cr_assert(identity_open(&identity, folder, &err), "%s", err.text);
    cr_expect_str_eq(identity_host(identity), HOST);
    const char *old = identity_certificate(identity);
    auto_free char *old_copy = memory_copy_text(old);
    cr_assert(identity_request(identity, &csr, &err));
    auto_free char *renewed = issue(csr, HOST);
    cr_assert(identity_renew(identity, renewed, &err), "%s", err.text);
    cr_expect_str_eq(identity_certificate(identity), renewed);
    cr_expect_str_eq(old, old_copy);
    identity_close(identity);
    cr_assert(identity_open(&identity, folder, &err));
    cr_expect_str_eq(identity_certificate(identity), renewed);
    identity_close(identity);
}

Test(identity, certificate_of_another_host_is_refused)
{
    struct identity *identity = NULL;
    auto_free char *csr = NULL;
    enrol();
    cr_assert(identity_open(&identity, folder, &err));
    cr_assert(identity_request(identity, &csr, &err));
    auto_free char *before = memory_copy_text(identity_certificate(identity));
    auto_free char *other = issue(csr, OTHER);
    cr_expect_not(identity_renew(identity, other, &err));
    cr_expect_eq(err.code, ERROR_REFUSED);
    cr_expect_str_eq(identity_certificate(identity), before);
    identity_close(identity);
}

Test(identity, fresh_certificate_is_not_due)
{
    struct identity *identity = NULL;
    bool is_due = true;
    enrol();
    cr_assert(identity_open(&identity, folder, &err));
    cr_assert(identity_is_due(identity, &is_due, &err), "%s", err.text);
    cr_expect_not(is_due);
    identity_close(identity);
}

Test(identity, enrolment_refuses_to_send_a_token_to_an_unknown_coordinator)
{
    struct coordinator_address address = {.api = "https://127.0.0.1:1",
                                          .agent = "https://127.0.0.1:2"};
    cr_expect_not(enrolment_run(&address, 1, folder, "token", &err));
    cr_expect_eq(err.code, ERROR_REFUSED);
    cr_expect_not_null(strstr(err.text, "ca_sha256"), "%s", err.text);
}
