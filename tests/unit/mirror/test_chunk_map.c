/* The map of flushed chunks: what it keeps over a restart, what it forgets, what it wants again. */
#include "agent/mirror/chunk_map.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 256 << 10, BLOCK = CHUNK / 64 };
#define VDI       "11111111-1111-4111-8111-111111111111"
#define OTHER_VDI "22222222-2222-4222-8222-222222222222"

static char folder[] = "/tmp/chunk-map-XXXXXX";
static char *path;

static void setup(void)
{
    cr_assert(mkdtemp(folder));
    path = memory_format("%s/map", folder);
}
static void teardown(void)
{
    unlink(path);
    rmdir(folder);
    free(path);
}
TestSuite(chunk_map, .init = setup, .fini = teardown, .timeout = 30);

static struct chunk_map *open_map(const char *vdi, uint64_t size)
{
    struct chunk_map *map = NULL;
    struct error err;
    cr_assert(chunk_map_open(&map, path, vdi, size, CHUNK, &err), "%s", err.text);
    return map;
}

static void save(struct chunk_map *map)
{
    struct error err;
    cr_assert(chunk_map_save(map, &err), "%s", err.text);
}

Test(chunk_map, keeps_saved_chunks_over_a_restart)
{
    struct chunk_map *map = open_map(VDI, UINT64_C(20) << 30);
    cr_assert_eq(chunk_map_count(map), 81920);
    chunk_map_set_done(map, 0);
    chunk_map_set_done(map, 40000);
    chunk_map_set_done(map, 81919);
    save(map);
    chunk_map_set_done(map, 7); /* not saved */
    chunk_map_close(map);

    map = open_map(VDI, UINT64_C(20) << 30);
    cr_assert(chunk_map_is_done(map, 0));
    cr_assert(chunk_map_is_done(map, 40000));
    cr_assert(chunk_map_is_done(map, 81919));
    cr_assert_not(chunk_map_is_done(map, 7));
    cr_assert_not(chunk_map_is_done(map, 1));
    cr_assert_eq(chunk_map_done_bytes(map), 3 * CHUNK);
    chunk_map_close(map);
}

static void assert_forgets(const char *vdi, uint64_t size)
{
    struct chunk_map *map = open_map(vdi, size);
    for (uint64_t chunk = 0; chunk < chunk_map_count(map); chunk++)
        cr_assert_not(chunk_map_is_done(map, chunk));
    cr_assert_eq(chunk_map_done_bytes(map), 0);
    chunk_map_close(map);
}

static void save_some(void)
{
    struct chunk_map *map = open_map(VDI, 100 * CHUNK);
    chunk_map_set_done(map, 3);
    save(map);
    chunk_map_close(map);
}

Test(chunk_map, is_empty_for_another_vdi)
{
    save_some();
    assert_forgets(OTHER_VDI, 100 * CHUNK);
}

Test(chunk_map, is_empty_for_another_size)
{
    save_some();
    assert_forgets(VDI, 101 * CHUNK);
}

Test(chunk_map, is_empty_when_the_header_is_damaged)
{
    save_some();
    auto_close int fd = open(path, O_RDWR);
    char byte = 'x';
    cr_assert_eq(pwrite(fd, &byte, 1, 60), 1);
    assert_forgets(VDI, 100 * CHUNK);
}

Test(chunk_map, is_empty_when_the_file_is_cut_short)
{
    save_some();
    cr_assert_eq(truncate(path, 5000), 0);
    assert_forgets(VDI, 100 * CHUNK);
}

Test(chunk_map, a_saved_clear_is_durable)
{
    save_some();
    struct chunk_map *map = open_map(VDI, 100 * CHUNK);
    chunk_map_clear_range(map, 3 * CHUNK + 17, 1);
    save(map);
    chunk_map_close(map);
    assert_forgets(VDI, 100 * CHUNK);
}

Test(chunk_map, wants_all_blocks_of_a_chunk_never_copied)
{
    struct chunk_map *map = open_map(VDI, 2 * CHUNK);
    cr_assert_eq(chunk_map_wanted(map, 0), UINT64_MAX);
    chunk_map_clear_range(map, 0, 1);
    cr_assert_eq(chunk_map_wanted(map, 0), UINT64_MAX);
    cr_assert_eq(chunk_map_done_bytes(map), 0);
    chunk_map_close(map);
}

Test(chunk_map, wants_only_the_cleared_blocks_of_a_chunk_that_was_done)
{
    struct chunk_map *map = open_map(VDI, 4 * CHUNK);
    for (uint64_t chunk = 0; chunk < 4; chunk++)
        chunk_map_set_done(map, chunk);
    chunk_map_clear_range(map, CHUNK + 2 * BLOCK - 1, 2);
    cr_assert_eq(chunk_map_wanted(map, 1), 6);
    chunk_map_clear_range(map, CHUNK + 5 * BLOCK, BLOCK);
    cr_assert_eq(chunk_map_wanted(map, 1), 6 | 32);
    cr_assert_eq(chunk_map_wanted(map, 0), 0);
    cr_assert_not(chunk_map_is_done(map, 1));
    cr_assert_eq(chunk_map_done_bytes(map), 4 * CHUNK - 3 * BLOCK);
    chunk_map_set_done(map, 1);
    cr_assert_eq(chunk_map_wanted(map, 1), 0);
    cr_assert_eq(chunk_map_done_bytes(map), 4 * CHUNK);
    chunk_map_close(map);
}

Test(chunk_map, clears_a_range_over_several_chunks)
{
    struct chunk_map *map = open_map(VDI, 5 * CHUNK);
    for (uint64_t chunk = 0; chunk < 5; chunk++)
        chunk_map_set_done(map, chunk);
    chunk_map_clear_range(map, CHUNK + 63 * BLOCK, 2 * CHUNK + BLOCK);
    cr_assert_eq(chunk_map_wanted(map, 0), 0);
    cr_assert_eq(chunk_map_wanted(map, 1), UINT64_C(1) << 63);
    cr_assert_eq(chunk_map_wanted(map, 2), UINT64_MAX);
    cr_assert_eq(chunk_map_wanted(map, 3), UINT64_MAX);
    cr_assert_eq(chunk_map_wanted(map, 4), 0);
    chunk_map_close(map);
}

Test(chunk_map, counts_a_last_chunk_that_ends_inside_a_block)
{
    struct chunk_map *map = open_map(VDI, 2 * CHUNK + 3 * BLOCK + 512);
    cr_assert_eq(chunk_map_count(map), 3);
    cr_assert_eq(chunk_map_wanted(map, 2), 15);
    chunk_map_set_done(map, 2);
    cr_assert_eq(chunk_map_done_bytes(map), 3 * BLOCK + 512);
    chunk_map_clear_range(map, 2 * CHUNK + 3 * BLOCK, UINT64_MAX);
    cr_assert_eq(chunk_map_done_bytes(map), 3 * BLOCK);
    chunk_map_clear_range(map, 3 * CHUNK, 10); /* beyond the disk */
    chunk_map_set_done(map, 2);
    cr_assert_eq(chunk_map_done_bytes(map), 3 * BLOCK + 512);
    chunk_map_close(map);
}

Test(chunk_map, a_huge_disk_costs_little_memory)
{
    struct chunk_map *map = open_map(VDI, UINT64_C(64) << 40);
    cr_assert_eq(chunk_map_count(map), UINT64_C(1) << 28);
    chunk_map_set_done(map, (UINT64_C(1) << 28) - 1);
    save(map);
    chunk_map_close(map);
}
