/* The mask: which sectors a copy may still write, and who waits for whom. */
#include "agent/receiver/plugin/mask.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR = MASK_SECTOR_BYTES };

static struct error err;
static struct mask *mask;

static void open_mask(void)
{
    cr_assert(mask_open(&mask, 1 << 20, &err), "%s", err.text);
}
static void free_mask(void)
{
    mask_free(mask);
}
TestSuite(mask, .init = open_mask, .fini = free_mask, .timeout = 30);

/* The runs of a copy write as text: "first-end,..." in sectors. */
static const char *runs(uint64_t first, uint64_t count)
{
    static char text[4096];
    struct mask_copy copy;
    text[0] = '\0';
    mask_copy_begin(&copy, first * SECTOR, count * SECTOR);
    while (mask_copy_next(mask, &copy)) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%llu-%llu", used ? "," : "",
                 (unsigned long long)copy.run_offset / SECTOR,
                 (unsigned long long)(copy.run_offset + copy.run_size) / SECTOR);
    }
    mask_copy_end(mask, &copy);
    return text;
}

static void mirror(uint64_t first, uint64_t count)
{
    mask_mirror(mask, first * SECTOR, count * SECTOR);
}

Test(mask, copy_writes_what_no_mirror_wrote)
{
    cr_assert_str_eq(runs(0, 100), "0-100");
    mirror(10, 1);
    cr_assert_str_eq(runs(0, 100), "0-10,11-100");
    mirror(12, 8);
    mirror(99, 5);
    cr_assert_str_eq(runs(0, 100), "0-10,11-12,20-99");
    cr_assert_str_eq(runs(10, 1), "");
    cr_assert_str_eq(runs(13, 3), "");
    cr_assert_str_eq(runs(100, 10), "104-110");
    mask_clear(mask);
    cr_assert_str_eq(runs(0, 110), "0-110");
}

Test(mask, marks_cross_words_and_reach_the_last_sector)
{
    mirror(63, 2);
    cr_assert_str_eq(runs(60, 10), "60-63,65-70");
    mirror(100, 1000);
    cr_assert_str_eq(runs(90, 1100), "90-100,1100-1190");
    mirror(2047, 1);
    cr_assert_str_eq(runs(2000, 48), "2000-2047");
    mirror(0, 2048);
    cr_assert_str_eq(runs(0, 2048), "");
}

Test(mask, every_mark_and_question_agrees_with_a_plain_map)
{
    static unsigned char model[2048];
    unsigned state = 1;
    for (int round = 0; round < 3000; round++) {
        state = state * 1103515245 + 12345;
        unsigned first = (state >> 8) % 2048, count = 1 + (state >> 20) % 40;
        if (first + count > 2048)
            count = 2048 - first;
        if (round % 50 == 49) {
            mask_clear(mask);
            memset(model, 0, sizeof model);
        }
        if (round % 3) {
            struct mask_copy copy;
            unsigned at = first;
            mask_copy_begin(&copy, first * SECTOR, count * SECTOR);
            while (mask_copy_next(mask, &copy)) {
                for (; at < copy.run_offset / SECTOR; at++)
                    cr_assert_eq(model[at], 1);
                for (; at < (copy.run_offset + copy.run_size) / SECTOR; at++)
                    cr_assert_eq(model[at], 0);
            }
            for (; at < first + count; at++)
                cr_assert_eq(model[at], 1);
        } else {
            mirror(first, count);
            memset(model + first, 1, count);
        }
    }
}

Test(mask, refuses_a_size_of_partial_sectors)
{
    struct mask *none;
    cr_assert_not(mask_open(&none, 1000, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert_not(mask_open(&none, 0, &err));
}

static long resident_kib(void)
{
    long pages = 0, total = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert_eq(fscanf(f, "%ld %ld", &total, &pages), 2);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

Test(mask, largest_disk_takes_memory_only_for_its_marks)
{
    struct mask *large;
    uint64_t size = UINT64_C(64) << 40;
    long before = resident_kib();
    cr_assert(mask_open(&large, size, &err), "%s", err.text);
    for (uint64_t i = 0; i < 64; i++)
        mask_mirror(large, i << 40, SECTOR);
    mask_mirror(large, size - SECTOR, SECTOR);
    cr_assert_lt(resident_kib() - before, 2048);
    struct mask_copy copy;
    mask_copy_begin(&copy, size - 3 * SECTOR, 3 * SECTOR);
    cr_assert(mask_copy_next(large, &copy));
    cr_assert_eq(copy.run_offset, size - 3 * SECTOR);
    cr_assert_eq(copy.run_size, 2 * SECTOR);
    cr_assert_not(mask_copy_next(large, &copy));
    mask_clear(large);
    mask_free(large);
}

Test(mask, long_copies_hold_only_a_bounded_run_at_a_time)
{
    struct mask *large;
    cr_assert(mask_open(&large, UINT64_C(1) << 30, &err), "%s", err.text);
    struct mask_copy copy;
    uint64_t sum = 0;
    mask_copy_begin(&copy, 0, UINT64_C(1) << 30);
    while (mask_copy_next(large, &copy)) {
        cr_assert_leq(copy.run_size, MASK_RUN_BYTES);
        cr_assert_eq(copy.run_offset, sum);
        sum += copy.run_size;
    }
    cr_assert_eq(sum, UINT64_C(1) << 30);
    mask_free(large);
}

static atomic_bool has_returned;
static void *mirror_sector_5(void *context)
{
    (void)context;
    mirror(5, 1);
    atomic_store(&has_returned, true);
    return NULL;
}

Test(mask, mirror_waits_for_the_copy_in_flight_and_only_for_that)
{
    struct mask_copy copy, other;
    mask_copy_begin(&copy, 0, 8 * SECTOR);
    mask_copy_begin(&other, 6 * SECTOR, 100 * SECTOR);
    cr_assert(mask_copy_next(mask, &other));
    cr_assert(mask_copy_next(mask, &copy));
    pthread_t thread;
    pthread_create(&thread, NULL, mirror_sector_5, NULL);
    /* Its sector is marked although it waits: a later copy leaves it alone. */
    for (int i = 0; i < 1000 && strcmp(runs(4, 3), "4-5,6-7") != 0; i++)
        usleep(10000);
    cr_assert_str_eq(runs(4, 3), "4-5,6-7");
    usleep(100000);
    cr_assert_not(atomic_load(&has_returned));
    mask_copy_end(mask, &copy);
    pthread_join(thread, NULL);
    cr_assert(atomic_load(&has_returned));
    mask_copy_end(mask, &other);
}

Test(mask, mirror_elsewhere_does_not_wait)
{
    struct mask_copy copy;
    mask_copy_begin(&copy, 0, 8 * SECTOR);
    cr_assert(mask_copy_next(mask, &copy));
    mirror(8, 10);
    mask_copy_end(mask, &copy);
}
