/* The door to the two backends; see backend.h. */
#include "agent/receiver/plugin/backend.h"

void backend_close(struct backend *backend)
{
    if (backend)
        backend->driver->close(backend);
}

int backend_read(struct backend *backend, void *data, size_t size, uint64_t offset)
{
    return backend->driver->read(backend, data, size, offset);
}

int backend_write(struct backend *backend, const void *data, size_t size, uint64_t offset)
{
    return backend->driver->write(backend, data, size, offset);
}

int backend_write_alone(struct backend *backend, const char *data, size_t size, uint64_t offset)
{
    if (!backend->driver->write_alone)
        return backend->driver->write(backend, data, size, offset);
    return backend->driver->write_alone(backend, data, size, offset);
}

int backend_zero(struct backend *backend, uint64_t size, uint64_t offset, bool may_trim)
{
    return backend->driver->zero(backend, size, offset, may_trim);
}

int backend_flush(struct backend *backend)
{
    return backend->driver->flush(backend);
}
