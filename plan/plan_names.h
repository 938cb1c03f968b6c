/* Looks up many names: sorted once, then by halving. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct plan_names {
    struct plan_names_entry {
        const char *name; /* borrowed */
        int index;
    } * entries;
    size_t count;
};

/* `first` is the name of the first of `count` things that are `stride` bytes apart. */
void plan_names_init(struct plan_names *names, const char *first, size_t count, size_t stride);
void plan_names_done(struct plan_names *names);
/* Index of the thing, -1 = there is none. */
int plan_names_find(const struct plan_names *names, const char *name);
/* Index of a thing whose name another one has too; -1 = all differ. */
int plan_names_twice(const struct plan_names *names);
