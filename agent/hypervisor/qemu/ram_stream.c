/* Codec of the stream between save and restore; see ram_stream.h. */
#include "agent/hypervisor/qemu/ram_stream.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const uint64_t MAGIC = UINT64_C(0x314d415250585043); /* "CPXPRAM1" */
enum { VERSION = 1, HELLO_SIZE = 16, CANCEL_POLL_MS = 200 };

struct wire_record {
    uint32_t kind, zero;
    uint64_t offset, length;
};
static_assert(sizeof(struct wire_record) == 24, "records have no padding");

bool ram_writer_init(struct ram_writer *writer, int fd, struct error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "memory stream");
    *writer = (struct ram_writer){.fd = fd, .fd_flags = flags};
    pthread_mutex_init(&writer->lock, NULL);
    return true;
}

void ram_writer_done(struct ram_writer *writer)
{
    fcntl(writer->fd, F_SETFL, writer->fd_flags);
    pthread_mutex_destroy(&writer->lock);
}

static bool wait_writable(const struct ram_writer *writer, struct error *err)
{
    struct pollfd poller = {.fd = writer->fd, .events = POLLOUT};
    while (poll(&poller, 1, CANCEL_POLL_MS) <= 0) {
        if (writer->is_cancelled && writer->is_cancelled(writer->context))
            return error_set(err, ERROR_CANCELLED, "cancelled while the memory is sent");
    }
    return true;
}

static bool write_vector(struct ram_writer *writer, struct iovec *pieces, int count,
                         struct error *err)
{
    while (count) {
        ssize_t done = writev(writer->fd, pieces, count);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN) {
            if (!wait_writable(writer, err))
                return false;
            continue;
        }
        if (done < 0)
            return error_set_errno(err, ERROR_UNREACHABLE, errno, "memory stream");
        writer->sent_bytes += (uint64_t)done;
        size_t left = (size_t)done;
        while (count && left >= pieces->iov_len) {
            left -= pieces->iov_len;
            pieces++;
            count--;
        }
        if (count) {
            pieces->iov_base = (char *)pieces->iov_base + left;
            pieces->iov_len -= left;
        }
    }
    return true;
}

static bool write_record(struct ram_writer *writer, enum ram_record_kind kind, uint64_t offset,
                         uint64_t length, const void *data, struct error *err)
{
    struct wire_record wire = {
        .kind = htole32(kind), .offset = htole64(offset), .length = htole64(length)};
    struct iovec pieces[2] = {{.iov_base = &wire, .iov_len = sizeof wire},
                              {.iov_base = (void *)data, .iov_len = length}};
    pthread_mutex_lock(&writer->lock);
    bool is_done = write_vector(writer, pieces, data ? 2 : 1, err);
    if (is_done && (kind == RAM_PAGES || kind == RAM_ZEROES)) {
        writer->records++;
        writer->covered_bytes += length;
    }
    pthread_mutex_unlock(&writer->lock);
    return is_done;
}

bool ram_write_hello(struct ram_writer *writer, uint64_t ram_bytes, struct error *err)
{
    uint64_t payload[2] = {htole64(MAGIC), htole64(ram_bytes)};
    return write_record(writer, RAM_HELLO, VERSION, sizeof payload, payload, err);
}

bool ram_write_pages(struct ram_writer *writer, uint64_t offset, const void *data, uint64_t length,
                     struct error *err)
{
    assert(length && length <= RAM_PIECE && length % RAM_PAGE == 0);
    return write_record(writer, RAM_PAGES, offset, length, data, err);
}

bool ram_write_zeroes(struct ram_writer *writer, uint64_t offset, uint64_t length,
                      struct error *err)
{
    assert(length && length <= RAM_PIECE && length % RAM_PAGE == 0);
    return write_record(writer, RAM_ZEROES, offset, length, NULL, err);
}

bool ram_write_suspended(struct ram_writer *writer, struct error *err)
{
    return write_record(writer, RAM_SUSPENDED, 0, 0, NULL, err);
}

bool ram_write_end(struct ram_writer *writer, int devices_fd, struct error *err)
{
    off_t size = lseek(devices_fd, 0, SEEK_END);
    if (size <= 0 || size > RAM_DEVICES_LIMIT)
        return error_set(err, ERROR_INTERNAL, "device state of %lld bytes, at most %d are allowed",
                         (long long)size, RAM_DEVICES_LIMIT);
    auto_free char *devices = memory_alloc((size_t)size);
    if (pread(devices_fd, devices, (size_t)size, 0) != size)
        return error_set_errno(err, ERROR_INTERNAL, errno, "device state");
    return write_record(writer, RAM_RAM_END, writer->records, writer->covered_bytes, NULL, err) &&
           write_record(writer, RAM_DEVICES, 0, (uint64_t)size, devices, err) &&
           write_record(writer, RAM_END, 0, 0, NULL, err);
}

