/* Sorted names; see plan_names.h. */
#include "plan/plan_names.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const struct plan_names_entry *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order ? order : left->index - right->index;
}

void plan_names_init(struct plan_names *names, const char *first, size_t count, size_t stride)
{
    names->count = count;
    names->entries = memory_array(count, sizeof *names->entries);
    for (size_t i = 0; i < count; i++)
        names->entries[i] = (struct plan_names_entry){first + i * stride, (int)i};
    qsort(names->entries, count, sizeof *names->entries, compare);
}

void plan_names_done(struct plan_names *names)
{
    free(names->entries);
    *names = (struct plan_names){0};
}

int plan_names_find(const struct plan_names *names, const char *name)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(names->entries[middle].name, name);
        if (order == 0)
            return names->entries[middle].index;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

int plan_names_twice(const struct plan_names *names)
{
    for (size_t i = 1; i < names->count; i++) {
        if (strcmp(names->entries[i - 1].name, names->entries[i].name) == 0)
            return names->entries[i].index;
    }
    return -1;
}
