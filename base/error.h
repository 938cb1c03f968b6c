/* The one error type. A fallible function returns bool (true = done), takes its outputs before
 * `err`, writes `err` only when it returns false, and never clobbers outputs on failure.
 * `err` is last and never NULL. A function logs an error or returns it, never both. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum error_code {
    ERROR_INTERNAL,    /* a bug or a state that should not exist */
    ERROR_INVALID,     /* the input is wrong; repeating it cannot help */
    ERROR_NOT_FOUND,   /* a named object does not exist */
    ERROR_CONFLICT,    /* the object is in another state than the request assumes */
    ERROR_REFUSED,     /* not permitted: identity, role, policy, an older epoch */
    ERROR_UNREACHABLE, /* a peer, database or device does not answer or went away; retry */
    ERROR_TIMEOUT,     /* it answered too late; retry */
    ERROR_NO_SPACE,    /* disk, memory or another limit is full */
    ERROR_CANCELLED,   /* stopped because somebody asked for it */
    ERROR_UNSUPPORTED, /* this host or object cannot do that */
    ERROR_MIRROR_LOST, /* a disk mirror broke; the transfer must be done again in a new epoch */
    ERROR_GUEST_ENDED, /* the guest powered off, rebooted or crashed: there is nothing to move */
};

struct error {
    enum error_code code;
    char text[256]; /* one sentence for a person: what was wrong, where, what was expected */
};

/* error_set(err, code, format, ...) sets code and text and is false, so that a caller can `return
 * error_set(...)`. */
#define error_set(err, ...)                                                                        \
    __extension__({                                                                                \
        error_write(err, __VA_ARGS__);                                                             \
        false;                                                                                     \
    })

/* error_set_errno(err, code, errno_value, format, ...): as error_set, and appends ": " and
 * strerror(errno_value). ENOSPC/EDQUOT become ERROR_NO_SPACE whatever `code` says. */
#define error_set_errno(err, ...)                                                                  \
    __extension__({                                                                                \
        error_write_errno(err, __VA_ARGS__);                                                       \
        false;                                                                                     \
    })

/* error_prefix(err, format, ...) puts "context: " in front of the text; false. Long text is cut at
 * the end. */
#define error_prefix(err, ...)                                                                     \
    __extension__({                                                                                \
        error_write_prefix(err, __VA_ARGS__);                                                      \
        false;                                                                                     \
    })

/* The functions behind them; macros, so that a static analyser sees that they are false. */
void error_write(struct error *err, enum error_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void error_write_errno(struct error *err, enum error_code code, int errno_value, const char *fmt,
                       ...) __attribute__((format(printf, 4, 5)));
void error_write_prefix(struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The stable lower-case word of a code ("not-found"), and back (false: unknown word). */
extern const char *const error_code_names[]; /* in order of the codes, NULL-terminated */
const char *error_code_name(enum error_code code);
bool error_code_parse(const char *name, enum error_code *code);

/* True when trying the same thing again later may succeed (UNREACHABLE, TIMEOUT, MIRROR_LOST). */
bool error_is_transient(enum error_code code);

#define must_check __attribute__((warn_unused_result))
