/* The durable map of flushed chunks: a checksummed header page, then one bit per chunk. */
#include "agent/mirror/chunk_map.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "base/x509.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAGE_BYTES = 4096, PAGE_CHUNKS = 8 * PAGE_BYTES, DIGEST_SIZE = 65 };
#define MAP_MAGIC "XPCHUNK1"

struct header {
    char magic[8];
    uint64_t size_bytes;
    uint64_t chunk_bytes;
    char vdi[40];
    char digest[72]; /* SHA-256 in hex of all that stands before it */
};

struct chunk_map {
    int fd;
    uint64_t size_bytes, chunk_bytes;
    uint64_t count;      /* chunks */
    uint64_t done_bytes; /* of the disk, block by block */
    size_t bits_size;    /* bytes, whole pages */
    uint8_t *bits;
    bool *is_dirty;   /* per page of bits: differs from the file */
    uint64_t *wanted; /* per chunk that is not done: its blocks to copy; 0 = all. Address space
                         only: untouched pages cost nothing */
};

static uint64_t chunk_size(const struct chunk_map *map, uint64_t chunk)
{
    uint64_t left = map->size_bytes - chunk * map->chunk_bytes;
    return left < map->chunk_bytes ? left : map->chunk_bytes;
}

/* Bytes of the chunk that the blocks cover; the last chunk may end inside a block. */
static uint64_t blocks_size(const struct chunk_map *map, uint64_t chunk, uint64_t blocks)
{
    uint64_t block_bytes = map->chunk_bytes / CHUNK_MAP_BLOCKS, size = chunk_size(map, chunk);
    uint64_t last = (size - 1) / block_bytes;
    uint64_t bytes = (uint64_t)__builtin_popcountll(blocks) * block_bytes;
    if (blocks >> last & 1)
        bytes -= (last + 1) * block_bytes - size;
    return bytes;
}

/* All blocks that exist in the chunk. */
static uint64_t all_blocks(const struct chunk_map *map, uint64_t chunk)
{
    uint64_t block_bytes = map->chunk_bytes / CHUNK_MAP_BLOCKS;
    uint64_t blocks = (chunk_size(map, chunk) + block_bytes - 1) / block_bytes;
    return blocks == CHUNK_MAP_BLOCKS ? UINT64_MAX : (UINT64_C(1) << blocks) - 1;
}

static void header_fill(struct header *header, const char *vdi, uint64_t size_bytes,
                        uint64_t chunk_bytes)
{
    memset(header, 0, sizeof *header);
    memcpy(header->magic, MAP_MAGIC, sizeof header->magic);
    header->size_bytes = size_bytes;
    header->chunk_bytes = chunk_bytes;
    memccpy(header->vdi, vdi, 0, sizeof header->vdi - 1);
    char digest[DIGEST_SIZE];
    x509_sha256_hex(header, offsetof(struct header, digest), digest);
    memcpy(header->digest, digest, sizeof digest);
}

static bool fsync_directory_of(const char *path, struct error *err)
{
    auto_free char *copy = memory_copy_text(path);
    auto_close int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "sync the directory of %s", path);
    return true;
}

/* A new empty map under a temporary name, with its space allocated so that saving cannot run out of
 * it, then renamed into place. */
static bool create_file(const char *path, const struct header *header, size_t bits_size, int *out,
                        struct error *err)
{
    auto_free char *temporary = memory_format("%s.new", path);
    auto_close int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "create %s", temporary);
    int failed = posix_fallocate(fd, 0, (off_t)(PAGE_BYTES + bits_size));
    if (failed != 0)
        return error_set_errno(err, ERROR_INTERNAL, failed, "allocate %s", temporary);
    if (pwrite(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header || fsync(fd) != 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "write %s", temporary);
    if (rename(temporary, path) != 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "rename %s", temporary);
    if (!fsync_directory_of(path, err))
        return false;
    *out = take_fd(&fd);
    return true;
}

static bool read_all(int fd, void *data, size_t size, off_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, (char *)data + done, size - done, offset + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool write_all(int fd, const void *data, size_t size, off_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(fd, (const char *)data + done, size - done, offset + (off_t)done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        done += (size_t)put;
    }
    return true;
}

/* Opens the map of just this disk; *out = -1 when there is none. */
static bool open_file(const char *path, const struct header *expected, size_t bits_size,
                      uint8_t *bits, int *out, struct error *err)
{
    *out = -1;
    auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "open %s", path);
    struct header header;
    struct stat st;
    bool is_ours = fstat(fd, &st) == 0 && (uint64_t)st.st_size == PAGE_BYTES + bits_size &&
                   read_all(fd, &header, sizeof header, 0) &&
                   memcmp(&header, expected, sizeof header) == 0;
    if (!is_ours)
        return true;
    if (!read_all(fd, bits, bits_size, PAGE_BYTES))
        return error_set_errno(err, ERROR_INTERNAL, errno, "read %s", path);
    *out = take_fd(&fd);
    return true;
}

static void count_done(struct chunk_map *map)
{
    for (uint64_t chunk = 0; chunk < map->count; chunk++) {
        if (chunk_map_is_done(map, chunk))
            map->done_bytes += chunk_size(map, chunk);
    }
}

