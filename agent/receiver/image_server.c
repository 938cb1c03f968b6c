/* Processes that serve one received image; see image_server.h. */
#include "agent/receiver/image_server.h"

#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <libnbd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    START_LIMIT_MS = 20000, /* nbdkit waits up to 10 s for an earlier writer to be gone */
    BLOCK_RETRY_MS = 3000,  /* a killed daemon may hold its lock on the image for a moment */
    BLOCK_PAUSE_MS = 100,
    STOP_LIMIT_MS = 5000,
    HANDLES = 8, /* connections between nbdkit and the qemu-storage-daemon */
};

struct image_server {
    struct journal *journal;
    char migration[UUID_SIZE];
    char *nbd_path, *block_path, *block_pid_path, *log_path;
    struct child *nbdkit, *block; /* block: the qemu-storage-daemon, NULL for raw images */
};

static const char *const qemu_drivers[] = {[IMAGE_QCOW2] = "qcow2", [IMAGE_VHD] = "vpc"};

/* -- ledger */

/* The process behind a socket, as the ledger calls it. */
static char *process_reference(const char *program, const char *socket)
{
    return memory_format("%s %s", program, socket);
}

static bool enter(const struct image_server *server, const char *program, const char *socket,
                  struct error *err)
{
    auto_free char *process = process_reference(program, socket);
    return journal_ledger_add(server->journal, server->migration, "receiver", process, err) &&
           journal_ledger_add(server->journal, server->migration, "socket", socket, err);
}

static bool strike(const struct image_server *server, const char *program, const char *socket,
                   struct error *err)
{
    auto_free char *process = process_reference(program, socket);
    return file_remove(socket, err) &&
           journal_ledger_remove(server->journal, server->migration, "socket", socket, err) &&
           journal_ledger_remove(server->journal, server->migration, "receiver", process, err);
}

/* -- start */

static char *encode(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (!text)
        abort(); /* out of memory: all the text in it is valid UTF-8 or json_pack had failed */
    return text;
}

/* NULL when the path is not UTF-8. */
static json_t *file_node(const char *path)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:b, s:b}}", "driver", "file", "node-name", "file",
                     "filename", path, "discard", "unmap", "cache", "direct", 0, "no-flush", 0);
}

static json_t *format_node(enum image_format format)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:b, s:b}}", "driver", qemu_drivers[format],
                     "node-name", "disk", "file", "file", "discard", "unmap", "detect-zeroes",
                     "off", "cache", "direct", 0, "no-flush", 0);
}

static bool start_block_once(struct image_server *server, const struct image_server_config *config,
                             struct error *err)
{
    json_t *file_object = file_node(config->path);
    if (!file_object)
        return error_set(err, ERROR_INVALID, "the image's path is not UTF-8");
    auto_free char *file = encode(file_object);
    auto_free char *format = encode(format_node(config->format));
    auto_free char *nbd = encode(json_pack("{s:{s:s, s:s}, s:i}", "addr", "type", "unix", "path",
                                           server->block_path, "max-connections", HANDLES + 2));
    auto_free char *export =
        encode(json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "type", "nbd", "id", "disk", "node-name",
                         "disk", "name", "disk", "writable", 1, "writethrough", 0));
    const char *const argv[] = {
        "qemu-storage-daemon",  "--blockdev", file,       "--blockdev", format,
        "--nbd-server",         nbd,          "--export", export,       "--pidfile",
        server->block_pid_path, NULL};
    if (!file_remove(server->block_path, err) || !file_remove(server->block_pid_path, err))
        return false;
    if (!child_start(argv, server->log_path, -1, &server->block, err))
        return false;
    /* It writes its pid file when the export is there; the socket is there before. */
    if (child_wait_for_path(server->block, server->block_pid_path, START_LIMIT_MS, err))
        return true;
    child_stop(take(server->block), STOP_LIMIT_MS);
    return false;
}

static bool start_block(struct image_server *server, const struct image_server_config *config,
                        struct error *err)
{
    int64_t until = clock_monotonic_ms() + BLOCK_RETRY_MS;
    if (!enter(server, "qemu-storage-daemon", server->block_path, err))
        return false;
    while (!start_block_once(server, config, err)) {
        if (clock_monotonic_ms() >= until)
            return false;
        clock_sleep_ms(BLOCK_PAUSE_MS);
    }
    return true;
}

/* nbdkit 1.32 aborts ("raw_send_socket: Assertion `sock >= 0' failed") when a client hangs up while
 * several threads answer it; such a receiver is started again like one that was killed. */
static bool start_nbdkit(struct image_server *server, const struct image_server_config *config,
                         struct error *err)
{
    auto_free char *image = config->format == IMAGE_RAW
                                ? memory_format("file=%s", config->path)
                                : memory_format("unix=%s", server->block_path);
    auto_free char *size = memory_format("size=%" PRIu64, config->size_bytes);
    auto_free char *epoch = memory_format("min_epoch=%" PRId64, config->lowest_epoch);
    auto_free char *handles = memory_format("handles=%d", HANDLES);
    const char *const argv[] = {
        "nbdkit", "-f", "--unix", server->nbd_path, "--threads", "16", config->plugin_path,
        image,    size, epoch,    handles,          NULL};
    if (!enter(server, "nbdkit", server->nbd_path, err) || !file_remove(server->nbd_path, err))
        return false;
    return child_start(argv, server->log_path, -1, &server->nbdkit, err) &&
           child_wait_for_path(server->nbdkit, server->nbd_path, START_LIMIT_MS, err);
}

