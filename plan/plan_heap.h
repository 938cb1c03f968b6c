/* Which of many numbered things is due first: a binary heap with a place for each number, so that
 * one can be moved or taken out. */
#pragma once

struct plan_heap {
    int *items;   /* numbers in heap order */
    int *place;   /* of each number in items; -1 = not in it */
    double *when; /* of each number */
    int count;
};

void plan_heap_init(struct plan_heap *heap, int numbers);
void plan_heap_done(struct plan_heap *heap);
/* Puts it in, or moves it. */
void plan_heap_set(struct plan_heap *heap, int number, double when);
void plan_heap_remove(struct plan_heap *heap, int number);
/* The first one, -1 when empty; equal ones in order of their numbers. */
int plan_heap_first(const struct plan_heap *heap);
