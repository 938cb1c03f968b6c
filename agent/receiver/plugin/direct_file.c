/* Writes with O_DIRECT from aligned buffers; see direct_file.h. */
#include "agent/receiver/plugin/direct_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PIECE_BYTES = 256 << 10,
    WORTH_BYTES = 32 << 10, /* below it the page cache is quicker */
};

void direct_file_open(struct direct_file *file, const char *path)
{
    *file = (struct direct_file){.fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC)};
    pthread_mutex_init(&file->mutex, NULL);
}

void direct_file_close(struct direct_file *file)
{
    for (int i = 0; i < file->idle_count; i++)
        free(file->buffers[i]);
    pthread_mutex_destroy(&file->mutex);
    if (file->fd >= 0)
        close(file->fd);
}

static void *borrow(struct direct_file *file)
{
    pthread_mutex_lock(&file->mutex);
    void *buffer = file->idle_count ? file->buffers[--file->idle_count] : NULL;
    pthread_mutex_unlock(&file->mutex);
    return buffer ? buffer : aligned_alloc(DIRECT_FILE_ALIGNMENT, PIECE_BYTES);
}

static void give_back(struct direct_file *file, void *buffer)
{
    pthread_mutex_lock(&file->mutex);
    bool is_kept = file->idle_count < DIRECT_FILE_BUFFERS;
    if (is_kept)
        file->buffers[file->idle_count++] = buffer;
    pthread_mutex_unlock(&file->mutex);
    if (!is_kept)
        free(buffer);
}

/* Bytes written, always whole alignments; the rest of a piece that came short is the caller's. */
static ssize_t write_piece(struct direct_file *file, const void *buffer, size_t size,
                           uint64_t offset)
{
    ssize_t done;
    do
        done = pwrite(file->fd, buffer, size, (off_t)offset);
    while (done < 0 && errno == EINTR);
    if (done < 0 && errno == EINVAL)
        atomic_store(&file->is_refused, true); /* another alignment: leave it to the page cache */
    return done > 0 ? done / DIRECT_FILE_ALIGNMENT * DIRECT_FILE_ALIGNMENT : done;
}

int direct_file_write(struct direct_file *file, const char *data, size_t size, uint64_t offset,
                      size_t *start, size_t *end)
{
    size_t before = (size_t)(-offset % DIRECT_FILE_ALIGNMENT);
    *start = *end = 0;
    if (file->fd < 0 || atomic_load(&file->is_refused) || size < before + WORTH_BYTES)
        return 0;
    void *buffer = borrow(file);
    if (!buffer)
        return 0;
    size_t last = (size - before) / DIRECT_FILE_ALIGNMENT * DIRECT_FILE_ALIGNMENT + before;
    ssize_t done = 0;
    *start = *end = before;
    while (*end < last) {
        size_t piece = last - *end < PIECE_BYTES ? last - *end : PIECE_BYTES;
        memcpy(buffer, data + *end, piece);
        done = write_piece(file, buffer, piece, offset + *end);
        if (done <= 0)
            break;
        *end += (size_t)done;
    }
    int failed = done < 0 && errno != EINVAL ? errno : 0;
    give_back(file, buffer);
    return failed;
}
