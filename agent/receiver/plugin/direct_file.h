/* Large writes past the page cache (O_DIRECT): what a copy writes is not read again soon, and in
 * the page cache it would cost a copy of each byte, push out what the host needs, and pile up until
 * a flush.
 *
 * The kernel keeps such writes and ordinary ones on the same file coherent page by page. So the
 * caller makes sure that nothing else writes to the pages of a range while it is written here. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Offsets and sizes that every common file system and device takes. */
enum { DIRECT_FILE_ALIGNMENT = 4096, DIRECT_FILE_BUFFERS = 16 };

struct direct_file {
    int fd; /* -1: this file does not take such writes */
    atomic_bool is_refused;
    pthread_mutex_t mutex;              /* guards the two below */
    void *buffers[DIRECT_FILE_BUFFERS]; /* aligned, idle */
    int idle_count;
};

/* Opens a second descriptor; a file system without O_DIRECT is no error. */
void direct_file_open(struct direct_file *file, const char *path);
void direct_file_close(struct direct_file *file);
/* Writes the aligned inner part of the range if that is worth it: *start and *end say which part
 * (empty: none). What lies before and behind it is the caller's. Returns 0 or an errno value. */
int direct_file_write(struct direct_file *file, const char *data, size_t size, uint64_t offset,
                      size_t *start, size_t *end);
