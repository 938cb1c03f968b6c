/* A guest writes a disk while its mirror and several copiers bring it to a destination, with random
 * overlaps and delays; at the end both are the same. The destination is plain memory, so that the
 * thread sanitizer also checks that the mask orders the writes. Where the faults of the broken
 * module are compiled in, each of them must make a difference. */
#include "agent/receiver/plugin/breakage.h"
#include "agent/receiver/plugin/mask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SECTORS = 4096,
    GUESTS = 3,
    COPIERS = 3,
    COPY_SECTORS = 32,
    MOST_SECTORS = 12, /* of a guest write */
    STRIPE = 64,       /* sectors under one lock of the guest's block layer */
    STRIPES = SECTORS / STRIPE,
    GUEST_WRITES = 30000,
};

struct run {
    struct mask *mask;
    atomic_uint source[SECTORS]; /* one number stands for a sector's content */
    unsigned destination[SECTORS];
    pthread_mutex_t stripes[STRIPES]; /* the block layer serialises overlapping guest writes */
    atomic_uint next_chunk, next_number;
    atomic_int copiers_left;
};

static unsigned random_below(unsigned *state, unsigned limit)
{
    *state = *state * 1664525 + 1013904223;
    return (*state >> 8) % limit;
}

static void dawdle(unsigned *state)
{
    if (random_below(state, 4) == 0) {
        struct timespec pause = {0, (long)random_below(state, 60000)};
        nanosleep(&pause, NULL);
    } else if (random_below(state, 2)) {
        sched_yield();
    }
}

/* First the source, then the mirror, as QEMU does. */
static void guest_write(struct run *run, unsigned *state)
{
    unsigned stripe = random_below(state, STRIPES), first = random_below(state, STRIPE);
    unsigned room = STRIPE - first, count = 1 + random_below(state, MOST_SECTORS);
    unsigned number = atomic_fetch_add(&run->next_number, 1);
    if (count > room)
        count = room;
    first += stripe * STRIPE;
    pthread_mutex_lock(&run->stripes[stripe]);
    for (unsigned i = first; i < first + count; i++)
        atomic_store(&run->source[i], number);
    dawdle(state);
    mask_mirror(run->mask, (uint64_t)first * MASK_SECTOR_BYTES,
                (uint64_t)count * MASK_SECTOR_BYTES);
    for (unsigned i = first; i < first + count; i++)
        run->destination[i] = number;
    pthread_mutex_unlock(&run->stripes[stripe]);
}

static void copy_chunk(struct run *run, unsigned first, unsigned *state)
{
    unsigned stale[COPY_SECTORS];
    struct mask_copy copy;
    for (unsigned i = 0; i < COPY_SECTORS; i++)
        stale[i] = atomic_load(&run->source[first + i]);
    dawdle(state);
    mask_copy_begin(&copy, (uint64_t)first * MASK_SECTOR_BYTES,
                    (uint64_t)COPY_SECTORS * MASK_SECTOR_BYTES);
    while (mask_copy_next(run->mask, &copy)) {
        uint64_t from = copy.run_offset / MASK_SECTOR_BYTES;
        dawdle(state);
        for (uint64_t i = from; i < from + copy.run_size / MASK_SECTOR_BYTES; i++)
            run->destination[i] = stale[i - first];
    }
    mask_copy_end(run->mask, &copy);
}

static void *guest(void *context)
{
    struct run *run = context;
    unsigned state = atomic_fetch_add(&run->next_number, 1) * 7919;
    for (int i = 0; i < GUEST_WRITES && atomic_load(&run->copiers_left); i++)
        guest_write(run, &state);
    return NULL;
}

static void *copier(void *context)
{
    struct run *run = context;
    unsigned state = atomic_fetch_add(&run->next_number, 1) * 104729;
    for (;;) {
        unsigned chunk = atomic_fetch_add(&run->next_chunk, 1);
        if (chunk >= SECTORS / COPY_SECTORS)
            break;
        copy_chunk(run, chunk * COPY_SECTORS, &state);
    }
    atomic_fetch_sub(&run->copiers_left, 1);
    return NULL;
}

static unsigned count_differences(struct run *run)
{
    unsigned different = 0;
    for (unsigned i = 0; i < SECTORS; i++)
        different += run->destination[i] != atomic_load(&run->source[i]);
    return different;
}

/* One migration of the disk; the number of sectors that differ afterwards. */
static unsigned migrate(unsigned seed)
{
    static struct run run;
    struct error err;
    pthread_t threads[GUESTS + COPIERS];
    memset(&run, 0, sizeof run);
    if (!mask_open(&run.mask, (uint64_t)SECTORS * MASK_SECTOR_BYTES, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_init(&run.stripes[i], NULL);
    atomic_store(&run.next_number, 1000 + seed * 1000003);
    for (unsigned i = 0; i < SECTORS; i++)
        atomic_store(&run.source[i], i + 1);
    atomic_store(&run.copiers_left, COPIERS);
    for (int i = 0; i < GUESTS + COPIERS; i++)
        pthread_create(&threads[i], NULL, i < GUESTS ? guest : copier, &run);
    for (int i = 0; i < GUESTS + COPIERS; i++)
        pthread_join(threads[i], NULL);
    unsigned different = count_differences(&run);
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&run.stripes[i]);
    mask_free(run.mask);
    return different;
}

static bool all_are_identical(unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        unsigned different = migrate(round);
        if (different) {
            fprintf(stderr, "round %u: %u sectors differ\n", round, different);
            return false;
        }
    }
    return true;
}

#ifdef CROSSPOOL_BROKEN
static bool is_noticed(enum breakage fault, const char *name)
{
    breakage_set(fault, 0, 0);
    for (unsigned round = 0; round < 200; round++) {
        if (migrate(round))
            return true;
    }
    fprintf(stderr, "fault \"%s\" made no difference\n", name);
    return false;
}

int main(void)
{
    bool is_fine = is_noticed(BREAKAGE_MASK, "mask") && is_noticed(BREAKAGE_LOCK, "lock") &&
                   is_noticed(BREAKAGE_SECTOR, "sector");
    breakage_set(BREAKAGE_NONE, 0, 0);
    return is_fine && all_are_identical(5) ? 0 : 1;
}
#else
int main(void)
{
    return all_are_identical(300) ? 0 : 1;
}
#endif
