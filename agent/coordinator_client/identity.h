/* Who this host is: the files that enrolment left in the state directory. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

struct identity;

/* ERROR_NOT_FOUND with what to do when the host is not enrolled. */
bool identity_open(struct identity **out, const char *state_directory,
                   struct error *err) must_check;
void identity_close(struct identity *identity);
/* PEM texts. They stay valid until close, also after a renewal; any thread. */
const char *identity_ca(const struct identity *identity);
const char *identity_key(const struct identity *identity);
const char *identity_certificate(const struct identity *identity);
const char *identity_host(const struct identity *identity);

/* True when two thirds of the certificate's life are over. */
bool identity_is_due(const struct identity *identity, bool *is_due, struct error *err) must_check;
/* A request for the next certificate. The key stays: two files cannot be replaced in one stroke,
 * and a certificate without its key would cut the host off. */
bool identity_request(const struct identity *identity, char **csr, struct error *err) must_check;
/* Keeps and uses a new certificate of this very host. */
bool identity_renew(struct identity *identity, const char *certificate,
                    struct error *err) must_check;

/* For enrolment: the key and request to enrol with, made once, so that a repeated attempt asks for
 * the same; and the end of it. */
bool identity_begin(const char *state_directory, char **csr, struct error *err) must_check;
bool identity_save(const char *state_directory, const char *certificate, const char *ca,
                   struct error *err) must_check;
