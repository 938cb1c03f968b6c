/* Blockers and lists of them; see blocker.h. */
#include "coordinator/domain/blocker.h"

#include "base/json_table.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct json_field blocker_fields[] = {
    JSON_ENUM("code", blocker, code, blocker_code_names, true),
    JSON_CHARS("object", blocker, object, 1, true),
    JSON_CHARS("message", blocker, message, 1, true),
    JSON_CHARS("needed", blocker, needed, 0, true),
    JSON_CHARS("available", blocker, available, 0, true),
    JSON_CHARS("fix", blocker, fix, 1, true),
    {0},
};

struct blocker *blocker_add(struct blocker_list *list, enum blocker_code code, const char *kind,
                            const char *name)
{
    list->items = memory_resize(list->items, list->count + 1, sizeof *list->items);
    struct blocker *blocker = &list->items[list->count++];
    *blocker = (struct blocker){.code = code};
    snprintf(blocker->object, sizeof blocker->object, "%s %s", kind, name);
    utf8_repair(blocker->object);
    return blocker;
}

void blocker_say(struct blocker *blocker, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(blocker->message, sizeof blocker->message, fmt, args);
    va_end(args);
    utf8_repair(blocker->message);
}

void blocker_fix(struct blocker *blocker, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(blocker->fix, sizeof blocker->fix, fmt, args);
    va_end(args);
    utf8_repair(blocker->fix);
}

void blocker_compare(struct blocker *blocker, const char *needed, const char *available)
{
    snprintf(blocker->needed, sizeof blocker->needed, "%s", needed);
    snprintf(blocker->available, sizeof blocker->available, "%s", available);
}

void blocker_compare_bytes(struct blocker *blocker, uint64_t needed, uint64_t available)
{
    snprintf(blocker->needed, sizeof blocker->needed, "%" PRIu64 " bytes", needed);
    snprintf(blocker->available, sizeof blocker->available, "%" PRIu64 " bytes", available);
}

void blocker_append(struct blocker_list *list, const struct blocker_list *more)
{
    list->items = memory_resize(list->items, list->count + more->count, sizeof *list->items);
    if (more->count)
        memcpy(list->items + list->count, more->items, more->count * sizeof *list->items);
    list->count += more->count;
}
