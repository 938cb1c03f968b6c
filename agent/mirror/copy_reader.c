/* Reading a live disk from outside QEMU. */
#include "agent/mirror/copy_reader.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { DIRECT_ALIGNMENT = 4096 };

static bool open_file(struct copy_reader *reader, const char *path, struct error *err)
{
    reader->file = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->file < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "open the source disk %s", path);
    off_t end = lseek(reader->file, 0, SEEK_END);
    if (end < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "size of the source disk %s", path);
    if ((uint64_t)end < reader->size_bytes)
        return error_set(err, ERROR_INVALID, "source disk %s has %lld bytes, expected %llu", path,
                         (long long)end, (unsigned long long)reader->size_bytes);
    /* Chunks are read whole; readahead would pull the disk into the page cache. */
    (void)posix_fadvise(reader->file, 0, 0, POSIX_FADV_RANDOM);
    reader->direct = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    void *map = mmap(NULL, reader->size_bytes, PROT_READ, MAP_SHARED, reader->file, 0);
    reader->map = map == MAP_FAILED ? NULL : map;
    return true;
}

static bool open_nbd(struct copy_reader *reader, const struct copier_source *source,
                     bool can_find_holes, struct error *err)
{
    const char *context = can_find_holes ? LIBNBD_CONTEXT_BASE_ALLOCATION : NULL;
    if (!nbd_client_open(&reader->nbd, source->path, "", context, err))
        return error_prefix(err, "reader of the source disk");
    int64_t size = nbd_get_size(reader->nbd.handle);
    if (size < 0 || (uint64_t)size < reader->size_bytes)
        return error_set(err, ERROR_INVALID, "source disk at %s has %lld bytes, expected %llu",
                         source->path, (long long)size, (unsigned long long)reader->size_bytes);
    return true;
}

bool copy_reader_open(struct copy_reader *reader, const struct copier_source *source,
                      bool can_find_holes, struct error *err)
{
    *reader = COPY_READER_NONE;
    reader->size_bytes = source->size_bytes;
    bool is_open = source->reader == READER_FILE ? open_file(reader, source->path, err)
                                                 : open_nbd(reader, source, can_find_holes, err);
    if (!is_open)
        copy_reader_close(reader);
    return is_open;
}

void copy_reader_interrupt(struct copy_reader *reader)
{
    nbd_client_interrupt(&reader->nbd);
}

void copy_reader_close(struct copy_reader *reader)
{
    if (reader->map)
        munmap((void *)reader->map, reader->size_bytes);
    if (reader->file >= 0)
        close(reader->file);
    if (reader->direct >= 0)
        close(reader->direct);
    nbd_client_close(&reader->nbd);
    *reader = COPY_READER_NONE;
}

static bool read_plain(struct copy_reader *reader, char *data, uint64_t offset, size_t size,
                       struct error *err)
{
    while (size > 0) {
        ssize_t got = pread(reader->file, data, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, ERROR_INTERNAL, errno, "read the source disk at byte %llu",
                                   (unsigned long long)offset);
        if (got == 0)
            return error_set(err, ERROR_INTERNAL, "the source disk ends at byte %llu of %llu",
                             (unsigned long long)offset, (unsigned long long)reader->size_bytes);
        data += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return true;
}

/* Asking by reading without waiting would start readahead. */
static bool is_cached(const struct copy_reader *reader, uint64_t offset, size_t size)
{
    enum { PAGE_BYTES = 4096, PAGES = COPY_CHUNK_BYTES / PAGE_BYTES };
    unsigned char pages[PAGES];
    size_t count = (size + PAGE_BYTES - 1) / PAGE_BYTES;
    if (!reader->map || mincore((char *)reader->map + offset, size, pages) != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!(pages[i] & 1))
            return false;
    }
    return true;
}

