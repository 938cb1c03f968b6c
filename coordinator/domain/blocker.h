/* What keeps a VM from moving (a blocker) or is worth a thought (a warning, of the same shape): a
 * code of the closed list, and for each case a sentence, the numbers and what to do about it. */
#pragma once

#include "base/json.h"
#include "protocol/blocker_code.h"

#include <stdint.h>

struct blocker {
    enum blocker_code code;
    char object[176];   /* "disk vda", "host b1" */
    char message[256];  /* one sentence */
    char needed[96];    /* "" or what it takes: "4294967296 bytes", "GenuineIntel" */
    char available[96]; /* "" or what is there */
    char fix[192];      /* what to do about it */
};
extern const struct json_field blocker_fields[];

struct blocker_list {
    struct blocker *items; /* owned: free() */
    size_t count;
};

/* Appends one about the object "<kind> <name>"; the calls below fill it before the next is added.
 */
struct blocker *blocker_add(struct blocker_list *list, enum blocker_code code, const char *kind,
                            const char *name);
void blocker_say(struct blocker *blocker, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void blocker_fix(struct blocker *blocker, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void blocker_compare(struct blocker *blocker, const char *needed, const char *available);
void blocker_compare_bytes(struct blocker *blocker, uint64_t needed, uint64_t available);
void blocker_append(struct blocker_list *list, const struct blocker_list *more);
