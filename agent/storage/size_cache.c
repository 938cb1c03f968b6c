/* Virtual sizes of images; see size_cache.h. */
#include "agent/storage/size_cache.h"

#include "agent/storage/image.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

struct image_entry {
    char vdi[UUID_SIZE];
    enum image_format format;
    struct image_mark mark;
    bool is_known; /* false: damaged */
    uint64_t size_bytes;
    bool is_used; /* since the last sweep */
    struct image_entry *next;
};
struct size_cache {
    void *tree; /* tsearch by VDI and format */
    struct image_entry *first;
    unsigned long examined;
};

static int compare(const void *a, const void *b)
{
    const struct image_entry *left = a, *right = b;
    int order = strcmp(left->vdi, right->vdi);
    return order ? order : (int)left->format - (int)right->format;
}

struct size_cache *size_cache_new(void)
{
    return memory_alloc(sizeof(struct size_cache));
}

void size_cache_free(struct size_cache *cache)
{
    while (cache->first) {
        struct image_entry *entry = cache->first;
        cache->first = entry->next;
        tdelete(entry, &cache->tree, compare);
        free(entry);
    }
    free(cache);
}

static struct image_entry *find_or_add(struct size_cache *cache, const char *vdi,
                                       enum image_format format)
{
    struct image_entry *entry = memory_alloc(sizeof *entry);
    snprintf(entry->vdi, sizeof entry->vdi, "%s", vdi);
    entry->format = format;
    struct image_entry **found = tsearch(entry, &cache->tree, compare);
    if (!found)
        abort(); /* out of memory */
    if (*found != entry) {
        free(entry);
        return *found;
    }
    entry->next = cache->first;
    cache->first = entry;
    return entry;
}

static bool examine(struct size_cache *cache, struct image_entry *entry, const char *path,
                    struct error *err)
{
    struct image_mark mark;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    if (!image_mark(fd, entry->format, &mark, err))
        return error_prefix(err, "%s", path);
    if (memcmp(&mark, &entry->mark, sizeof mark) == 0)
        return true;
    cache->examined++;
    entry->is_known = false;
    if (!image_size(path, entry->format, &entry->size_bytes, err)) {
        entry->mark = mark; /* not asked again, and not logged again, until it changes */
        return false;
    }
    entry->mark = mark;
    entry->is_known = true;
    return true;
}

bool size_cache_get(struct size_cache *cache, const char *vdi, const char *path,
                    enum image_format format, uint64_t *size_bytes)
{
    struct error err;
    if (format == IMAGE_RAW) /* costs nothing */
        return image_size(path, format, size_bytes, &err);
    struct image_entry *entry = find_or_add(cache, vdi, format);
    entry->is_used = true;
    if (!examine(cache, entry, path, &err))
        log_warning("not in the inventory: %s", err.text);
    if (!entry->is_known)
        return false;
    *size_bytes = entry->size_bytes;
    return true;
}

void size_cache_sweep(struct size_cache *cache)
{
    for (struct image_entry **link = &cache->first; *link;) {
        struct image_entry *entry = *link;
        if (entry->is_used) {
            entry->is_used = false;
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        tdelete(entry, &cache->tree, compare);
        free(entry);
    }
}

unsigned long size_cache_examined(const struct size_cache *cache)
{
    return cache->examined;
}
