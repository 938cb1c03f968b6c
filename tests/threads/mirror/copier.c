/* The copier's threads under cancellation, changes of its rate and questions about its progress at
 * any moment; and once to the end. */
#include "agent/mirror/copier.h"
#include "agent/mirror/nbd_client.h"
#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 48 << 20, ROUNDS = 12 };

static char folder[] = "/tmp/copier-threads-XXXXXX";
static struct error err;

static void require(bool is_true, const char *what)
{
    if (is_true)
        return;
    fprintf(stderr, "failed: %s: %s\n", what, err.text);
    exit(1);
}

static bool connect_unix(void *context, int i, int *fd, struct error *why)
{
    (void)i;
    *fd = nbd_client_connect_unix(context, why);
    return *fd >= 0;
}

static void make_source(const char *path)
{
    auto_close int fd = open(path, O_RDWR | O_CREAT, 0600);
    auto_free char *data = memory_alloc(SIZE / 2);
    memset(data, 0x5a, SIZE / 2);
    require(fd >= 0 && pwrite(fd, data, SIZE / 2, 0) == SIZE / 2 && ftruncate(fd, SIZE) == 0,
            "source");
}

/* Asks and changes until it ends or is cancelled after `cancel_ms` (-1: not). */
static bool drive(struct copier *copier, int cancel_ms)
{
    int64_t started_ms = clock_monotonic_ms();
    bool has_ended = false, is_done = true;
    for (uint64_t round = 0; is_done && !has_ended; round++) {
        struct copier_numbers numbers;
        copier_numbers(copier, &numbers);
        require(numbers.copied_bytes <= SIZE, "copied more than there is");
        copier_set_bandwidth(copier, round % 3 == 0 ? 0 : UINT64_C(64) << 20);
        if (cancel_ms >= 0 && clock_monotonic_ms() - started_ms >= cancel_ms)
            copier_cancel(copier);
        is_done = copier_join(copier, 3, &has_ended, &err);
    }
    return is_done;
}

static bool copy_once(const char *source_path, char *socket_path, int cancel_ms)
{
    auto_free char *map_path = memory_format("%s/map", folder);
    struct copier_source source = {
        .reader = READER_FILE, .path = source_path, .size_bytes = SIZE, .may_skip_holes = true};
    struct copier_options options = {.connections = 4,
                                     .queue_depth = 16,
                                     .connect = connect_unix,
                                     .context = socket_path,
                                     .export_name = ""};
    struct chunk_map *map;
    struct copier *copier;
    require(file_remove(map_path, &err), "map");
    require(chunk_map_open(&map, map_path, "", SIZE, COPY_CHUNK_BYTES, &err), "map");
    require(copier_start(&copier, &source, map, &options, &err), "start");
    bool is_done = drive(copier, cancel_ms);
    copier_free(copier);
    require(!is_done || chunk_map_done_bytes(map) == SIZE, "done but not whole");
    chunk_map_close(map);
    return is_done;
}

int main(void)
{
    require(mkdtemp(folder) != NULL, "folder");
    require(child_start_spawner(&err), "spawner");
    auto_free char *source_path = memory_format("%s/source", folder);
    auto_free char *socket_path = memory_format("%s/socket", folder);
    auto_free char *log_path = memory_format("%s/log", folder);
    auto_free char *size = memory_format("%d", SIZE);
    /* One thread: nbdkit 1.32 aborts when a client hangs up while several answer it. */
    const char *argv[] = {"nbdkit",    "-f",     "--threads", "1", "-U",
                          socket_path, "memory", size,        NULL};
    struct child *server;
    make_source(source_path);
    require(child_start(argv, log_path, -1, &server, &err), "nbdkit");
    require(child_wait_for_path(server, socket_path, 10000, &err), "nbdkit");
    for (int round = 0; round < ROUNDS; round++) {
        if (!copy_once(source_path, socket_path, round * 7))
            require(err.code == ERROR_CANCELLED, "cancelled");
    }
    require(copy_once(source_path, socket_path, -1), "whole copy");
    child_stop(server, 1000);
    require(file_remove_tree(folder, &err), "clean");
    return 0;
}
