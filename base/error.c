/* The error type; see error.h. */
#include "base/error.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const error_code_names[] = {
    [ERROR_INTERNAL] = "internal",
    [ERROR_INVALID] = "invalid",
    [ERROR_NOT_FOUND] = "not-found",
    [ERROR_CONFLICT] = "conflict",
    [ERROR_REFUSED] = "refused",
    [ERROR_UNREACHABLE] = "unreachable",
    [ERROR_TIMEOUT] = "timeout",
    [ERROR_NO_SPACE] = "no-space",
    [ERROR_CANCELLED] = "cancelled",
    [ERROR_UNSUPPORTED] = "unsupported",
    [ERROR_MIRROR_LOST] = "mirror-lost",
    [ERROR_GUEST_ENDED] = "guest-ended",
    NULL,
};
enum { CODE_COUNT = sizeof error_code_names / sizeof error_code_names[0] - 1 };

void error_write(struct error *err, enum error_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char text[sizeof err->text]; /* the arguments may point into err */
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    utf8_repair(text);
    err->code = code;
    memcpy(err->text, text, sizeof text);
}

void error_write_errno(struct error *err, enum error_code code, int errno_value, const char *fmt,
                       ...)
{
    va_list args;
    va_start(args, fmt);
    char text[sizeof err->text];
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t used = strlen(text);
    char reason[128];
    snprintf(text + used, sizeof text - used, ": %s",
             strerror_r(errno_value, reason, sizeof reason));
    bool is_full = errno_value == ENOSPC || errno_value == EDQUOT;
    utf8_repair(text);
    err->code = is_full ? ERROR_NO_SPACE : code;
    memcpy(err->text, text, sizeof text);
}

void error_write_prefix(struct error *err, const char *fmt, ...)
{
    char text[2 * sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof err->text, fmt, args);
    va_end(args);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", err->text);
    text[sizeof err->text - 1] = '\0';
    utf8_repair(text);
    memcpy(err->text, text, sizeof err->text);
}

const char *error_code_name(enum error_code code)
{
    return (unsigned)code < CODE_COUNT ? error_code_names[code] : "internal";
}

bool error_code_parse(const char *name, enum error_code *code)
{
    for (unsigned i = 0; i < CODE_COUNT; i++) {
        if (strcmp(name, error_code_names[i]) == 0) {
            *code = (enum error_code)i;
            return true;
        }
    }
    return false;
}

bool error_is_transient(enum error_code code)
{
    return code == ERROR_UNREACHABLE || code == ERROR_TIMEOUT || code == ERROR_MIRROR_LOST;
}
