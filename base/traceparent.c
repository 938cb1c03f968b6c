/* Reads and makes trace contexts; see traceparent.h. */
#include "base/traceparent.h"

#include "base/x509.h"

#include <stdio.h>
#include <string.h>

enum {
    TRACE_AT = 3,
    TRACE_HEX = 32,
    PARENT_AT = 36,
    PARENT_HEX = 16,
    FLAGS_AT = 53,
    TEXT_LENGTH = 55
};

static bool is_hex(const char *text, size_t length)
{
    return strspn(text, "0123456789abcdef") >= length;
}

static bool is_id(const char *text, size_t length)
{
    return is_hex(text, length) && strspn(text, "0") < length;
}

bool traceparent_is_valid(const char *text)
{
    size_t length = strlen(text);
    if (length < TEXT_LENGTH || !is_hex(text, 2) || strncmp(text, "ff", 2) == 0)
        return false;
    bool is_first_version = strncmp(text, "00", 2) == 0;
    if (length > TEXT_LENGTH && (is_first_version || text[TEXT_LENGTH] != '-'))
        return false;
    return text[TRACE_AT - 1] == '-' && is_id(text + TRACE_AT, TRACE_HEX) &&
           text[PARENT_AT - 1] == '-' && is_id(text + PARENT_AT, PARENT_HEX) &&
           text[FLAGS_AT - 1] == '-' && is_hex(text + FLAGS_AT, 2);
}

static void random_id(char *out, int length)
{
    do
        x509_random_hex((size_t)length / 2, out);
    while (!is_id(out, (size_t)length));
}

void traceparent_continue(const char *text, char out[TRACEPARENT_SIZE])
{
    char trace[TRACE_HEX + 1], parent[PARENT_HEX + 1];
    bool is_known = text && traceparent_is_valid(text);
    if (is_known)
        traceparent_trace_id(text, trace);
    else
        random_id(trace, TRACE_HEX);
    random_id(parent, PARENT_HEX);
    snprintf(out, TRACEPARENT_SIZE, "00-%s-%s-%.2s", trace, parent,
             is_known ? text + FLAGS_AT : "00");
}

void traceparent_trace_id(const char *text, char out[TRACE_ID_SIZE])
{
    bool is_valid = traceparent_is_valid(text);
    snprintf(out, TRACE_ID_SIZE, "%.32s", is_valid ? text + TRACE_AT : "");
}
