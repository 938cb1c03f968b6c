/* Marked sectors and the order of mirror and copy; see mask.h. */
#include "agent/receiver/plugin/mask.h"

#include "agent/receiver/plugin/breakage.h"
#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { WORD_BITS = 64, COARSE_SECTORS = 4096 / MASK_SECTOR_BYTES };

struct mask {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t less_in_flight;
    uint64_t *words; /* one bit a sector, sparse */
    size_t mapped_bytes;
    uint64_t sectors;
    struct mask_copy *in_flight; /* runs that copy writes hold */
    unsigned waiting;            /* mirror writes in mask_mirror's wait */
};

bool mask_open(struct mask **out, uint64_t size_bytes, struct error *err)
{
    if (size_bytes == 0 || size_bytes % MASK_SECTOR_BYTES)
        return error_set(err, ERROR_INVALID,
                         "disk of %" PRIu64 " bytes: expected a positive multiple of 512",
                         size_bytes);
    struct mask *mask = memory_alloc(sizeof *mask);
    mask->sectors = size_bytes / MASK_SECTOR_BYTES;
    mask->mapped_bytes = (size_t)((mask->sectors + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t));
    void *map = mmap(NULL, mask->mapped_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        int saved = errno;
        size_t bytes = mask->mapped_bytes;
        free(mask);
        return error_set_errno(err, ERROR_NO_SPACE, saved, "cannot map %zu bytes of marks", bytes);
    }
    /* One mark must not take a huge page; a kernel without huge pages refuses, which is as good. */
    (void)madvise(map, mask->mapped_bytes, MADV_NOHUGEPAGE);
    mask->words = map;
    pthread_mutex_init(&mask->mutex, NULL);
    pthread_cond_init(&mask->less_in_flight, NULL);
    *out = mask;
    return true;
}

void mask_free(struct mask *mask)
{
    if (!mask)
        return;
    munmap(mask->words, mask->mapped_bytes);
    pthread_cond_destroy(&mask->less_in_flight);
    pthread_mutex_destroy(&mask->mutex);
    free(mask);
}

void mask_clear(struct mask *mask)
{
    pthread_mutex_lock(&mask->mutex);
    assert(!mask->in_flight || breakage_is(BREAKAGE_FENCE));
    /* Gives the pages back; the next look sees zeroes. With stale marks copy data would be lost. */
    if (madvise(mask->words, mask->mapped_bytes, MADV_DONTNEED) < 0)
        abort();
    pthread_mutex_unlock(&mask->mutex);
}

/* Bits [from, to) of one word. */
static uint64_t word_bits(uint64_t from, uint64_t to)
{
    uint64_t below_to = to == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << to) - 1;
    return below_to & ~((UINT64_C(1) << from) - 1);
}

static void mark(struct mask *mask, uint64_t first, uint64_t end)
{
    while (first < end) {
        uint64_t word = first / WORD_BITS, from = first % WORD_BITS;
        uint64_t count = end - first < WORD_BITS - from ? end - first : WORD_BITS - from;
        mask->words[word] |= word_bits(from, from + count);
        first += count;
    }
}

/* The first sector of [first, end) whose bit is `is_marked`, or `end`. */
static uint64_t find(const struct mask *mask, uint64_t first, uint64_t end, bool is_marked)
{
    while (first < end) {
        uint64_t word = first / WORD_BITS, from = first % WORD_BITS;
        uint64_t bits = is_marked ? mask->words[word] : ~mask->words[word];
        bits &= word_bits(from, WORD_BITS);
        if (bits) {
            uint64_t found = word * WORD_BITS + (uint64_t)__builtin_ctzll(bits);
            return found < end ? found : end;
        }
        first = (word + 1) * WORD_BITS;
    }
    return end;
}

static bool is_in_flight(const struct mask *mask, uint64_t offset, uint64_t size)
{
    for (const struct mask_copy *copy = mask->in_flight; copy; copy = copy->below) {
        if (copy->run_offset < offset + size && offset < copy->run_offset + copy->run_size)
            return true;
    }
    return false;
}

void mask_mirror(struct mask *mask, uint64_t offset, uint64_t size)
{
    uint64_t first = offset / MASK_SECTOR_BYTES, end = (offset + size) / MASK_SECTOR_BYTES;
    assert(offset % MASK_SECTOR_BYTES == 0 && size % MASK_SECTOR_BYTES == 0);
    if (breakage_is(BREAKAGE_SECTOR)) {
        first -= first % COARSE_SECTORS;
        end += (COARSE_SECTORS - end % COARSE_SECTORS) % COARSE_SECTORS;
    }
    assert(end <= mask->sectors || breakage_is(BREAKAGE_SECTOR));
    if (end > mask->sectors)
        end = mask->sectors;
    pthread_mutex_lock(&mask->mutex);
    mark(mask, first, end); /* from here on no new copy write takes these sectors */
    mask->waiting++;
    while (is_in_flight(mask, offset, size) && !breakage_is(BREAKAGE_LOCK))
        pthread_cond_wait(&mask->less_in_flight, &mask->mutex);
    mask->waiting--;
    pthread_mutex_unlock(&mask->mutex);
}

void mask_copy_begin(struct mask_copy *copy, uint64_t offset, uint64_t size)
{
    assert(offset % MASK_SECTOR_BYTES == 0 && size % MASK_SECTOR_BYTES == 0);
    *copy = (struct mask_copy){.next = offset / MASK_SECTOR_BYTES,
                               .end = (offset + size) / MASK_SECTOR_BYTES};
}

static void deregister(struct mask *mask, struct mask_copy *copy)
{
    if (copy->run_size == 0)
        return;
    struct mask_copy **link = &mask->in_flight;
    while (*link != copy)
        link = &(*link)->below;
    *link = copy->below;
    copy->run_size = 0;
    if (mask->waiting)
        pthread_cond_broadcast(&mask->less_in_flight);
}

bool mask_copy_next(struct mask *mask, struct mask_copy *copy)
{
    assert(copy->end <= mask->sectors);
    bool is_blind = breakage_is(BREAKAGE_MASK);
    pthread_mutex_lock(&mask->mutex);
    deregister(mask, copy);
    uint64_t first = is_blind ? copy->next : find(mask, copy->next, copy->end, false);
    uint64_t limit = first + MASK_RUN_BYTES / MASK_SECTOR_BYTES;
    if (limit > copy->end)
        limit = copy->end;
    uint64_t end = is_blind ? limit : find(mask, first, limit, true);
    copy->next = end;
    if (first < end) {
        copy->run_offset = first * MASK_SECTOR_BYTES;
        copy->run_size = (end - first) * MASK_SECTOR_BYTES;
        copy->below = mask->in_flight;
        mask->in_flight = copy;
    }
    pthread_mutex_unlock(&mask->mutex);
    return first < end;
}

void mask_copy_end(struct mask *mask, struct mask_copy *copy)
{
    pthread_mutex_lock(&mask->mutex);
    deregister(mask, copy);
    pthread_mutex_unlock(&mask->mutex);
}
