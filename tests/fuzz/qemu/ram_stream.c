/* Any bytes as a memory stream: records stay inside the RAM and the order holds, or an error. */
#include "agent/hypervisor/qemu/ram_stream.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { RAM_BYTES = 1 << 20 };
    struct error err;
    struct ram_reader reader;
    struct ram_record record = {0};
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    bool is_good = ram_reader_init(&reader, fd, RAM_BYTES, &err);
    unsigned sum = 0;
    while (is_good && record.kind != RAM_END && ram_read(&reader, &record, &err)) {
        bool is_range = record.kind == RAM_PAGES || record.kind == RAM_ZEROES;
        if (is_range && (record.offset >= RAM_BYTES || record.length > RAM_BYTES - record.offset))
            abort();
        const uint8_t *payload = record.data;
        for (uint64_t i = 0; payload && i < record.length; i++)
            sum += payload[i];
    }
    ram_reader_done(&reader);
    close(fd);
    return sum == 0xffffffff ? 1 : 0;
}