bool chunk_map_open(struct chunk_map **out, const char *path, const char *destination_vdi,
                    uint64_t size_bytes, uint32_t chunk_bytes, struct error *err)
{
    assert(size_bytes > 0 && chunk_bytes > 0 && chunk_bytes % (CHUNK_MAP_BLOCKS * 512) == 0);
    assert(strlen(destination_vdi) < UUID_SIZE);
    struct chunk_map *map = memory_alloc(sizeof *map);
    map->fd = -1;
    map->size_bytes = size_bytes;
    map->chunk_bytes = chunk_bytes;
    map->count = (size_bytes + chunk_bytes - 1) / chunk_bytes;
    size_t pages = (size_t)((map->count + PAGE_CHUNKS - 1) / PAGE_CHUNKS);
    map->bits_size = pages * PAGE_BYTES;
    map->bits = memory_array(pages, PAGE_BYTES);
    map->is_dirty = memory_array(pages, sizeof *map->is_dirty);
    map->wanted = mmap(NULL, map->count * sizeof *map->wanted, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct header header;
    header_fill(&header, destination_vdi, size_bytes, chunk_bytes);
    bool is_open = map->wanted != MAP_FAILED;
    if (!is_open)
        error_set_errno(err, ERROR_NO_SPACE, errno, "address space of the chunk map");
    is_open = is_open && open_file(path, &header, map->bits_size, map->bits, &map->fd, err);
    if (is_open && map->fd < 0)
        is_open = create_file(path, &header, map->bits_size, &map->fd, err);
    if (!is_open) {
        chunk_map_close(map);
        return false;
    }
    count_done(map);
    *out = map;
    return true;
}

void chunk_map_close(struct chunk_map *map)
{
    if (!map)
        return;
    if (map->fd >= 0)
        close(map->fd);
    if (map->wanted != MAP_FAILED)
        munmap(map->wanted, map->count * sizeof *map->wanted);
    free(map->bits);
    free(map->is_dirty);
    free(map);
}

uint64_t chunk_map_count(const struct chunk_map *map)
{
    return map->count;
}

bool chunk_map_is_done(const struct chunk_map *map, uint64_t chunk)
{
    assert(chunk < map->count);
    return map->bits[chunk / 8] >> (chunk % 8) & 1;
}

uint64_t chunk_map_wanted(const struct chunk_map *map, uint64_t chunk)
{
    if (chunk_map_is_done(map, chunk))
        return 0;
    return map->wanted[chunk] ? map->wanted[chunk] : all_blocks(map, chunk);
}

uint64_t chunk_map_done_bytes(const struct chunk_map *map)
{
    return map->done_bytes;
}

static void flip(struct chunk_map *map, uint64_t chunk)
{
    map->bits[chunk / 8] ^= (uint8_t)(1 << chunk % 8);
    map->is_dirty[chunk / 8 / PAGE_BYTES] = true;
}

void chunk_map_set_done(struct chunk_map *map, uint64_t chunk)
{
    uint64_t wanted = chunk_map_wanted(map, chunk);
    if (wanted == 0)
        return;
    map->done_bytes += blocks_size(map, chunk, wanted);
    if (map->wanted[chunk])
        map->wanted[chunk] = 0;
    flip(map, chunk);
}

static void clear_blocks(struct chunk_map *map, uint64_t chunk, uint64_t blocks)
{
    uint64_t before = chunk_map_wanted(map, chunk);
    uint64_t added = blocks & ~before;
    if (added == 0)
        return;
    map->done_bytes -= blocks_size(map, chunk, added);
    map->wanted[chunk] = before | added;
    if (before == 0)
        flip(map, chunk);
}

void chunk_map_clear_range(struct chunk_map *map, uint64_t offset, uint64_t size)
{
    if (offset >= map->size_bytes || size == 0)
        return;
    uint64_t end = size > map->size_bytes - offset ? map->size_bytes : offset + size;
    uint64_t block_bytes = map->chunk_bytes / CHUNK_MAP_BLOCKS;
    while (offset < end) {
        uint64_t chunk = offset / map->chunk_bytes, start = chunk * map->chunk_bytes;
        uint64_t stop = start + chunk_size(map, chunk);
        if (stop > end)
            stop = end;
        uint64_t first = (offset - start) / block_bytes, last = (stop - 1 - start) / block_bytes;
        clear_blocks(map, chunk, (UINT64_MAX >> (63 - (last - first))) << first);
        offset = stop;
    }
}

bool chunk_map_save(struct chunk_map *map, struct error *err)
{
    bool has_written = false;
    for (size_t page = 0; page * PAGE_BYTES < map->bits_size; page++) {
        if (!map->is_dirty[page])
            continue;
        has_written = true;
        if (!write_all(map->fd, map->bits + page * PAGE_BYTES, PAGE_BYTES,
                       (off_t)((page + 1) * PAGE_BYTES)))
            return error_set_errno(err, ERROR_INTERNAL, errno, "write the chunk map");
    }
    if (!has_written)
        return true;
    if (fdatasync(map->fd) != 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "sync the chunk map");
    memset(map->is_dirty, 0, map->bits_size / PAGE_BYTES);
    return true;
}
