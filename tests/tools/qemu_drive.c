/* Drives the QEMU driver from a test, without an agent:
 *   qemu-drive RUN_DIRECTORY boot DOMAIN.json | list | facts | config UUID | attach UUID DEVICE
 *                            resume | unpause | destroy | announce UUID
 *                            save UUID                      the stream goes to standard output
 *                            restore UUID CONFIG MAP        the stream comes from standard input
 *                            move UUID RUN_DIRECTORY MAP [abandon]
 * MAP: {"disks": [{"device", "path", "format"}], "vifs": [{"mac", "bridge"}]}. `move` hands the
 * domain over to another run directory through a pipe and prints the pause; with `abandon` the
 * destination gives up when it is ready and the source goes on. */
#include "agent/hypervisor/hypervisor.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 20 };

struct map {
    struct json_array disks, vifs;
};
static const struct json_field disk_fields[] = {
    JSON_CHARS("device", restore_disk, device, 1, true),
    JSON_CHARS("path", restore_disk, path, 1, true),
    JSON_ENUM("format", restore_disk, format, image_format_names, true),
    {0},
};
static const struct json_field vif_fields[] = {
    JSON_CHARS("mac", restore_vif, mac, 17, true),
    JSON_CHARS("bridge", restore_vif, bridge, 1, true),
    {0},
};
static const struct json_field map_fields[] = {
    JSON_LIST("disks", map, disks, restore_disk, LIMIT_DISKS, disk_fields, true),
    JSON_LIST("vifs", map, vifs, restore_vif, LIMIT_VIFS, vif_fields, true),
    {0},
};

static bool open_driver(const char *run_directory, struct hypervisor **hv, struct error *err)
{
    json_auto_t *options =
        json_pack("{s:s, s:s}", "run_directory", run_directory, "accelerator", "tcg");
    return qemu_driver.open(options, hv, err);
}

static bool read_map(const char *path, struct map *map, struct restore_map *out, struct error *err)
{
    auto_free char *text = NULL;
    if (!file_read(path, FILE_LIMIT, &text, NULL, err) ||
        !json_decode_text(text, strlen(text), map_fields, map, err))
        return error_prefix(err, "%s", path);
    *out = (struct restore_map){.disk_count = map->disks.count,
                                .disks = map->disks.items,
                                .vif_count = map->vifs.count,
                                .vifs = map->vifs.items};
    return true;
}

static int64_t suspended_at_us;

static bool on_suspended(void *context, struct error *err)
{
    (void)context;
    (void)err;
    suspended_at_us = clock_monotonic_us();
    return true;
}

static void on_progress(void *context, const struct memory_progress *progress)
{
    (void)context;
    (void)progress;
}

static const struct save_hooks hooks = {.on_suspended = on_suspended, .on_progress = on_progress};

static bool save(struct hypervisor *hv, const char *uuid, struct error *err)
{
    bool is_suspended;
    if (qemu_driver.save(hv, uuid, true, 1, &hooks, &is_suspended, err))
        return true;
    return error_prefix(err, is_suspended ? "suspended" : "running");
}

static bool restore(struct hypervisor *hv, const char *uuid, const char *config_path,
                    const char *map_path, struct error *err)
{
    struct map map = {0};
    struct restore_map where;
    auto_free char *config = NULL;
    bool is_done = file_read(config_path, FILE_LIMIT, &config, NULL, err) &&
                   read_map(map_path, &map, &where, err) &&
                   qemu_driver.restore(hv, uuid, config, &where, 0, err);
    json_release(map_fields, &map);
    return is_done;
}

struct destination {
    struct hypervisor *hv;
    const char *uuid;
    const char *config;
    const struct restore_map *map;
    int fd;
    bool is_restored;
    struct error error;
};

static void *run_destination(void *context)
{
    struct destination *destination = context;
    destination->is_restored =
        qemu_driver.restore(destination->hv, destination->uuid, destination->config,
                            destination->map, destination->fd, &destination->error);
    close(take_fd(&destination->fd)); /* the source must not wait for a reader that gave up */
    return NULL;
}

/* The commit, without journals: on either failure the source goes on. */
static bool settle(struct hypervisor *source, struct destination *destination, bool is_saved,
                   bool is_abandoned, struct error *err)
{
    struct error second;
    if (is_saved && destination->is_restored && !is_abandoned) {
        if (!qemu_driver.unpause(destination->hv, destination->uuid, err))
            return false;
        printf("{\"pause_us\": %" PRId64 "}\n", clock_monotonic_us() - suspended_at_us);
        return qemu_driver.announce(destination->hv, destination->uuid, err) &&
               qemu_driver.destroy(source, destination->uuid, err);
    }
    if (!qemu_driver.destroy(destination->hv, destination->uuid, &second) ||
        !qemu_driver.resume(source, destination->uuid, &second)) {
        *err = second;
        return false;
    }
    if (is_saved && destination->is_restored) {
        printf("{\"pause_us\": %" PRId64 "}\n", clock_monotonic_us() - suspended_at_us);
        return true;
    }
    if (is_saved)
        *err = destination->error;
    return false;
}

