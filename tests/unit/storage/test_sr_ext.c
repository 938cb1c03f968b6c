/* SRs of type "ext": images appear whole or not at all, sizes are exact, storage that is not the
 * one opened is left alone. */
#include "agent/storage/sr.h"

#include "agent/process/child.h"
#include "agent/storage/image.h"
#include "agent/storage/size_cache.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define VDI   "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
#define OTHER "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
#define MIB   (UINT64_C(1) << 20)

static char folder[64];
static struct error err;
static struct sr *sr;

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/crosspool-sr-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert(child_start_spawner(&err), "%s", err.text);
    cr_assert(sr_ext_driver.open("local", folder, &sr, &err), "%s", err.text);
}
static void teardown(void)
{
    if (sr)
        sr_ext_driver.close(sr);
    cr_assert(file_remove_tree(folder, &err), "%s", err.text);
}
TestSuite(sr_ext, .init = setup, .fini = teardown, .timeout = 60);

static char *in_folder(const char *name)
{
    return memory_format("%s/%s", folder, name);
}

static bool exists(const char *name)
{
    auto_free char *path = in_folder(name);
    return access(path, F_OK) == 0;
}

static void create(const char *vdi, enum image_format format, uint64_t size)
{
    cr_assert(sr_ext_driver.create(sr, vdi, format, size, &err), "%s", err.text);
}

static struct inventory_sr scan(void)
{
    struct inventory_sr found;
    cr_assert(sr_ext_driver.scan(sr, &found, &err), "%s", err.text);
    return found;
}

static void run(const char *command)
{
    const char *argv[] = {"sh", "-c", command, NULL};
    cr_assert(child_run(argv, 20000, 65536, NULL, &err), "%s", err.text);
}

Test(sr_ext, keeps_its_id)
{
    struct inventory_sr first = scan();
    cr_assert(uuid_is_valid(first.id));
    cr_assert_str_eq(first.name, "local");
    cr_assert_str_eq(first.type, "ext");
    cr_assert_gt(first.size_bytes, first.free_bytes);
    sr_ext_driver.close(sr);
    cr_assert(sr_ext_driver.open("local", folder, &sr, &err), "%s", err.text);
    struct inventory_sr second = scan();
    cr_assert_str_eq(first.id, second.id);
}

Test(sr_ext, creates_images_of_exactly_the_size_in_every_format)
{
    static const uint64_t sizes[] = {512, 1536, 64 * MIB + 512, 10000 * MIB + 1024};
    for (int format = IMAGE_RAW; format <= IMAGE_VHD; format++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char path[LIMIT_PATH + 1];
            enum image_format found;
            create(VDI, (enum image_format)format, sizes[i]);
            cr_assert(sr_ext_driver.locate(sr, VDI, path, &found, &err), "%s", err.text);
            cr_assert_eq(found, (enum image_format)format);
            uint64_t size = 0;
            cr_assert(image_size(path, found, &size, &err), "%s", err.text);
            cr_assert_eq(size, sizes[i]);
            struct stat info;
            cr_assert_eq(stat(path, &info), 0);
            cr_assert_eq(info.st_mode & 0777, 0600);
            cr_assert_lt(info.st_blocks * 512, 4 * (off_t)MIB, "is not sparse");
            cr_assert(sr_ext_driver.remove(sr, VDI, &err), "%s", err.text);
        }
    }
}

Test(sr_ext, creates_a_disk_beyond_what_the_storage_holds_without_allocating)
{
    create(VDI, IMAGE_QCOW2, UINT64_C(64) << 40);
    struct inventory_sr found = scan();
    cr_assert_eq(found.vdis.count, 1);
    cr_assert_eq(((struct inventory_vdi *)found.vdis.items)->size_bytes, UINT64_C(64) << 40);
    free(found.vdis.items);
}

