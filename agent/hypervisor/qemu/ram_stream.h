/* The byte stream between `save` and `restore`: guest RAM by pages while the guest runs, a mark at
 * the suspension, the last pages, the device state, an end mark.
 *
 *   record: u32 kind, u32 zero, u64 offset, u64 length, then `length` bytes of payload where said;
 *   all numbers little-endian.
 *   HELLO      first; offset = version, length = 16, payload = u64 magic, u64 RAM size
 *   PAGES      offset, length: multiples of 4096 inside the RAM, at most 1 MiB; payload
 *   ZEROES     the same without payload: pages that were sent before and are zero now
 *   SUSPENDED  the source has stopped for good and released its disks; no payload
 *   RAM_END    offset = PAGES and ZEROES records before it, length = bytes they cover
 *   DEVICES    length: the device state, at most 64 MiB; payload
 *   END        last
 * Pages never sent are zero. SUSPENDED, RAM_END, DEVICES and END come once each, in this order. */
#pragma once

#include "base/error.h"

#include <pthread.h>
#include <stdint.h>

enum {
    RAM_PAGE = 4096,
    RAM_PIECE = 1 << 20,         /* most bytes of one PAGES record */
    RAM_DEVICES_LIMIT = 64 << 20 /* bytes of device state */
};
#define RAM_SIZE_LIMIT (UINT64_C(1) << 44)

enum ram_record_kind {
    RAM_HELLO = 1,
    RAM_PAGES,
    RAM_ZEROES,
    RAM_SUSPENDED,
    RAM_RAM_END,
    RAM_DEVICES,
    RAM_END,
};

/* Writes to a pipe or socket that may block; polls `is_cancelled` (may be NULL) while it does. Its
 * calls may come from several threads. */
struct ram_writer {
    int fd;
    int fd_flags; /* as they were */
    pthread_mutex_t lock;
    bool (*is_cancelled)(void *context);
    void *context;
    uint64_t records, covered_bytes; /* PAGES and ZEROES */
    uint64_t sent_bytes;             /* everything */
};
bool ram_writer_init(struct ram_writer *writer, int fd, struct error *err) must_check;
void ram_writer_done(struct ram_writer *writer);
bool ram_write_hello(struct ram_writer *writer, uint64_t ram_bytes, struct error *err) must_check;
bool ram_write_pages(struct ram_writer *writer, uint64_t offset, const void *data, uint64_t length,
                     struct error *err) must_check;
bool ram_write_zeroes(struct ram_writer *writer, uint64_t offset, uint64_t length,
                      struct error *err) must_check;
bool ram_write_suspended(struct ram_writer *writer, struct error *err) must_check;
/* RAM_END, DEVICES with the whole file behind `devices_fd`, END. */
bool ram_write_end(struct ram_writer *writer, int devices_fd, struct error *err) must_check;

/* Reads one record after the other and refuses whatever breaks the rules above. */
struct ram_record {
    enum ram_record_kind kind;
    uint64_t offset, length;
    const void *data; /* PAGES, DEVICES: valid until the next read */
};
struct ram_reader {
    int fd;
    uint64_t ram_bytes;
    enum ram_record_kind last;
    uint64_t records, covered_bytes;
    char *payload;
    uint64_t capacity;
};
/* Reads HELLO; the RAM must have the size that the configuration says. */
bool ram_reader_init(struct ram_reader *reader, int fd, uint64_t ram_bytes,
                     struct error *err) must_check;
void ram_reader_done(struct ram_reader *reader);
bool ram_read(struct ram_reader *reader, struct ram_record *record, struct error *err) must_check;
