/* SR of type "ext": images as files <vdi>.raw|qcow2|vhd in a directory. The marker file
 * .crosspool-sr holds the SR's durable id; where it is gone the storage is not the one that was
 * opened (an unmounted directory), and nothing is done there. */
#include "agent/storage/sr.h"

#include "agent/storage/image.h"
#include "agent/storage/size_cache.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define MARKER_NAME ".crosspool-sr"
enum { MARKER_LIMIT = 4096, FORMAT_COUNT = IMAGE_VHD + 1, FULL_BYTES = 1 << 20 };

struct sr {
    char name[LIMIT_NAME + 1];
    char *location; /* as configured, absolute */
    char id[UUID_SIZE];
    pthread_mutex_t mutex; /* one change or scan at a time; guards `sizes` */
    struct size_cache *sizes;
};

struct marker {
    char id[UUID_SIZE];
};
static const struct json_field marker_fields[] = {{.name = "id",
                                                   .kind = JSON_FIELD_UUID,
                                                   .offset = offsetof(struct marker, id),
                                                   .is_required = true},
                                                  {0}};

/* -- the marker */

static bool read_marker(const char *location, struct marker *out, struct error *err)
{
    auto_free char *path = memory_format("%s/" MARKER_NAME, location);
    auto_free char *text = NULL;
    size_t size = 0;
    if (!file_read(path, MARKER_LIMIT, &text, &size, err))
        return false;
    *out = (struct marker){0};
    return json_decode_text(text, size, marker_fields, out, err) || error_prefix(err, "%s", path);
}

/* Two openers at once agree on one id: only the first link succeeds. */
static bool make_marker(const char *location, struct error *err)
{
    struct marker marker;
    uuid_make(marker.id);
    auto_free char *path = memory_format("%s/" MARKER_NAME, location);
    auto_free char *temporary = memory_format("%s.%s", path, marker.id);
    auto_free char *text = json_encode_text(marker_fields, &marker);
    if (!file_write(temporary, 0644, text, strlen(text), err))
        return error_prefix(err, "cannot make the SR's marker");
    bool is_made = link(temporary, path) == 0 || errno == EEXIST;
    if (!is_made)
        error_set_errno(err, ERROR_INTERNAL, errno, "cannot make the SR's marker %s", path);
    struct error dropped;
    bool is_clean = file_remove(temporary, is_made ? err : &dropped);
    return is_made && is_clean;
}

static bool check_directory(const char *location, struct error *err)
{
    struct stat info;
    if (location[0] != '/')
        return error_set(err, ERROR_INVALID, "location %s: expected an absolute path", location);
    if (stat(location, &info) < 0)
        return error_set_errno(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_INTERNAL, errno,
                               "directory %s", location);
    if (!S_ISDIR(info.st_mode))
        return error_set(err, ERROR_INVALID, "%s: expected a directory", location);
    return true;
}

static bool ext_open(const char *name, const char *location, struct sr **out, struct error *err)
{
    struct marker marker;
    if (strlen(name) > LIMIT_NAME)
        return error_set(err, ERROR_INVALID, "SR name: expected at most %d bytes", LIMIT_NAME);
    if (!check_directory(location, err))
        return false;
    if (!read_marker(location, &marker, err)) {
        if (err->code != ERROR_NOT_FOUND)
            return false;
        if (!make_marker(location, err) || !read_marker(location, &marker, err))
            return false;
    }
    struct sr *sr = memory_alloc(sizeof *sr);
    snprintf(sr->name, sizeof sr->name, "%s", name);
    snprintf(sr->id, sizeof sr->id, "%s", marker.id);
    sr->location = memory_copy_text(location);
    sr->sizes = size_cache_new();
    pthread_mutex_init(&sr->mutex, NULL);
    *out = sr;
    return true;
}

static void ext_close(struct sr *sr)
{
    pthread_mutex_destroy(&sr->mutex);
    size_cache_free(sr->sizes);
    free(sr->location);
    free(sr);
}

static bool check_is_here(const struct sr *sr, struct error *err)
{
    struct marker marker;
    if (!read_marker(sr->location, &marker, err)) {
        if (err->code == ERROR_NOT_FOUND)
            return error_set(err, ERROR_NOT_FOUND,
                             "SR %s: %s/" MARKER_NAME " is gone: is the storage mounted?", sr->name,
                             sr->location);
        return error_prefix(err, "SR %s", sr->name);
    }
    if (strcmp(marker.id, sr->id) != 0)
        return error_set(err, ERROR_CONFLICT, "SR %s: %s now holds SR %s: expected %s", sr->name,
                         sr->location, marker.id, sr->id);
    return true;
}

/* -- names of images */

