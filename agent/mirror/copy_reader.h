/* Reads one live disk for the copier: a file or device directly, or an NBD socket. One thread uses
 * a reader; any thread may interrupt it. */
#pragma once

#include "agent/mirror/copier.h"
#include "agent/mirror/nbd_client.h"

struct copy_reader {
    int file;        /* -1: NBD */
    const void *map; /* the file's pages, never touched, to ask which are cached; NULL: unknown */
    int direct;      /* the same file with O_DIRECT, -1 where that is not possible */
    uint64_t size_bytes;
    struct nbd_client nbd; /* asynchronous reads are the caller's, on nbd.handle */
};
#define COPY_READER_NONE                                                                           \
    (struct copy_reader)                                                                           \
    {                                                                                              \
        .file = -1, .direct = -1, .nbd = {.socket = -1, .pending = -1 }                            \
    }

/* With `can_find_holes` the reader serves copy_reader_find_zeroes. Fails when the source is smaller
 * than size_bytes. */
bool copy_reader_open(struct copy_reader *reader, const struct copier_source *source,
                      bool can_find_holes, struct error *err) must_check;
void copy_reader_interrupt(struct copy_reader *reader);
void copy_reader_close(struct copy_reader *reader);

/* A file's bytes; `data` is aligned to 4096. What is in the page cache comes from there and stays,
 * what is not is read past it, so that the copy of a large disk drives nothing out of memory. */
bool copy_reader_read(struct copy_reader *reader, void *data, uint64_t offset, size_t size,
                      struct error *err) must_check;

/* Sets bit i of `bits` for each chunk i of the range that reads as zeroes by the allocation of the
 * image; leaves the others as they are. `offset` is a multiple of COPY_CHUNK_BYTES. */
bool copy_reader_find_zeroes(struct copy_reader *reader, uint64_t offset, uint64_t size,
                             uint8_t *bits, struct error *err) must_check;
