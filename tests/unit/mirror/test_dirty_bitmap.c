/* Bitmaps of a real QEMU: which extents a resumed copy wants, and that nothing else stays. */
#include "agent/mirror/dirty_bitmap.h"

#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>

enum { MIB = 1 << 20, SIZE = 64 * MIB, CHUNK = 256 << 10 };

static char folder[] = "/tmp/bitmap-XXXXXX";
static struct child *qemu;
static struct monitor *monitor;
static struct mirror_names names;
static struct chunk_map *map;
static char *socket_path;
static struct error err;

static void setup(void)
{
    cr_assert(mkdtemp(folder));
    cr_assert(child_start_spawner(&err), "%s", err.text);
    auto_free char *image = memory_format("%s/disk.raw", folder);
    auto_free char *path = memory_format("%s/qmp.sock", folder);
    auto_free char *log = memory_format("%s/log", folder);
    auto_free char *map_path = memory_format("%s/map", folder);
    auto_free char *listen = memory_format("unix:%s,server=on,wait=off", path);
    auto_free char *node =
        memory_format("driver=raw,node-name=disk0,file.driver=file,file.filename=%s", image);
    auto_close int fd = open(image, O_RDWR | O_CREAT, 0600);
    cr_assert_eq(ftruncate(fd, SIZE), 0);
    const char *argv[] = {
        "qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none",
        "-blockdev",          node,       "-qmp", listen,        NULL};
    cr_assert(child_start(argv, log, -1, &qemu, &err), "%s", err.text);
    cr_assert(child_wait_for_path(qemu, path, 10000, &err), "%s", err.text);
    socket_path = memory_format("%s/nbd.sock", folder);
    monitor = monitor_new(path);
    mirror_names_derive(&names, "01234567-89ab-4cde-8f01-23456789abcd", 3);
    cr_assert(chunk_map_open(&map, map_path, "", SIZE, CHUNK, &err), "%s", err.text);
    for (uint64_t chunk = 0; chunk < chunk_map_count(map); chunk++)
        chunk_map_set_done(map, chunk);
}

static void teardown(void)
{
    monitor_free(monitor);
    chunk_map_close(map);
    child_stop(qemu, 1000);
    free(socket_path);
    cr_assert(file_remove_tree(folder, &err), "%s", err.text);
}
TestSuite(dirty_bitmap, .init = setup, .fini = teardown, .timeout = 60);

static void write_at(uint64_t offset, uint64_t size)
{
    auto_free char *line = memory_format("qemu-io disk0 \"write -P 7 %llu %llu\"",
                                         (unsigned long long)offset, (unsigned long long)size);
    json_t *answer = NULL;
    cr_assert(monitor_command(monitor, "human-monitor-command",
                              json_pack("{s:s}", "command-line", line), &answer, &err),
              "%s", err.text);
    const char *text = json_string_value(answer);
    cr_assert(!text || !strstr(text, "rror"), "%s", text);
    json_decref(answer);
}

static void begin_epoch(int64_t epoch, struct dirty_bitmap_list *older)
{
    char name[DIRTY_BITMAP_NAME_SIZE];
    dirty_bitmap_name(&names, epoch, name);
    cr_assert(dirty_bitmap_find(monitor, &names, "disk0", older, &err), "%s", err.text);
    cr_assert(dirty_bitmap_switch(monitor, "disk0", older, name, &err), "%s", err.text);
}

static void read_older(const struct dirty_bitmap_list *older)
{
    cr_assert(dirty_bitmap_read(monitor, &names, "disk0", older, SIZE, socket_path, map, &err),
              "%s", err.text);
}

static uint64_t wanted_chunks(void)
{
    uint64_t count = 0;
    for (uint64_t chunk = 0; chunk < chunk_map_count(map); chunk++)
        count += !chunk_map_is_done(map, chunk);
    return count;
}

Test(dirty_bitmap, names_fit_into_qemus_limit)
{
    mirror_names_derive(&names, "ffffffff-ffff-4fff-8fff-ffffffffffff", 63);
    cr_assert_str_eq(names.filter, "cpffffffffffff4fff-63-f");
}

