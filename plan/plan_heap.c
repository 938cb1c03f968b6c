/* Binary heap with places; see plan_heap.h. */
#include "plan/plan_heap.h"

#include "base/memory.h"

#include <stdbool.h>
#include <stdlib.h>

void plan_heap_init(struct plan_heap *heap, int numbers)
{
    heap->items = memory_array((size_t)numbers + 1, sizeof *heap->items);
    heap->place = memory_array((size_t)numbers + 1, sizeof *heap->place);
    heap->when = memory_array((size_t)numbers + 1, sizeof *heap->when);
    heap->count = 0;
    for (int i = 0; i < numbers; i++)
        heap->place[i] = -1;
}

void plan_heap_done(struct plan_heap *heap)
{
    free(heap->items);
    free(heap->place);
    free(heap->when);
}

static bool is_before(const struct plan_heap *heap, int a, int b)
{
    if (heap->when[a] < heap->when[b])
        return true;
    return heap->when[a] <= heap->when[b] && a < b;
}

static void put(struct plan_heap *heap, int at, int number)
{
    heap->items[at] = number;
    heap->place[number] = at;
}

static void rise(struct plan_heap *heap, int at, int number)
{
    while (at > 0 && is_before(heap, number, heap->items[(at - 1) / 2])) {
        put(heap, at, heap->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(heap, at, number);
}

static void sink(struct plan_heap *heap, int at, int number)
{
    for (;;) {
        int child = 2 * at + 1;
        if (child + 1 < heap->count && is_before(heap, heap->items[child + 1], heap->items[child]))
            child++;
        if (child >= heap->count || !is_before(heap, heap->items[child], number))
            break;
        put(heap, at, heap->items[child]);
        at = child;
    }
    put(heap, at, number);
}

void plan_heap_set(struct plan_heap *heap, int number, double when)
{
    int at = heap->place[number] < 0 ? heap->count++ : heap->place[number];
    heap->when[number] = when;
    if (at > 0 && is_before(heap, number, heap->items[(at - 1) / 2]))
        rise(heap, at, number);
    else
        sink(heap, at, number);
}

void plan_heap_remove(struct plan_heap *heap, int number)
{
    int at = heap->place[number];
    if (at < 0)
        return;
    heap->place[number] = -1;
    int last = heap->items[--heap->count];
    if (last == number)
        return;
    if (at > 0 && is_before(heap, last, heap->items[(at - 1) / 2]))
        rise(heap, at, last);
    else
        sink(heap, at, last);
}

int plan_heap_first(const struct plan_heap *heap)
{
    return heap->count ? heap->items[0] : -1;
}