bool copy_reader_read(struct copy_reader *reader, void *data, uint64_t offset, size_t size,
                      struct error *err)
{
    if (is_cached(reader, offset, size))
        return read_plain(reader, data, offset, size, err);
    bool is_aligned = offset % DIRECT_ALIGNMENT == 0 && size % DIRECT_ALIGNMENT == 0;
    if (reader->direct >= 0 && is_aligned &&
        pread(reader->direct, data, size, (off_t)offset) == (ssize_t)size)
        return true;
    if (!read_plain(reader, data, offset, size, err))
        return false;
    (void)posix_fadvise(reader->file, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
    return true;
}

/* Marks the chunks that lie wholly in the zero run [start, end) of a window at `offset`. */
static void mark_zeroes(uint8_t *bits, uint64_t offset, uint64_t size, uint64_t start, uint64_t end)
{
    uint64_t window_end = offset + size;
    uint64_t first = (start - offset + COPY_CHUNK_BYTES - 1) / COPY_CHUNK_BYTES;
    /* The disk's last chunk may be short: it counts when the run reaches the window's end. */
    uint64_t last = end >= window_end ? (size + COPY_CHUNK_BYTES - 1) / COPY_CHUNK_BYTES
                                      : (end - offset) / COPY_CHUNK_BYTES;
    for (uint64_t i = first; i < last; i++)
        bits[i / 8] |= (uint8_t)(1 << i % 8);
}

static bool find_file_holes(struct copy_reader *reader, uint64_t offset, uint64_t size,
                            uint8_t *bits)
{
    uint64_t at = offset, end = offset + size;
    while (at < end) {
        off_t data = lseek(reader->file, (off_t)at, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return true; /* holes cannot be told here: all of it is data */
        uint64_t hole_end = data < 0 || (uint64_t)data > end ? end : (uint64_t)data;
        if (hole_end > at)
            mark_zeroes(bits, offset, size, at, hole_end);
        off_t hole = hole_end < end ? lseek(reader->file, (off_t)hole_end, SEEK_HOLE) : (off_t)end;
        if (hole <= (off_t)at)
            return true;
        at = (uint64_t)hole;
    }
    return true;
}

struct extent_walk {
    uint64_t offset, size; /* window */
    uint64_t at;           /* answered up to here */
    uint64_t zero_from;    /* start of the current run of zeroes; == at: none */
    uint8_t *bits;
};

static int on_extents(void *user_data, const char *context, uint64_t offset, uint32_t *entries,
                      size_t count, int *error)
{
    struct extent_walk *walk = user_data;
    (void)error;
    if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || offset != walk->at)
        return 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        uint64_t end = walk->at + entries[i];
        if (!(entries[i + 1] & LIBNBD_STATE_ZERO))
            walk->zero_from = end;
        else
            mark_zeroes(walk->bits, walk->offset, walk->size, walk->zero_from, end);
        walk->at = end;
    }
    return 0;
}

static bool find_nbd_zeroes(struct copy_reader *reader, uint64_t offset, uint64_t size,
                            uint8_t *bits, struct error *err)
{
    if (nbd_can_meta_context(reader->nbd.handle, LIBNBD_CONTEXT_BASE_ALLOCATION) != 1)
        return true;
    struct extent_walk walk = {
        .offset = offset, .size = size, .at = offset, .zero_from = offset, .bits = bits};
    while (walk.at < offset + size) {
        uint64_t before = walk.at;
        nbd_extent_callback callback = {.callback = on_extents, .user_data = &walk};
        if (nbd_block_status(reader->nbd.handle, offset + size - before, before, callback, 0) !=
            0) {
            nbd_client_error(err, "allocation of the source disk");
            err->code = ERROR_INTERNAL;
            return false;
        }
        if (walk.at == before)
            return error_set(err, ERROR_INTERNAL, "the source disk's reader told no allocation");
    }
    return true;
}

bool copy_reader_find_zeroes(struct copy_reader *reader, uint64_t offset, uint64_t size,
                             uint8_t *bits, struct error *err)
{
    return reader->file >= 0 ? find_file_holes(reader, offset, size, bits)
                             : find_nbd_zeroes(reader, offset, size, bits, err);
}