Test(sr_ext, create_is_safe_to_repeat_and_refuses_another_size_or_format)
{
    create(VDI, IMAGE_QCOW2, MIB);
    create(VDI, IMAGE_QCOW2, MIB);
    cr_assert_not(sr_ext_driver.create(sr, VDI, IMAGE_QCOW2, 2 * MIB, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT);
    cr_assert(strstr(err.text, "exists in SR local as qcow2 of 1048576 bytes: expected qcow2 of "
                               "2097152"),
              "%s", err.text);
    cr_assert_not(sr_ext_driver.create(sr, VDI, IMAGE_RAW, MIB, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT);
    cr_assert_not(exists(VDI ".raw"));
}

Test(sr_ext, create_replaces_the_part_of_a_cut_creation)
{
    for (int format = IMAGE_RAW; format <= IMAGE_VHD; format++) {
        auto_free char *part = in_folder("." VDI ".part");
        cr_assert(file_write(part, 0600, "rubbish", 7, &err));
        create(VDI, (enum image_format)format, MIB);
        cr_assert_not(exists("." VDI ".part"));
        cr_assert(sr_ext_driver.remove(sr, VDI, &err));
    }
}

Test(sr_ext, refuses_sizes_that_no_disk_can_have)
{
    cr_assert_not(sr_ext_driver.create(sr, VDI, IMAGE_RAW, 0, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert_not(sr_ext_driver.create(sr, VDI, IMAGE_RAW, 1000, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert_not(sr_ext_driver.create(sr, VDI, IMAGE_RAW, (UINT64_C(64) << 40) + 512, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert_not(sr_ext_driver.create(sr, VDI, IMAGE_VHD, (UINT64_C(2040) << 30) + 512, &err));
    cr_assert_eq(err.code, ERROR_UNSUPPORTED);
    cr_assert_not(sr_ext_driver.create(sr, "../../etc/passwd", IMAGE_RAW, 512, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    struct inventory_sr found = scan();
    cr_assert_eq(found.vdis.count, 0);
    free(found.vdis.items);
}

Test(sr_ext, remove_of_nothing_is_fine_and_takes_the_part_too)
{
    cr_assert(sr_ext_driver.remove(sr, VDI, &err), "%s", err.text);
    auto_free char *part = in_folder("." VDI ".part");
    cr_assert(file_write(part, 0600, "x", 1, &err));
    create(OTHER, IMAGE_RAW, MIB);
    cr_assert(sr_ext_driver.remove(sr, VDI, &err), "%s", err.text);
    cr_assert_not(exists("." VDI ".part"));
    cr_assert(exists(OTHER ".raw"));
}

Test(sr_ext, locate_tells_what_is_missing)
{
    char path[LIMIT_PATH + 1];
    enum image_format format;
    cr_assert_not(sr_ext_driver.locate(sr, VDI, path, &format, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert_str_eq(err.text, "SR local has no VDI " VDI);
}

Test(sr_ext, scan_lists_images_sorted_and_nothing_else)
{
    create(OTHER, IMAGE_VHD, 2 * MIB);
    create(VDI, IMAGE_RAW, MIB);
    auto_free char *stranger = in_folder("notes.raw");
    cr_assert(file_write(stranger, 0600, "x", 1, &err));
    auto_free char *part = in_folder("." VDI ".part");
    cr_assert(file_write(part, 0600, "x", 1, &err));
    struct inventory_sr found = scan();
    const struct inventory_vdi *vdis = found.vdis.items;
    cr_assert_eq(found.vdis.count, 2);
    cr_assert_str_eq(vdis[0].id, VDI);
    cr_assert_eq(vdis[0].format, IMAGE_RAW);
    cr_assert_eq(vdis[0].size_bytes, MIB);
    cr_assert_str_eq(vdis[1].id, OTHER);
    cr_assert_eq(vdis[1].format, IMAGE_VHD);
    cr_assert_eq(vdis[1].size_bytes, 2 * MIB);
    cr_assert_gt(vdis[1].allocated_bytes, 0);
    free(found.vdis.items);
}

Test(sr_ext, scan_leaves_a_damaged_image_out_and_keeps_the_others)
{
    create(VDI, IMAGE_RAW, MIB);
    auto_free char *damaged = in_folder(OTHER ".qcow2");
    cr_assert(file_write(damaged, 0600, "no header", 9, &err));
    struct inventory_sr found = scan();
    cr_assert_eq(found.vdis.count, 1);
    free(found.vdis.items);
}

Test(sr_ext, missing_and_wrong_places_are_named)
{
    struct sr *none;
    auto_free char *missing = in_folder("missing");
    cr_assert_not(sr_ext_driver.open("x", missing, &none, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert(strstr(err.text, missing), "%s", err.text);
    auto_free char *file = in_folder("file");
    cr_assert(file_write(file, 0600, "x", 1, &err));
    cr_assert_not(sr_ext_driver.open("x", file, &none, &err));
    cr_assert(strstr(err.text, "expected a directory"), "%s", err.text);
    cr_assert_not(sr_ext_driver.open("x", "relative", &none, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(file_make_directory(missing, 0700, &err));
    auto_free char *marker = in_folder("missing/.crosspool-sr");
    cr_assert(file_write(marker, 0600, "{\"id\":\"x\"}", 10, &err));
    cr_assert_not(sr_ext_driver.open("x", missing, &none, &err));
    cr_assert(strstr(err.text, "/id: "), "%s", err.text);
}

Test(sr_ext, does_nothing_where_the_storage_is_gone_or_another)
{
    auto_free char *marker = in_folder(".crosspool-sr");
    auto_free char *image = in_folder(VDI ".raw");
    struct inventory_sr found;
    create(VDI, IMAGE_RAW, MIB);
    cr_assert(file_remove(marker, &err));
    cr_assert_not(sr_ext_driver.create(sr, OTHER, IMAGE_RAW, MIB, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert(strstr(err.text, "is the storage mounted?"), "%s", err.text);
    cr_assert_not(sr_ext_driver.remove(sr, VDI, &err));
    cr_assert_not(sr_ext_driver.scan(sr, &found, &err));
    cr_assert_eq(access(image, F_OK), 0);
    const char *other = "{\"id\":\"" OTHER "\"}";
    cr_assert(file_write(marker, 0600, other, strlen(other), &err));
    cr_assert_not(sr_ext_driver.create(sr, OTHER, IMAGE_RAW, MIB, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT);
}

Test(sr_ext, identify_sees_through_links_and_knows_strangers)
{
    char vdi[UUID_SIZE];
    create(VDI, IMAGE_RAW, MIB);
    auto_free char *image = in_folder(VDI ".raw");
    auto_free char *alias = in_folder("alias");
    auto_free char *stranger = in_folder("stranger.raw");
    auto_free char *deeper = in_folder("deeper/" OTHER ".raw");
    cr_assert(sr_ext_driver.identify(sr, image, vdi));
    cr_assert_str_eq(vdi, VDI);
    cr_assert_eq(symlink(folder, alias), 0);
    auto_free char *through = in_folder("alias/" VDI ".raw");
    cr_assert(sr_ext_driver.identify(sr, through, vdi));
    cr_assert(file_write(stranger, 0600, "x", 1, &err));
    cr_assert_not(sr_ext_driver.identify(sr, stranger, vdi));
    auto_free char *directory = in_folder("deeper");
    cr_assert(file_make_directory(directory, 0700, &err));
    cr_assert(file_write(deeper, 0600, "x", 1, &err));
    cr_assert_not(sr_ext_driver.identify(sr, deeper, vdi));
    cr_assert_not(sr_ext_driver.identify(sr, "/nonexistent", vdi));
}

/* A small filesystem of its own, mounted at <folder>/small; needs to be root. */
static bool mount_small(const char *options, char **path)
{
    *path = in_folder("small");
    cr_assert(file_make_directory(*path, 0700, &err));
    return mount("none", *path, "tmpfs", 0, options) == 0;
}

Test(sr_ext, full_storage_is_told_as_no_space)
{
    auto_free char *small = NULL;
    struct sr *full;
    if (!mount_small("size=64k,mode=700", &small))
        cr_skip("needs to mount a tmpfs");
    cr_assert(sr_ext_driver.open("full", small, &full, &err), "%s", err.text);
    auto_free char *fill = memory_format("cat /dev/zero > %s/fill 2>/dev/null || true", small);
    run(fill);
    bool is_created = sr_ext_driver.create(full, VDI, IMAGE_VHD, MIB, &err);
    struct error why = err;
    auto_free char *part = memory_format("%s/." VDI ".part", small);
    bool has_part = access(part, F_OK) == 0;
    sr_ext_driver.close(full);
    umount(small);
    cr_assert_not(is_created);
    cr_assert_eq(why.code, ERROR_NO_SPACE, "%s", why.text);
    cr_assert_not(has_part);
}

Test(sr_ext, read_only_storage_can_be_scanned_and_refuses_creation)
{
    auto_free char *small = NULL;
    struct sr *frozen;
    if (!mount_small("size=1m,mode=700", &small))
        cr_skip("needs to mount a tmpfs");
    bool is_refused = false, is_scanned = false;
    struct error why = {0};
    bool is_open = sr_ext_driver.open("frozen", small, &frozen, &err);
    if (is_open && mount("none", small, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0) {
        struct inventory_sr found;
        is_scanned = sr_ext_driver.scan(frozen, &found, &err);
        is_refused = !sr_ext_driver.create(frozen, VDI, IMAGE_RAW, MIB, &why);
    }
    if (is_open)
        sr_ext_driver.close(frozen);
    umount(small);
    cr_assert(is_scanned, "%s", err.text);
    cr_assert(is_refused);
    cr_assert(strstr(why.text, "Read-only file system"), "%s", why.text);
}

Test(sr_ext, images_are_examined_again_only_when_their_size_may_have_changed)
{
    struct size_cache *cache = size_cache_new();
    uint64_t size = 0;
    for (int format = IMAGE_QCOW2; format <= IMAGE_VHD; format++) {
        unsigned long before = size_cache_examined(cache);
        create(VDI, (enum image_format)format, 8 * MIB);
        char path[LIMIT_PATH + 1];
        enum image_format found;
        cr_assert(sr_ext_driver.locate(sr, VDI, path, &found, &err));
        const char *name = found == IMAGE_VHD ? "vpc" : "qcow2";
        cr_assert(size_cache_get(cache, VDI, path, found, &size));
        cr_assert_eq(size, 8 * MIB);
        auto_free char *write = memory_format("qemu-io -f %s -c 'write -P 1 0 4M' %s", name, path);
        run(write);
        cr_assert(size_cache_get(cache, VDI, path, found, &size));
        cr_assert_eq(size_cache_examined(cache) - before, 1, "a guest's writes do not count");
        if (found == IMAGE_QCOW2) {
            auto_free char *resize = memory_format("qemu-img resize -q -f qcow2 %s 16M", path);
            run(resize);
            cr_assert(size_cache_get(cache, VDI, path, found, &size));
            cr_assert_eq(size, 16 * MIB);
        }
        cr_assert(sr_ext_driver.remove(sr, VDI, &err));
    }
    size_cache_sweep(cache);
    size_cache_sweep(cache);
    size_cache_free(cache);
}

Test(sr_ext, a_set_finds_disks_by_sr_id_and_leaves_out_what_it_cannot_scan)
{
    struct sr_config configs[2] = {{.name = "one", .type = "ext"}, {.name = "two", .type = "ext"}};
    auto_free char *second = in_folder("second");
    cr_assert(file_make_directory(second, 0700, &err));
    strcpy(configs[0].location, folder);
    strcpy(configs[1].location, second);
    struct sr_set *set;
    cr_assert(sr_set_open(configs, 2, &set, &err), "%s", err.text);
    struct inventory inventory = {0};
    cr_assert(sr_set_scan(set, &inventory, &err));
    cr_assert_eq(inventory.srs.count, 2);
    const struct inventory_sr *srs = inventory.srs.items;
    cr_assert(sr_set_create(set, srs[1].id, VDI, IMAGE_RAW, MIB, &err), "%s", err.text);
    char path[LIMIT_PATH + 1], found_sr[UUID_SIZE], found_vdi[UUID_SIZE];
    enum image_format format;
    cr_assert(sr_set_locate(set, srs[1].id, VDI, path, &format, &err), "%s", err.text);
    cr_assert(sr_set_identify(set, path, found_sr, found_vdi));
    cr_assert_str_eq(found_sr, srs[1].id);
    cr_assert_str_eq(found_vdi, VDI);
    cr_assert_not(sr_set_locate(set, OTHER, VDI, path, &format, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert(sr_set_remove(set, srs[1].id, VDI, &err));
    free(inventory.srs.items);
    cr_assert(file_remove_tree(second, &err));
    cr_assert(sr_set_scan(set, &inventory, &err));
    cr_assert_eq(inventory.srs.count, 1);
    cr_assert_str_eq(((struct inventory_sr *)inventory.srs.items)->name, "one");
    free(inventory.srs.items);
    sr_set_close(set);
}

Test(sr_ext, a_set_refuses_one_storage_twice_and_unknown_types)
{
    struct sr_config configs[2] = {{.name = "one", .type = "ext"}, {.name = "two", .type = "ext"}};
    strcpy(configs[0].location, folder);
    strcpy(configs[1].location, folder);
    struct sr_set *set;
    cr_assert_not(sr_set_open(configs, 2, &set, &err));
    cr_assert_str_eq(err.text, "SR two: is the same storage as SR one");
    strcpy(configs[0].type, "zfs");
    cr_assert_not(sr_set_open(configs, 1, &set, &err));
    cr_assert_str_eq(err.text, "SR one: SR type \"zfs\": expected \"ext\"");
}