/* "<uuid>.<extension>" of a known format. */
static bool parse_file_name(const char *file_name, char vdi[UUID_SIZE], enum image_format *format)
{
    if (strlen(file_name) < UUID_SIZE || file_name[UUID_SIZE - 1] != '.')
        return false;
    char id[UUID_SIZE];
    memcpy(id, file_name, UUID_SIZE - 1);
    id[UUID_SIZE - 1] = '\0';
    if (!uuid_is_valid(id))
        return false;
    for (int i = 0; i < FORMAT_COUNT; i++) {
        if (strcmp(file_name + UUID_SIZE, image_extension(i)) == 0) {
            snprintf(vdi, UUID_SIZE, "%s", id);
            *format = (enum image_format)i;
            return true;
        }
    }
    return false;
}

static bool check_vdi(const char *vdi, struct error *err)
{
    return uuid_is_valid(vdi) ||
           error_set(err, ERROR_INVALID, "VDI \"%.40s\": expected a UUID", vdi);
}

static char *image_path(const struct sr *sr, const char *vdi, enum image_format format)
{
    return memory_format("%s/%s.%s", sr->location, vdi, image_extension(format));
}

/* What an image is called until it is whole. */
static char *part_path(const struct sr *sr, const char *vdi)
{
    return memory_format("%s/.%s.part", sr->location, vdi);
}

static bool find(const struct sr *sr, const char *vdi, enum image_format *format, struct error *err)
{
    for (int i = 0; i < FORMAT_COUNT; i++) {
        auto_free char *path = image_path(sr, vdi, (enum image_format)i);
        if (access(path, F_OK) == 0) {
            *format = (enum image_format)i;
            return true;
        }
        if (errno != ENOENT)
            return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    }
    return error_set(err, ERROR_NOT_FOUND, "SR %s has no VDI %s", sr->name, vdi);
}

/* -- scan */

/* True with *is_whole false: skip it (it is damaged, or just went away). */
static bool measure(struct sr *sr, const char *vdi, enum image_format format,
                    struct inventory_vdi *out, bool *is_whole, struct error *err)
{
    auto_free char *path = image_path(sr, vdi, format);
    struct stat info;
    *is_whole = false;
    if (stat(path, &info) < 0)
        return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    *out =
        (struct inventory_vdi){.format = format, .allocated_bytes = (uint64_t)info.st_blocks * 512};
    snprintf(out->id, sizeof out->id, "%s", vdi);
    *is_whole = size_cache_get(sr->sizes, vdi, path, format, &out->size_bytes) &&
                out->size_bytes <= (uint64_t)LIMIT_SIZE_BYTES;
    return true;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct inventory_vdi *)a)->id, ((const struct inventory_vdi *)b)->id);
}

struct vdi_list {
    struct inventory_vdi *items;
    size_t count, capacity;
};

static struct inventory_vdi *next_slot(struct vdi_list *list)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->items = memory_resize(list->items, list->capacity, sizeof *list->items);
    }
    return &list->items[list->count];
}

static bool list_vdis(struct sr *sr, DIR *directory, struct vdi_list *list, struct error *err)
{
    for (;;) {
        char vdi[UUID_SIZE];
        enum image_format format;
        bool is_whole;
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry)
            return errno == 0 || error_set_errno(err, ERROR_INTERNAL, errno, "%s", sr->location);
        if (!parse_file_name(entry->d_name, vdi, &format))
            continue;
        if (list->count == LIMIT_VDIS)
            return error_set(err, ERROR_NO_SPACE, "SR %s: more than %d images", sr->name,
                             LIMIT_VDIS);
        if (!measure(sr, vdi, format, next_slot(list), &is_whole, err))
            return false;
        list->count += is_whole;
    }
}

