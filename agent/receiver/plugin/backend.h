/* Where the bytes of the disk go: a raw file or block device, or the NBD export of a local block
 * server that knows the image format. All functions may be called from any thread; data functions
 * return 0 or an errno value. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { BACKEND_MAX_HANDLES = 16 };
#define BACKEND_NBD_EXPORT "disk"

struct backend;
struct backend_driver {
    void (*close)(struct backend *backend);
    int (*read)(struct backend *backend, void *data, size_t size, uint64_t offset);
    int (*write)(struct backend *backend, const void *data, size_t size, uint64_t offset);
    int (*write_alone)(struct backend *backend, const char *data, size_t size, uint64_t offset);
    int (*zero)(struct backend *backend, uint64_t size, uint64_t offset, bool may_trim);
    int (*flush)(struct backend *backend);
};
/* Each driver's struct begins with it. */
struct backend {
    const struct backend_driver *driver;
    uint64_t size_bytes;
};

/* Opens the file for this process alone: waits up to lock_wait_ms for an earlier owner to be gone
 * (a killed one may still have writes in the kernel), then ERROR_CONFLICT. */
bool backend_open_file(struct backend **out, const char *path, int lock_wait_ms,
                       struct error *err) must_check;
/* Opens `handles` connections (1 to BACKEND_MAX_HANDLES) to export "disk" on a unix socket. */
bool backend_open_nbd(struct backend **out, const char *socket, int handles,
                      struct error *err) must_check;
void backend_close(struct backend *backend); /* NULL is fine; does not flush */

int backend_read(struct backend *backend, void *data, size_t size, uint64_t offset);
int backend_write(struct backend *backend, const void *data, size_t size, uint64_t offset);
/* The same while the caller keeps all others from writing to the range; large ranges go past the
 * page cache then. */
int backend_write_alone(struct backend *backend, const char *data, size_t size, uint64_t offset);
/* Makes the range read as zeroes; with may_trim it may become a hole. */
int backend_zero(struct backend *backend, uint64_t size, uint64_t offset, bool may_trim);
/* What was written before is on stable storage. */
int backend_flush(struct backend *backend);
