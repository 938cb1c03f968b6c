/* Copies a file or an NBD socket to an NBD unix socket with the agent's copier, for measurements:
 *   copier-drive FILE|unix:SOCKET SIZE DESTINATION_SOCKET EXPORT CONNECTIONS QUEUE [skip-holes]
 * prints "seconds bytes sent zero cpu_seconds". */
#include "agent/mirror/copier.h"
#include "agent/mirror/nbd_client.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static bool connect_unix(void *context, int i, int *fd, struct error *err)
{
    (void)i;
    *fd = nbd_client_connect_unix(context, err);
    return *fd >= 0;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static bool run(char **argv, bool may_skip_holes, struct error *err)
{
    bool is_nbd = strncmp(argv[1], "unix:", 5) == 0;
    struct copier_source source = {
        .reader = is_nbd ? READER_NBD_SOCKET : READER_FILE,
        .path = is_nbd ? argv[1] + 5 : argv[1],
        .size_bytes = strtoull(argv[2], NULL, 0),
        .may_skip_holes = may_skip_holes,
    };
    struct copier_options options = {
        .connections = atoi(argv[5]),
        .queue_depth = atoi(argv[6]),
        .connect = connect_unix,
        .context = argv[3],
        .export_name = argv[4],
    };
    char path[] = "/tmp/copier_drive.XXXXXX";
    close(mkstemp(path));
    struct chunk_map *map;
    struct copier *copier;
    bool has_ended = false;
    if (!chunk_map_open(&map, path, "", source.size_bytes, COPY_CHUNK_BYTES, err))
        return false;
    int64_t started_us = clock_monotonic_us();
    bool is_done = copier_start(&copier, &source, map, &options, err);
    while (is_done && !has_ended)
        is_done = copier_join(copier, 1000, &has_ended, err);
    double seconds = (double)(clock_monotonic_us() - started_us) / 1e6;
    unlink(path);
    if (!is_done)
        return false;
    struct copier_numbers numbers;
    copier_numbers(copier, &numbers);
    printf("%.3f %llu %llu %llu %.3f\n", seconds, (unsigned long long)numbers.copied_bytes,
           (unsigned long long)numbers.sent_bytes, (unsigned long long)numbers.zero_bytes,
           cpu_seconds());
    copier_free(copier);
    chunk_map_close(map);
    return true;
}

int main(int argc, char **argv)
{
    struct error err;
    if (argc < 7) {
        fprintf(stderr, "usage: copier-drive FILE|unix:SOCKET SIZE SOCKET EXPORT CONNECTIONS QUEUE "
                        "[skip-holes]\n");
        return 2;
    }
    if (run(argv, argc > 7 && strcmp(argv[7], "skip-holes") == 0, &err))
        return 0;
    fprintf(stderr, "copier-drive: %s: %s\n", error_code_name(err.code), err.text);
    return 1;
}
