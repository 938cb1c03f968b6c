/* Backend on a local block server (qcow2, VHD) over NBD, several connections in a pool. */
#include "agent/receiver/plugin/backend.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <libnbd.h>
#include <pthread.h>
#include <stdlib.h>

/* The server takes 32 MiB of data in one request, and 32 bits of length. */
enum { DATA_BYTES = 32 << 20, ZERO_BYTES = 1 << 30 };

struct backend_nbd {
    struct backend base;
    pthread_mutex_t mutex; /* guards `idle` and `idle_count` */
    pthread_cond_t returned;
    struct nbd_handle *handles[BACKEND_MAX_HANDLES];
    struct nbd_handle *idle[BACKEND_MAX_HANDLES];
    int count, idle_count;
};

static struct backend_nbd *nbd_of(struct backend *backend)
{
    return (struct backend_nbd *)backend;
}

static struct nbd_handle *borrow(struct backend_nbd *nbd)
{
    pthread_mutex_lock(&nbd->mutex);
    while (nbd->idle_count == 0)
        pthread_cond_wait(&nbd->returned, &nbd->mutex);
    struct nbd_handle *handle = nbd->idle[--nbd->idle_count];
    pthread_mutex_unlock(&nbd->mutex);
    return handle;
}

static void give_back(struct backend_nbd *nbd, struct nbd_handle *handle)
{
    pthread_mutex_lock(&nbd->mutex);
    nbd->idle[nbd->idle_count++] = handle;
    pthread_cond_signal(&nbd->returned);
    pthread_mutex_unlock(&nbd->mutex);
}

/* The errno of the call that just returned; a connection that is gone is an I/O error. */
static int outcome(int result)
{
    if (result == 0)
        return 0;
    int failed = nbd_get_errno();
    return failed == ENOSPC || failed == EPERM || failed == EINVAL ? failed : EIO;
}

static void nbd_backend_close(struct backend *backend)
{
    struct backend_nbd *nbd = nbd_of(backend);
    for (int i = 0; i < nbd->count; i++) {
        (void)nbd_shutdown(nbd->handles[i], 0); /* one that is gone is closed as well */
        nbd_close(nbd->handles[i]);
    }
    pthread_cond_destroy(&nbd->returned);
    pthread_mutex_destroy(&nbd->mutex);
    free(nbd);
}

static int nbd_backend_read(struct backend *backend, void *data, size_t size, uint64_t offset)
{
    struct nbd_handle *handle = borrow(nbd_of(backend));
    int failed = 0;
    for (size_t done = 0; done < size && !failed;) {
        size_t piece = size - done < DATA_BYTES ? size - done : DATA_BYTES;
        failed = outcome(nbd_pread(handle, (char *)data + done, piece, offset + done, 0));
        done += piece;
    }
    give_back(nbd_of(backend), handle);
    return failed;
}

static int nbd_backend_write(struct backend *backend, const void *data, size_t size,
                             uint64_t offset)
{
    struct nbd_handle *handle = borrow(nbd_of(backend));
    int failed = 0;
    for (size_t done = 0; done < size && !failed;) {
        size_t piece = size - done < DATA_BYTES ? size - done : DATA_BYTES;
        failed = outcome(nbd_pwrite(handle, (const char *)data + done, piece, offset + done, 0));
        done += piece;
    }
    give_back(nbd_of(backend), handle);
    return failed;
}

static int nbd_backend_zero(struct backend *backend, uint64_t size, uint64_t offset, bool may_trim)
{
    struct nbd_handle *handle = borrow(nbd_of(backend));
    int failed = 0;
    while (size && !failed) {
        uint64_t piece = size < ZERO_BYTES ? size : ZERO_BYTES;
        failed = outcome(nbd_zero(handle, piece, offset, may_trim ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
        size -= piece;
        offset += piece;
    }
    give_back(nbd_of(backend), handle);
    return failed;
}

static int nbd_backend_flush(struct backend *backend)
{
    /* All connections end in one block node of the server: one flush covers them. */
    struct nbd_handle *handle = borrow(nbd_of(backend));
    int failed = outcome(nbd_flush(handle, 0));
    give_back(nbd_of(backend), handle);
    return failed;
}

static const struct backend_driver nbd_driver = {
    .close = nbd_backend_close,
    .read = nbd_backend_read,
    .write = nbd_backend_write,
    .zero = nbd_backend_zero,
    .flush = nbd_backend_flush,
};

static bool connect_one(struct backend_nbd *nbd, const char *socket, struct error *err)
{
    struct nbd_handle *handle = nbd_create();
    if (!handle)
        return error_set(err, ERROR_INTERNAL, "%s", nbd_get_error());
    nbd->handles[nbd->count++] = handle;
    nbd->idle[nbd->idle_count++] = handle;
    int64_t size = -1;
    if (nbd_set_export_name(handle, BACKEND_NBD_EXPORT) < 0 ||
        nbd_connect_unix(handle, socket) < 0 || (size = nbd_get_size(handle)) < 0)
        return error_set(err, ERROR_UNREACHABLE, "%s: %s", socket, nbd_get_error());
    if (nbd_can_flush(handle) != 1 || nbd_can_zero(handle) != 1 || nbd_is_read_only(handle) != 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: expected a writable export with flush and zero", socket);
    nbd->base.size_bytes = (uint64_t)size;
    return true;
}

bool backend_open_nbd(struct backend **out, const char *socket, int handles, struct error *err)
{
    assert(handles >= 1 && handles <= BACKEND_MAX_HANDLES);
    struct backend_nbd *nbd = memory_alloc(sizeof *nbd);
    nbd->base.driver = &nbd_driver;
    pthread_mutex_init(&nbd->mutex, NULL);
    pthread_cond_init(&nbd->returned, NULL);
    for (int i = 0; i < handles; i++) {
        if (!connect_one(nbd, socket, err)) {
            nbd_backend_close(&nbd->base);
            return false;
        }
    }
    *out = &nbd->base;
    return true;
}