static bool read_exactly(int fd, void *data, size_t size, struct error *err)
{
    char *at = data;
    while (size) {
        ssize_t got = read(fd, at, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN) {
            struct pollfd poller = {.fd = fd, .events = POLLIN};
            poll(&poller, 1, -1);
            continue;
        }
        if (got < 0)
            return error_set_errno(err, ERROR_UNREACHABLE, errno, "memory stream");
        if (got == 0)
            return error_set(err, ERROR_UNREACHABLE, "memory stream: it ended too early");
        at += got;
        size -= (size_t)got;
    }
    return true;
}

static bool read_header(struct ram_reader *reader, struct ram_record *record, struct error *err)
{
    struct wire_record wire;
    if (!read_exactly(reader->fd, &wire, sizeof wire, err))
        return false;
    uint32_t kind = le32toh(wire.kind);
    if (kind < RAM_HELLO || kind > RAM_END || wire.zero)
        return error_set(err, ERROR_INVALID, "memory stream: no record of kind %" PRIu32, kind);
    *record = (struct ram_record){
        .kind = kind, .offset = le64toh(wire.offset), .length = le64toh(wire.length)};
    return true;
}

bool ram_reader_init(struct ram_reader *reader, int fd, uint64_t ram_bytes, struct error *err)
{
    *reader = (struct ram_reader){.fd = fd, .last = RAM_HELLO, .ram_bytes = ram_bytes};
    struct ram_record hello;
    uint64_t payload[2];
    if (!read_header(reader, &hello, err))
        return false;
    if (hello.kind != RAM_HELLO || hello.length != HELLO_SIZE || hello.offset != VERSION)
        return error_set(err, ERROR_INVALID, "memory stream: it does not begin with version %d",
                         VERSION);
    if (!read_exactly(fd, payload, sizeof payload, err))
        return false;
    if (le64toh(payload[0]) != MAGIC || le64toh(payload[1]) != ram_bytes)
        return error_set(err, ERROR_INVALID,
                         "memory stream: of %" PRIu64 " bytes of RAM, expected %" PRIu64,
                         le64toh(payload[1]), ram_bytes);
    reader->payload = memory_alloc(RAM_PIECE);
    reader->capacity = RAM_PIECE;
    return true;
}

void ram_reader_done(struct ram_reader *reader)
{
    free(take(reader->payload));
}

static bool is_in_order(enum ram_record_kind last, enum ram_record_kind next)
{
    switch (next) {
    case RAM_PAGES:
    case RAM_ZEROES:
        return last == RAM_HELLO || last == RAM_SUSPENDED;
    case RAM_SUSPENDED:
        return last == RAM_HELLO;
    case RAM_RAM_END:
        return last == RAM_SUSPENDED;
    case RAM_DEVICES:
        return last == RAM_RAM_END;
    case RAM_END:
        return last == RAM_DEVICES;
    default:
        return false;
    }
}

static bool check_range(const struct ram_reader *reader, const struct ram_record *record,
                        struct error *err)
{
    if (record->length && record->length <= RAM_PIECE && record->length % RAM_PAGE == 0 &&
        record->offset % RAM_PAGE == 0 && record->offset < reader->ram_bytes &&
        record->length <= reader->ram_bytes - record->offset)
        return true;
    return error_set(err, ERROR_INVALID,
                     "memory stream: pages at %" PRIu64 " of %" PRIu64
                     " bytes are not inside the RAM",
                     record->offset, record->length);
}

static bool check_record(struct ram_reader *reader, const struct ram_record *record,
                         struct error *err)
{
    if (!is_in_order(reader->last, record->kind))
        return error_set(err, ERROR_INVALID, "memory stream: record %d after record %d",
                         (int)record->kind, (int)reader->last);
    bool is_range = record->kind == RAM_PAGES || record->kind == RAM_ZEROES;
    if (is_range)
        return check_range(reader, record, err);
    if (record->kind == RAM_RAM_END &&
        (record->offset != reader->records || record->length != reader->covered_bytes))
        return error_set(err, ERROR_INVALID, "memory stream: pages are missing");
    if (record->kind == RAM_DEVICES && (!record->length || record->length > RAM_DEVICES_LIMIT))
        return error_set(err, ERROR_INVALID,
                         "memory stream: device state of %" PRIu64 " bytes, expected 1 to %d",
                         record->length, RAM_DEVICES_LIMIT);
    return true;
}

bool ram_read(struct ram_reader *reader, struct ram_record *record, struct error *err)
{
    struct ram_record next;
    if (!read_header(reader, &next, err) || !check_record(reader, &next, err))
        return false;
    if (next.kind == RAM_PAGES || next.kind == RAM_DEVICES) {
        if (next.length > reader->capacity) {
            reader->payload = memory_resize(reader->payload, next.length, 1);
            reader->capacity = next.length;
        }
        if (!read_exactly(reader->fd, reader->payload, next.length, err))
            return false;
        next.data = reader->payload;
    }
    if (next.kind == RAM_PAGES || next.kind == RAM_ZEROES) {
        reader->records++;
        reader->covered_bytes += next.length;
    } else {
        reader->last = next.kind;
    }
    *record = next;
    return true;
}
