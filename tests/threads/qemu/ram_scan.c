/* A pass with several threads sends each changed page once, and races with nothing. */
#include "agent/hypervisor/qemu/ram_scan.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RAM_BYTES = 32 << 20, THREADS = 6, PASSES = 4 };

static void expect(bool is_true, const char *what)
{
    if (is_true)
        return;
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

static void count(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
}

static void fill(int fd, int pass)
{
    char page[RAM_PAGE];
    memset(page, pass + 1, sizeof page);
    for (off_t at = 0; at < RAM_BYTES; at += 3 * RAM_PAGE)
        expect(pwrite(fd, page, sizeof page, at) == (ssize_t)sizeof page, "write RAM");
}

int main(void)
{
    struct error err;
    struct ram_writer writer;
    struct ram_scan *scan;
    atomic_int ticks = 0;
    int ram = memfd_create("ram", MFD_CLOEXEC), stream = memfd_create("stream", MFD_CLOEXEC);
    uint64_t pages = (RAM_BYTES / RAM_PAGE + 2) / 3, changed;
    expect(ftruncate(ram, RAM_BYTES) == 0, "size of RAM");
    expect(ram_writer_init(&writer, stream, &err), "writer");
    expect(ram_scan_open(&scan, ram, RAM_BYTES, &err), "scan");
    for (int pass = 0; pass < PASSES; pass++) {
        fill(ram, pass);
        expect(ram_scan_pass(scan, &writer, THREADS, count, &ticks, &changed, &err), err.text);
        expect(changed == pages * RAM_PAGE, "every changed page is sent once");
    }
    expect(writer.covered_bytes == PASSES * pages * RAM_PAGE, "the writer counted all of it");
    expect(atomic_load(&ticks) > 0, "ticks came");
    ram_scan_close(scan);
    ram_writer_done(&writer);
    close(ram);
    close(stream);
    return 0;
}
