/* What is wrong with single fields of an input, for whoever reports all of it at once: members of a
 * document by JSON pointer, query parameters and headers by name. Beside struct error, which says
 * the first of them in one sentence. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum field_place { FIELD_BODY, FIELD_QUERY, FIELD_HEADER };
enum { FIELD_ERRORS_MOST = 32 }; /* what is wrong beyond is left out */

struct field_error {
    enum field_place place;
    char *name;     /* JSON pointer (RFC 6901), or the name of the parameter or header */
    char *detail;   /* what is there, without the value of a member, which may be a secret */
    char *expected; /* what should be there */
};

struct field_errors {
    struct field_error *items;
    size_t count;
};

/* NULL for `errors`: nobody wants to know. */
void field_errors_add(struct field_errors *errors, enum field_place place, const char *name,
                      const char *detail, const char *expected);
/* The same for one member of a document, and ERROR_INVALID; false. */
bool field_wrong(struct field_errors *errors, const char *pointer, const char *detail,
                 const char *expected, struct error *err);
/* Appends "/" and the key, escaped as RFC 6901 wants it, as far as it fits. */
void field_pointer_append(char *pointer, size_t size, const char *key);
/* Puts a pointer in front of those from `from` on, which were found in a document within. */
void field_errors_prefix(struct field_errors *errors, size_t from, const char *pointer);
/* No more is taken, so that looking on is of no use. */
bool field_errors_is_full(const struct field_errors *errors);
size_t field_errors_count(const struct field_errors *errors);
void field_errors_done(struct field_errors *errors);
