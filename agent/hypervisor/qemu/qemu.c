/* The driver's table, and the operations that are short. */
#include "agent/hypervisor/hypervisor.h"

#include "agent/hypervisor/qemu/qemu_domain.h"
#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_host.h"
#include "agent/hypervisor/qemu/qemu_inventory.h"
#include "agent/hypervisor/qemu/qemu_monitor.h"
#include "agent/hypervisor/qemu/qemu_restore.h"
#include "agent/hypervisor/qemu/qemu_run.h"
#include "agent/hypervisor/qemu/qemu_save.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/log.h"
#include "base/memory.h"

#include <limits.h>
#include <signal.h>
#include <string.h>

struct options {
    char *run_directory;
    char *memory_directory; /* NULL: /dev/shm */
    char *accelerator;      /* NULL: the best that works */
    uint64_t memory_bytes;  /* for all guests together; 0: what the machine has */
};
static const struct json_field options_fields[] = {
    JSON_TEXT("run_directory", options, run_directory, 1, LIMIT_PATH, true),
    JSON_TEXT("memory_directory", options, memory_directory, 1, LIMIT_PATH, false),
    JSON_TEXT("accelerator", options, accelerator, 1, 15, false),
    JSON_BYTES("memory_bytes", options, memory_bytes, false),
    {0},
};

static void driver_close(struct hypervisor *hv)
{
    if (!hv)
        return;
    pthread_mutex_destroy(&hv->state_lock);
    free(hv->run_directory);
    free(hv->memory_directory);
    free(hv);
}

static bool prepare(struct hypervisor *hv, const struct options *options, struct error *err)
{
    auto_free char *domains = memory_format("%s/domains", options->run_directory);
    if (!file_make_directory(domains, 0755, err))
        return false;
    hv->memory_limit_bytes = options->memory_bytes;
    hv->run_directory = realpath(options->run_directory, NULL);
    const char *memory = options->memory_directory ? options->memory_directory : "/dev/shm";
    hv->memory_directory = realpath(memory, NULL);
    if (!hv->run_directory || !hv->memory_directory)
        return error_set(err, ERROR_INVALID, "memory_directory: no directory %s", memory);
    if (strlen(hv->run_directory) > QEMU_RUN_DIRECTORY_LIMIT)
        return error_set(err, ERROR_INVALID,
                         "run_directory: %s has more than %d bytes, too long for its sockets",
                         hv->run_directory, QEMU_RUN_DIRECTORY_LIMIT);
    return qemu_host_probe(hv->run_directory, options->accelerator, &hv->facts, err);
}

static bool driver_open(const json_t *json, struct hypervisor **out, struct error *err)
{
    struct options options = {0};
    if (!json_decode(json, options_fields, &options, err))
        return error_prefix(err, "qemu");
    signal(SIGPIPE, SIG_IGN); /* a peer that goes away is an error of the stream, not a signal */
    struct hypervisor *hv = memory_alloc(sizeof *hv);
    pthread_mutex_init(&hv->state_lock, NULL);
    bool is_ready = prepare(hv, &options, err);
    json_release(options_fields, &options);
    if (!is_ready) {
        driver_close(hv);
        return error_prefix(err, "qemu");
    }
    *out = hv;
    return true;
}

static bool driver_config(struct hypervisor *hv, const char *uuid, char **text, struct error *err)
{
    auto_config struct qemu_config config = {0};
    if (!qemu_domain_load(hv, uuid, &config, err))
        return false;
    *text = qemu_config_text(&config);
    return true;
}

/* QMP stop stops the guest: nothing is left to hold. */
static bool driver_hold(struct hypervisor *hv, const char *uuid, struct error *err)
{
    (void)hv;
    (void)uuid;
    (void)err;
    return true;
}

static bool driver_destroy(struct hypervisor *hv, const char *uuid, struct error *err)
{
    if (!uuid_is_valid(uuid))
        return error_set(err, ERROR_INVALID, "\"%s\" is no UUID", uuid);
    return qemu_domain_remove(hv, uuid, err);
}

static bool driver_announce(struct hypervisor *hv, const char *uuid, struct error *err)
{
    auto_qmp struct qmp *qmp = NULL;
    if (!qemu_monitor_open(hv, uuid, &qmp, err))
        return false;
    return qmp_command(
        qmp, "announce-self",
        json_pack("{s:i, s:i, s:i, s:i}", "initial", 50, "max", 550, "rounds", 5, "step", 50),
        QEMU_COMMAND_MS, NULL, err);
}

static bool boot_new(struct hypervisor *hv, struct qemu_config *config, struct error *err)
{
    auto_qmp struct qmp *qmp = NULL;
    return qemu_domain_create(hv, config, false, err) &&
           qemu_monitor_open_new(hv, config->uuid, &qmp, err) &&
           qmp_command(qmp, "cont", NULL, QEMU_COMMAND_MS, NULL, err);
}

/* `boot` checks the description; here only its UUID matters. */
static bool read_uuid(const char *text, size_t size, char uuid[UUID_SIZE], struct error *err)
{
    json_auto_t *root = NULL;
    if (!json_parse(text, size, &root, err))
        return false;
    const char *found = json_string_value(json_object_get(root, "uuid"));
    if (!found || !uuid_is_valid(found))
        return error_set(err, ERROR_INVALID, "/uuid: expected a UUID");
    memcpy(uuid, found, UUID_SIZE);
    return true;
}

static bool driver_describe(struct hypervisor *hv, const char *path, char **text,
                            char uuid[UUID_SIZE], struct error *err)
{
    enum { DESCRIPTION_LIMIT = 1 << 20 };
    auto_free char *found = NULL;
    size_t size = 0;
    (void)hv;
    if (!file_read(path, DESCRIPTION_LIMIT, &found, &size, err))
        return false;
    if (!read_uuid(found, size, uuid, err))
        return error_prefix(err, "%s", path);
    *text = take(found);
    return true;
}

/* By its description (ARCHITECTURE.md, "A domain of the qemu driver"); one that has ended is
 * started anew. */
static bool driver_boot(struct hypervisor *hv, const char *domain_json, struct error *err)
{
    auto_config struct qemu_config config = {0};
    if (!qemu_config_parse(domain_json, &config, err))
        return false;
    memcpy(config.machine, hv->facts.machine, sizeof config.machine);
    memcpy(config.accelerator, hv->facts.accelerator, sizeof config.accelerator);
    if (qemu_domain_is_alive(hv, config.uuid))
        return error_set(err, ERROR_CONFLICT, "domain %s runs already", config.uuid);
    if (!qemu_domain_check(hv, &config, err) || !qemu_domain_remove(hv, config.uuid, err))
        return error_prefix(err, "booting domain %s", config.uuid);
    if (boot_new(hv, &config, err))
        return true;
    struct error second;
    if (!qemu_domain_remove(hv, config.uuid, &second))
        log_error("%s", second.text);
    return error_prefix(err, "booting domain %s", config.uuid);
}

const struct hypervisor_driver qemu_driver = {
    .name = "qemu",
    .open = driver_open,
    .close = driver_close,
    .facts = qemu_inventory_facts,
    .list = qemu_inventory_list,
    .config = driver_config,
    .disk_attach = qemu_inventory_attach,
    .hold = driver_hold,
    .release = driver_hold,
    .save = qemu_save,
    .restore = qemu_restore,
    .unpause = qemu_save_undo, /* both are `cont` on images that are this host's again */
    .resume = qemu_save_undo,
    .destroy = driver_destroy,
    .announce = driver_announce,
    .describe = driver_describe,
    .boot = driver_boot,
    .guest_run = qemu_run_find,
};
