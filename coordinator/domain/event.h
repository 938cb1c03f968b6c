/* Events as pure rules: the closed lists of their kinds and resources, and which of them a reader
 * wants. The triggers of db/migrations write them; a test compares the lists. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

/* The word of its path below /v1/. NULL-terminated. */
extern const char *const event_resource_names[];
/* "<what>.<happened>". NULL-terminated. */
extern const char *const event_kind_names[];
enum { EVENT_KIND_SIZE = 32, EVENT_RESOURCE_SIZE = 17 };

/* "" in a member: any. The scope is borrowed. */
struct event_filter {
    char resource[EVENT_RESOURCE_SIZE];
    char id[UUID_SIZE];
    char pool[UUID_SIZE]; /* among the pools concerned */
    const char *scope;    /* "{id,id}": one of these pools is concerned, for an evacuation none but
                             these; or it is of a mapping set, which belongs to no pool; NULL: any */
};
/* `pools` is written as the scope is. */
bool event_is_wanted(const struct event_filter *filter, const char *resource, const char *id,
                     const char *pools);

/* ERROR_INVALID lists the words. */
bool event_resource_check(const char *word, struct error *err) must_check;
/* ERROR_INVALID names where the kinds are listed. */
bool event_kind_check(const char *word, struct error *err) must_check;
