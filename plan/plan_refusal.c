/* The list of what cannot move; see plan_refusal.h. */
#include "plan/plan_refusal.h"

#include "base/memory.h"

#include <stdlib.h>

void plan_refusals_add(struct plan_refusals *list, int vm, const char *code, char *message)
{
    list->items = memory_resize(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (struct plan_refusal){vm, code, message};
}

void plan_refusals_done(struct plan_refusals *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].message);
    free(list->items);
    *list = (struct plan_refusals){0};
}