Test(dirty_bitmap, what_was_written_since_an_epoch_began_is_wanted_again)
{
    struct dirty_bitmap_list older;
    write_at(10 * MIB, 4096);
    begin_epoch(1, &older);
    cr_assert_eq(older.count, 0);
    cr_assert_not(older.is_recording);
    write_at(MIB + 512, 512);
    write_at(5 * MIB - 4096, 8192);
    begin_epoch(2, &older);
    cr_assert_eq(older.count, 1);
    cr_assert(older.is_recording);
    write_at(20 * MIB, 4096); /* of epoch 2 */
    read_older(&older);
    cr_assert_eq(chunk_map_wanted(map, 4), 1);
    cr_assert_eq(chunk_map_wanted(map, 19), UINT64_C(1) << 63);
    cr_assert_eq(chunk_map_wanted(map, 20), 1);
    cr_assert_eq(wanted_chunks(), 3);
}

Test(dirty_bitmap, bitmaps_of_several_epochs_are_united)
{
    struct dirty_bitmap_list older;
    begin_epoch(1, &older);
    write_at(0, 4096);
    begin_epoch(2, &older);
    write_at(8 * MIB, 4096);
    begin_epoch(3, &older);
    cr_assert_eq(older.count, 2);
    read_older(&older);
    cr_assert_eq(chunk_map_wanted(map, 0), 1);
    cr_assert_eq(chunk_map_wanted(map, 32), 1);
    cr_assert_eq(wanted_chunks(), 2);
}

Test(dirty_bitmap, a_read_that_was_cut_short_is_cleaned_and_done_again)
{
    struct dirty_bitmap_list older;
    begin_epoch(1, &older);
    write_at(3 * MIB, 4096);
    begin_epoch(2, &older);
    json_t *node =
        json_pack("{s:s, s:s, s:i}", "driver", "null-co", "node-name", names.scratch, "size", SIZE);
    json_t *server =
        json_pack("{s:{s:s, s:{s:s}}}", "addr", "type", "unix", "data", "path", socket_path);
    cr_assert(monitor_command(monitor, "blockdev-add", node, NULL, &err), "%s", err.text);
    cr_assert(monitor_command(monitor, "nbd-server-start", server, NULL, &err), "%s", err.text);
    read_older(&older);
    read_older(&older);
    cr_assert_eq(wanted_chunks(), 1);
    cr_assert_neq(access(socket_path, F_OK), 0);
}

Test(dirty_bitmap, bitmaps_of_others_are_left_alone)
{
    struct dirty_bitmap_list older;
    json_t *other = json_pack("{s:s, s:s}", "node", "disk0", "name", "backup");
    cr_assert(monitor_command(monitor, "block-dirty-bitmap-add", other, NULL, &err));
    begin_epoch(1, &older);
    cr_assert_eq(older.count, 0);
    begin_epoch(2, &older);
    cr_assert_eq(older.count, 1);
    cr_assert_str_eq(older.names[0], "cp0123456789ab4cde-3-b1");
}

Test(dirty_bitmap, when_the_older_ones_are_gone_no_new_one_is_made)
{
    struct dirty_bitmap_list older, now;
    begin_epoch(1, &older);
    begin_epoch(2, &older);
    cr_assert(dirty_bitmap_remove(monitor, "disk0", older.names[0], &err));
    cr_assert_not(dirty_bitmap_switch(monitor, "disk0", &older, "cp0123456789ab4cde-3-b3", &err));
    cr_assert_eq(err.code, ERROR_REFUSED);
    cr_assert(dirty_bitmap_find(monitor, &names, "disk0", &now, &err));
    cr_assert_eq(now.count, 1);
    cr_assert_str_eq(now.names[0], "cp0123456789ab4cde-3-b2");
}

Test(dirty_bitmap, each_connection_to_qemu_is_a_new_generation)
{
    cr_assert_eq(monitor_generation(monitor), 0);
    struct dirty_bitmap_list list;
    cr_assert(dirty_bitmap_find(monitor, &names, "disk0", &list, &err));
    cr_assert_eq(monitor_generation(monitor), 1);
    monitor_disconnect(monitor);
    cr_assert(dirty_bitmap_find(monitor, &names, "disk0", &list, &err));
    cr_assert_eq(monitor_generation(monitor), 2);
}