static bool scan_locked(struct sr *sr, struct inventory_sr *out, struct vdi_list *list,
                        struct error *err)
{
    struct statvfs space;
    if (!check_is_here(sr, err))
        return false;
    if (statvfs(sr->location, &space) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", sr->location);
    DIR *directory = opendir(sr->location);
    if (!directory)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", sr->location);
    bool is_done = list_vdis(sr, directory, list, err);
    closedir(directory);
    if (!is_done)
        return false;
    size_cache_sweep(sr->sizes);
    out->size_bytes = (uint64_t)space.f_blocks * space.f_frsize;
    out->free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    return true;
}

static bool ext_scan(struct sr *sr, struct inventory_sr *out, struct error *err)
{
    struct inventory_sr found = {.type = "ext"};
    struct vdi_list list = {0};
    pthread_mutex_lock(&sr->mutex);
    bool is_done = scan_locked(sr, &found, &list, err);
    pthread_mutex_unlock(&sr->mutex);
    if (!is_done) {
        free(list.items);
        return false;
    }
    if (list.count)
        qsort(list.items, list.count, sizeof *list.items, by_id);
    snprintf(found.id, sizeof found.id, "%s", sr->id);
    snprintf(found.name, sizeof found.name, "%s", sr->name);
    found.vdis = (struct json_array){list.items, list.count};
    *out = found;
    return true;
}

/* -- create, remove, find */

static bool sync_directory(const struct sr *sr, struct error *err)
{
    auto_close int fd = open(sr->location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", sr->location);
    return true;
}

static bool check_same(const struct sr *sr, const char *vdi, enum image_format format,
                       uint64_t size_bytes, enum image_format found, struct error *err)
{
    uint64_t found_bytes = 0;
    auto_free char *path = image_path(sr, vdi, found);
    if (!image_size(path, found, &found_bytes, err))
        return false;
    if (found == format && found_bytes == size_bytes)
        return true;
    return error_set(err, ERROR_CONFLICT,
                     "VDI %s exists in SR %s as %s of %llu bytes: expected %s of %llu", vdi,
                     sr->name, image_format_names[found], (unsigned long long)found_bytes,
                     image_format_names[format], (unsigned long long)size_bytes);
}

/* qemu-img tells a full disk only in words. */
static void blame_space(const struct sr *sr, struct error *err)
{
    struct statvfs space;
    if (err->code == ERROR_INTERNAL && statvfs(sr->location, &space) == 0 &&
        (uint64_t)space.f_bavail * space.f_frsize < FULL_BYTES)
        err->code = ERROR_NO_SPACE;
}

static bool create_new(struct sr *sr, const char *vdi, enum image_format format,
                       uint64_t size_bytes, struct error *err)
{
    auto_free char *part = part_path(sr, vdi);
    auto_free char *path = image_path(sr, vdi, format);
    if (!file_remove(part, err)) /* of a creation that was cut */
        return false;
    if (!image_create(part, format, size_bytes, err)) {
        blame_space(sr, err);
        unlink(part);
        return false;
    }
    if (renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) < 0) {
        int saved = errno;
        unlink(part);
        return error_set_errno(err, ERROR_INTERNAL, saved, "cannot name %s", path);
    }
    return true;
}

static bool create_locked(struct sr *sr, const char *vdi, enum image_format format,
                          uint64_t size_bytes, struct error *err)
{
    enum image_format found;
    if (!check_is_here(sr, err))
        return false;
    if (find(sr, vdi, &found, err)) {
        if (!check_same(sr, vdi, format, size_bytes, found, err))
            return false;
    } else if (err->code != ERROR_NOT_FOUND || !create_new(sr, vdi, format, size_bytes, err)) {
        return false;
    }
    return sync_directory(sr, err);
}

static bool ext_create(struct sr *sr, const char *vdi, enum image_format format,
                       uint64_t size_bytes, struct error *err)
{
    if (!check_vdi(vdi, err))
        return false;
    pthread_mutex_lock(&sr->mutex);
    bool is_done = create_locked(sr, vdi, format, size_bytes, err);
    pthread_mutex_unlock(&sr->mutex);
    return is_done || error_prefix(err, "SR %s", sr->name);
}

static bool remove_locked(struct sr *sr, const char *vdi, struct error *err)
{
    if (!check_is_here(sr, err))
        return false;
    for (int i = 0; i < FORMAT_COUNT; i++) {
        auto_free char *path = image_path(sr, vdi, (enum image_format)i);
        if (!file_remove(path, err))
            return false;
    }
    auto_free char *part = part_path(sr, vdi);
    return file_remove(part, err) && sync_directory(sr, err);
}

static bool ext_remove(struct sr *sr, const char *vdi, struct error *err)
{
    if (!check_vdi(vdi, err))
        return false;
    pthread_mutex_lock(&sr->mutex);
    bool is_done = remove_locked(sr, vdi, err);
    pthread_mutex_unlock(&sr->mutex);
    return is_done;
}

static bool ext_locate(struct sr *sr, const char *vdi, char path[LIMIT_PATH + 1],
                       enum image_format *format, struct error *err)
{
    enum image_format found;
    if (!check_vdi(vdi, err) || !find(sr, vdi, &found, err))
        return false;
    auto_free char *where = image_path(sr, vdi, found);
    if (strlen(where) > LIMIT_PATH)
        return error_set(err, ERROR_INVALID, "path of VDI %s: longer than %d bytes", vdi,
                         LIMIT_PATH);
    snprintf(path, LIMIT_PATH + 1, "%s", where);
    *format = found;
    return true;
}

static bool ext_identify(struct sr *sr, const char *path, char vdi[UUID_SIZE])
{
    enum image_format format;
    auto_free char *real = realpath(path, NULL);
    auto_free char *home = realpath(sr->location, NULL);
    if (!real || !home)
        return false;
    char *slash = strrchr(real, '/');
    *slash = '\0';
    return strcmp(*real ? real : "/", home) == 0 && parse_file_name(slash + 1, vdi, &format);
}

const struct sr_driver sr_ext_driver = {
    .type = "ext",
    .open = ext_open,
    .close = ext_close,
    .scan = ext_scan,
    .create = ext_create,
    .remove = ext_remove,
    .locate = ext_locate,
    .identify = ext_identify,
};
