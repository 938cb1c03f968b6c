/* The module under nbdkit; see nbdkit_run.h. */
#include "nbdkit_run.h"

#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

void nbdkit_run_init(struct nbdkit_run *run, uint64_t size)
{
    struct error err;
    *run = (struct nbdkit_run){.folder = "/tmp/crosspool-plugin-XXXXXX"};
    cr_assert(child_start_spawner(&err), "%s", err.text);
    cr_assert_not_null(mkdtemp(run->folder));
    snprintf(run->file, sizeof run->file, "%s/disk", run->folder);
    snprintf(run->socket, sizeof run->socket, "%s/nbd", run->folder);
    auto_close int fd = open(run->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(fd, (off_t)size), 0);
}

/* An instrumented module brings the sanitizer into nbdkit, which must have loaded it first. */
static const char *const preload[] = {"env", "LD_PRELOAD=" SANITIZER_LIBRARY,
                                      "ASAN_OPTIONS=detect_leaks=0"};
enum { PRELOAD_COUNT = sizeof preload / sizeof preload[0] };

bool nbdkit_run_try(struct nbdkit_run *run, const char *module, const char *const *parameters,
                    struct error *err)
{
    const char *argv[24] = {NULL};
    int count = 0;
    auto_free char *log = memory_format("%s/log", run->folder);
    auto_free char *file = memory_format("file=%s", run->file);
    if (SANITIZER_LIBRARY[0] && strcmp(module, PLUGIN_PATH) != 0) {
        for (; count < PRELOAD_COUNT; count++)
            argv[count] = preload[count];
    }
    const char *const fixed[] = {"nbdkit", "-f", "-U", run->socket, module, file};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        argv[count++] = fixed[i];
    for (; parameters && *parameters; parameters++)
        argv[count++] = *parameters;
    unlink(run->socket);
    cr_assert(child_start(argv, log, -1, &run->child, err), "%s", err->text);
    if (child_wait_for_path(run->child, run->socket, 20000, err))
        return true;
    nbdkit_run_stop(run);
    return false;
}

void nbdkit_run_start(struct nbdkit_run *run, const char *module, const char *const *parameters)
{
    struct error err;
    cr_assert(nbdkit_run_try(run, module, parameters, &err), "%s", err.text);
}

void nbdkit_run_stop(struct nbdkit_run *run)
{
    child_stop(take(run->child), 5000);
}

void nbdkit_run_kill(struct nbdkit_run *run)
{
    kill(child_pid(run->child), SIGKILL);
    nbdkit_run_stop(run);
}

void nbdkit_run_done(struct nbdkit_run *run)
{
    struct error err;
    nbdkit_run_stop(run);
    auto_free char *log = memory_format("%s/log", run->folder);
    auto_free char *text = NULL;
    if (file_read(log, 1 << 20, &text, NULL, &err))
        cr_assert_null(strstr(text, "Sanitizer"), "%s", text);
    cr_assert(file_remove_tree(run->folder, &err), "%s", err.text);
}

struct nbd_handle *nbdkit_run_try_attach(const struct nbdkit_run *run, const char *export_name)
{
    struct nbd_handle *nbd = nbd_create();
    cr_assert_not_null(nbd);
    cr_assert_eq(nbd_set_export_name(nbd, export_name), 0);
    nbd_set_strict_mode(nbd, 0); /* what the server refuses must reach it */
    if (nbd_connect_unix(nbd, run->socket) == 0)
        return nbd;
    nbd_close(nbd);
    return NULL;
}

struct nbd_handle *nbdkit_run_attach(const struct nbdkit_run *run, const char *export_name)
{
    struct nbd_handle *nbd = nbdkit_run_try_attach(run, export_name);
    cr_assert_not_null(nbd, "%s: %s", export_name, nbd_get_error());
    return nbd;
}

int nbdkit_run_write(struct nbd_handle *nbd, int byte, uint64_t size, uint64_t offset)
{
    auto_free char *data = memory_alloc(size);
    memset(data, byte, size);
    return nbd_pwrite(nbd, data, size, offset, 0) == 0 ? 0 : nbd_get_errno();
}

bool nbdkit_run_holds(const struct nbdkit_run *run, uint64_t offset, uint64_t size, int byte)
{
    auto_free unsigned char *data = memory_alloc(size);
    auto_close int fd = open(run->file, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, data, size, (off_t)offset), (ssize_t)size);
    for (uint64_t i = 0; i < size; i++) {
        if (data[i] != byte)
            return false;
    }
    return true;
}