static struct image_server *new_server(const struct image_server_config *config)
{
    struct image_server *server = memory_alloc(sizeof *server);
    server->journal = config->journal;
    snprintf(server->migration, sizeof server->migration, "%s", config->migration);
    auto_free char *stem =
        memory_format("%s/%s-%d", config->directory, config->migration, config->disk);
    server->nbd_path = memory_format("%s.nbd", stem);
    if (config->format != IMAGE_RAW)
        server->block_path = memory_format("%s.qsd", stem);
    server->block_pid_path = memory_format("%s.pid", stem);
    server->log_path = memory_format("%s.log", stem);
    return server;
}

bool image_server_start(struct image_server **out, const struct image_server_config *config,
                        struct error *err)
{
    struct image_server *server = new_server(config);
    if (strlen(server->nbd_path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        error_set(err, ERROR_INVALID, "socket path %s is too long", server->nbd_path);
    } else if ((!server->block_path || start_block(server, config, err)) &&
               start_nbdkit(server, config, err)) {
        *out = server;
        return true;
    }
    struct error later; /* what is left is for image_server_clean; the first failure matters more */
    (void)!image_server_stop(server, &later);
    return error_prefix(err, "receiver of disk %d", config->disk);
}

/* -- use */

bool image_server_is_alive(struct image_server *server)
{
    return child_is_alive(server->nbdkit) && (!server->block || child_is_alive(server->block));
}

bool image_server_connect(const struct image_server *server, int *fd, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server->nbd_path);
    auto_close int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || connect(made, (struct sockaddr *)&address, sizeof address) < 0)
        return error_set_errno(err, ERROR_MIRROR_LOST, errno, "receiver %s", server->nbd_path);
    *fd = take_fd(&made);
    return true;
}

static bool nbd_failed(const struct image_server *server, struct error *err)
{
    enum error_code code = nbd_get_errno() == ENOSPC ? ERROR_NO_SPACE : ERROR_MIRROR_LOST;
    return error_set(err, code, "flush through %s: %s", server->nbd_path, nbd_get_error());
}

bool image_server_flush(const struct image_server *server, int64_t epoch, struct error *err)
{
    struct nbd_handle *nbd = nbd_create();
    if (!nbd)
        return error_set(err, ERROR_INTERNAL, "%s", nbd_get_error());
    auto_free char *name = memory_format("copy.%" PRId64, epoch);
    bool is_done = nbd_set_export_name(nbd, name) == 0 &&
                   nbd_connect_unix(nbd, server->nbd_path) == 0 && nbd_flush(nbd, 0) == 0;
    if (!is_done)
        nbd_failed(server, err);
    else
        (void)nbd_shutdown(nbd, 0); /* what matters has been answered */
    nbd_close(nbd);
    return is_done;
}

/* -- stop */

bool image_server_stop(struct image_server *server, struct error *err)
{
    if (!server)
        return true;
    child_stop(server->nbdkit, STOP_LIMIT_MS);
    child_stop(server->block, STOP_LIMIT_MS);
    bool is_clean =
        strike(server, "nbdkit", server->nbd_path, err) && file_remove(server->block_pid_path, err);
    if (is_clean && server->block_path)
        is_clean = strike(server, "qemu-storage-daemon", server->block_path, err);
    free(server->nbd_path);
    free(server->block_path);
    free(server->block_pid_path);
    free(server->log_path);
    free(server);
    return is_clean;
}

/* -- what is left */

static bool remove_files(const char *directory, const char *migration, struct error *err)
{
    static const char *const endings[] = {"nbd", "qsd", "pid", "log"};
    for (int disk = 0; disk < LIMIT_DISKS; disk++) {
        for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
            auto_free char *path =
                memory_format("%s/%s-%d.%s", directory, migration, disk, endings[i]);
            if (!file_remove(path, err))
                return false;
        }
    }
    return true;
}

struct leftovers {
    const char *directory;
    struct ledger_entry *items;
    size_t count;
};

/* Sockets of others in the same migration are not ours. */
static bool collect(void *context, const struct ledger_entry *entry, struct error *err)
{
    (void)err;
    struct leftovers *left = context;
    bool is_ours = strcmp(entry->kind, "receiver") == 0 ||
                   (strcmp(entry->kind, "socket") == 0 &&
                    strncmp(entry->reference, left->directory, strlen(left->directory)) == 0);
    if (!is_ours)
        return true;
    left->items = memory_resize(left->items, left->count + 1, sizeof *left->items);
    left->items[left->count++] = *entry;
    return true;
}

bool image_server_clean(struct journal *journal, const char *directory, const char *migration,
                        struct error *err)
{
    struct leftovers left = {.directory = directory};
    bool is_clean = remove_files(directory, migration, err) &&
                    journal_each_ledger(journal, migration, collect, &left, err);
    for (size_t i = 0; i < left.count && is_clean; i++)
        is_clean = journal_ledger_remove(journal, migration, left.items[i].kind,
                                         left.items[i].reference, err);
    free(left.items);
    return is_clean;
}