static bool move(struct hypervisor *source, const char *uuid, const char *to, const char *map_path,
                 bool is_abandoned, struct error *err)
{
    struct destination destination = {.uuid = uuid};
    struct map map = {0};
    struct restore_map where;
    auto_free char *config = NULL;
    int ends[2];
    if (!open_driver(to, &destination.hv, err) || !read_map(map_path, &map, &where, err) ||
        !qemu_driver.config(source, uuid, &config, err))
        return false;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set(err, ERROR_INTERNAL, "pipe");
    destination.config = config;
    destination.map = &where;
    destination.fd = ends[0];
    pthread_t thread;
    pthread_create(&thread, NULL, run_destination, &destination);
    bool is_suspended;
    bool is_saved = qemu_driver.save(source, uuid, true, ends[1], &hooks, &is_suspended, err);
    close(ends[1]);
    pthread_join(thread, NULL);
    bool is_done = settle(source, &destination, is_saved, is_abandoned, err);
    json_release(map_fields, &map);
    qemu_driver.close(destination.hv);
    return is_done;
}

static bool list(struct hypervisor *hv, struct error *err)
{
    struct domain_list domains;
    if (!qemu_driver.list(hv, &domains, err))
        return false;
    for (size_t i = 0; i < domains.count; i++)
        printf("%s %s %s disks=%zu vifs=%zu\n", domains.items[i].uuid, domains.items[i].name,
               domain_state_names[domains.items[i].state], domains.items[i].disk_count,
               domains.items[i].vif_count);
    domain_list_done(&domains);
    return true;
}

static bool facts(struct hypervisor *hv, struct error *err)
{
    struct host_facts facts;
    if (!qemu_driver.facts(hv, &facts, err))
        return false;
    printf("accelerator=%s version=%s cpu=%s/%s cpus=%d memory=%" PRIu64 " free=%" PRIu64 "\n",
           facts.accelerator, facts.version, facts.cpu_vendor, facts.cpu_model, facts.cpus,
           facts.memory_bytes, facts.memory_free_bytes);
    return true;
}

static bool attach(struct hypervisor *hv, const char *uuid, const char *device, struct error *err)
{
    struct disk_attach at;
    if (!qemu_driver.disk_attach(hv, uuid, device, &at, err))
        return false;
    static const char *const readers[] = {"file", "qemu-nbd", "nbd-socket"};
    printf("%s %s %s %s %" PRIu64 "\n", at.qmp_path, at.node, readers[at.reader], at.reader_path,
           at.size_bytes);
    return true;
}

static bool print_config(struct hypervisor *hv, const char *uuid, struct error *err)
{
    auto_free char *text = NULL;
    if (!qemu_driver.config(hv, uuid, &text, err))
        return false;
    puts(text);
    return true;
}

static bool boot(struct hypervisor *hv, const char *path, struct error *err)
{
    auto_free char *text = NULL;
    return file_read(path, FILE_LIMIT, &text, NULL, err) && qemu_driver.boot(hv, text, err);
}

static bool run(struct hypervisor *hv, int count, char **words, struct error *err)
{
    const char *command = words[0];
    const char *uuid = count > 1 ? words[1] : "";
    bool is_abandoned = count == 5 && strcmp(words[4], "abandon") == 0;
    if (strcmp(command, "list") == 0 && count == 1)
        return list(hv, err);
    if (strcmp(command, "facts") == 0 && count == 1)
        return facts(hv, err);
    if (strcmp(command, "boot") == 0 && count == 2)
        return boot(hv, words[1], err);
    if (strcmp(command, "config") == 0 && count == 2)
        return print_config(hv, uuid, err);
    if (strcmp(command, "attach") == 0 && count == 3)
        return attach(hv, uuid, words[2], err);
    if (strcmp(command, "resume") == 0 && count == 2)
        return qemu_driver.resume(hv, uuid, err);
    if (strcmp(command, "unpause") == 0 && count == 2)
        return qemu_driver.unpause(hv, uuid, err);
    if (strcmp(command, "destroy") == 0 && count == 2)
        return qemu_driver.destroy(hv, uuid, err);
    if (strcmp(command, "announce") == 0 && count == 2)
        return qemu_driver.announce(hv, uuid, err);
    if (strcmp(command, "save") == 0 && count == 2)
        return save(hv, uuid, err);
    if (strcmp(command, "restore") == 0 && count == 4)
        return restore(hv, uuid, words[2], words[3], err);
    if (strcmp(command, "move") == 0 && (count == 4 || is_abandoned))
        return move(hv, uuid, words[2], words[3], is_abandoned, err);
    return error_set(err, ERROR_INVALID, "usage: see the top of qemu_drive.c");
}

int main(int argc, char **argv)
{
    struct error err;
    struct hypervisor *hv;
    log_init("qemu-drive", LOG_INFO);
    if (argc < 3) {
        fprintf(stderr, "usage: qemu-drive RUN_DIRECTORY COMMAND ...\n");
        return 2;
    }
    if (!open_driver(argv[1], &hv, &err)) {
        fprintf(stderr, "%s: %s\n", error_code_name(err.code), err.text);
        return 1;
    }
    bool is_done = run(hv, argc - 2, argv + 2, &err);
    qemu_driver.close(hv);
    if (!is_done)
        fprintf(stderr, "%s: %s\n", error_code_name(err.code), err.text);
    return is_done ? 0 : 1;
}
