/* Drives either end of a transfer from a test, without a coordinator or a handoff:
 *   mirror-drive keys DIRECTORY HOST...         ca.pem and HOST.pem, HOST.key of each host
 *   mirror-drive receive CONFIG.json SPEC.json
 *   mirror-drive transfer CONFIG.json SPEC.json
 * CONFIG: {"host", "keys", "state", "run", "port", "plugin", "sr_name", "sr", "retry_ms"}; transfer
 * needs no port and plugin. SPEC is a migration_spec. Commands come line by line on standard input,
 * each is answered by one line, "ok ..." or "error CODE TEXT":
 *   receive:  flush, reopen, discard
 *   transfer: run (answered when it ends; others may come meanwhile), cancel, mirrored, drain MS,
 *             abort, finish, bandwidth BYTES, progress, ledger */
#include "agent/hypervisor/hypervisor.h"
#include "agent/mirror/transfer.h"
#include "agent/process/child.h"
#include "agent/receiver/receiver.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 20, LINE_LIMIT = 256 };

struct config {
    char *host, *keys, *state, *run, *plugin, *sr_name, *sr;
    int port, retry_ms;
};
static const struct json_field config_fields[] = {
    JSON_TEXT("host", config, host, 1, LIMIT_PATH, true),
    JSON_TEXT("keys", config, keys, 1, LIMIT_PATH, true),
    JSON_TEXT("state", config, state, 1, LIMIT_PATH, true),
    JSON_TEXT("run", config, run, 1, LIMIT_PATH, true),
    JSON_TEXT("plugin", config, plugin, 1, LIMIT_PATH, false),
    JSON_TEXT("sr_name", config, sr_name, 1, LIMIT_PATH, false),
    JSON_TEXT("sr", config, sr, 1, LIMIT_PATH, false),
    JSON_INT("port", config, port, 0, 65535, false),
    JSON_INT("retry_ms", config, retry_ms, 0, 1000000, false),
    {0},
};

struct end {
    struct config config;
    struct migration_spec spec;
    struct journal *journal;
    struct link_files files;
    struct sr_set *srs;
    struct receiver_set *receivers;
    struct hypervisor *hypervisor;
    struct transfer *transfer;
    int64_t settings_version; /* the highest so far */
    pthread_t runner;
    bool has_runner;
};

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void answer(const char *command, bool is_done, const struct error *err)
{
    pthread_mutex_lock(&output);
    if (is_done)
        printf("%s ok\n", command);
    else
        printf("%s error %s %s\n", command, error_code_name(err->code), err->text);
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

/* --- keys --- */

static bool write_text(const char *folder, const char *name, const char *suffix, const char *text,
                       struct error *err)
{
    auto_free char *path = memory_format("%s/%s%s", folder, name, suffix);
    return file_write(path, 0600, text, strlen(text), err);
}

static bool make_host(const char *folder, const char *host, const char *ca, const char *ca_key,
                      struct error *err)
{
    auto_free char *key = NULL, *request = NULL, *certificate = NULL, *serial = NULL;
    struct x509_issue issue = {
        .purpose = X509_FOR_HOST, .common_name = host, .names = NULL, .days = 1};
    return x509_make_key(&key, err) && x509_make_request(key, host, &request, err) &&
           x509_issue(ca, ca_key, request, &issue, &certificate, &serial, err) &&
           write_text(folder, host, ".key", key, err) &&
           write_text(folder, host, ".pem", certificate, err);
}

static bool make_keys(int count, char **words, struct error *err)
{
    auto_free char *ca_key = NULL, *ca = NULL;
    if (!x509_make_key(&ca_key, err) || !x509_make_ca(ca_key, "test", 1, &ca, err) ||
        !write_text(words[0], "ca", ".pem", ca, err))
        return false;
    for (int i = 1; i < count; i++) {
        if (!make_host(words[0], words[i], ca, ca_key, err))
            return false;
    }
    return true;
}

/* --- what both ends have --- */

static bool read_json(const char *path, const struct json_field *fields, void *out,
                      struct error *err)
{
    auto_free char *text = NULL;
    return (file_read(path, FILE_LIMIT, &text, NULL, err) &&
            json_decode_text(text, strlen(text), fields, out, err)) ||
           error_prefix(err, "%s", path);
}

static bool read_key(const struct end *end, const char *name, const char *suffix, const char **out,
                     struct error *err)
{
    auto_free char *path = memory_format("%s/%s%s", end->config.keys, name, suffix);
    char *text = NULL;
    if (!file_read(path, FILE_LIMIT, &text, NULL, err))
        return false;
    *out = text;
    return true;
}

static bool open_common(struct end *end, const char *config, const char *spec, struct error *err)
{
    if (!read_json(config, config_fields, &end->config, err) ||
        !read_json(spec, migration_spec_fields, &end->spec, err) ||
        !file_make_directory(end->config.state, 0700, err) ||
        !file_make_directory(end->config.run, 0700, err))
        return false;
    auto_free char *path = memory_format("%s/journal.db", end->config.state);
    return journal_open(&end->journal, path, err) &&
           read_key(end, "ca", ".pem", &end->files.ca, err) &&
           read_key(end, end->config.host, ".pem", &end->files.certificate, err) &&
           read_key(end, end->config.host, ".key", &end->files.key, err) &&
           child_start_spawner(err);
}

/* --- receive --- */

static void on_stream(void *context, struct link_stream *stream, const char *peer_host,
                      const struct link_hello *hello)
{
    struct end *end = context;
    receiver_serve(end->receivers, stream, peer_host, hello);
}

static bool create_vdis(struct end *end, struct error *err)
{
    for (size_t i = 0; i < end->spec.disks.count; i++) {
        const struct spec_disk *disk = spec_disk_at(&end->spec, i);
        const struct spec_vdi *vdi = &disk->destination;
        if (!sr_set_create(end->srs, vdi->sr, vdi->vdi, vdi->format, disk->size_bytes, err))
            return false;
    }
    return true;
}

/* The SR's durable id is made at its first opening: the spec of the test cannot know it. */
static bool name_sr(struct end *end, struct error *err)
{
    struct inventory inventory = {0};
    if (!sr_set_scan(end->srs, &inventory, err))
        return false;
    const struct inventory_sr *sr = inventory.srs.items;
    for (size_t i = 0; i < end->spec.disks.count; i++)
        memcpy(spec_disk_at(&end->spec, i)->destination.sr, sr->id, UUID_SIZE);
    return true;
}

static bool open_receiver(struct end *end, struct error *err)
{
    struct sr_config sr = {.type = "ext"};
    snprintf(sr.name, sizeof sr.name, "%s", end->config.sr_name);
    snprintf(sr.location, sizeof sr.location, "%s", end->config.sr);
    if (!sr_set_open(&sr, 1, &end->srs, err) || !name_sr(end, err) || !create_vdis(end, err))
        return false;
    struct receiver_config config = {.run_directory = end->config.run,
                                     .plugin_path = end->config.plugin,
                                     .journal = end->journal,
                                     .srs = end->srs};
    struct link_server *server;
    return receiver_set_open(&end->receivers, &config, err) &&
           receiver_admit(end->receivers, &end->spec, err) &&
           link_listen(&server, "127.0.0.1", end->config.port, &end->files, on_stream, end, err);
}

static void receive_command(struct end *end, const char *line)
{
    struct error err;
    const char *migration = end->spec.migration;
    if (strcmp(line, "flush") == 0)
        answer(line, receiver_flush_and_close(end->receivers, migration, &err), &err);
    else if (strcmp(line, "reopen") == 0)
        answer(line, receiver_reopen(end->receivers, migration, &err), &err);
    else if (strcmp(line, "discard") == 0)
        answer(line, receiver_discard(end->receivers, migration, &err), &err);
    else
        answer(line, error_set(&err, ERROR_INVALID, "no such command"), &err);
}

/* --- transfer --- */

static bool open_transfer(struct end *end, struct error *err)
{
    json_auto_t *options =
        json_pack("{s:s, s:s}", "run_directory", end->config.run, "accelerator", "tcg");
    if (!qemu_driver.open(options, &end->hypervisor, err))
        return false;
    struct transfer_environment environment = {
        .driver = &qemu_driver,
        .hypervisor = end->hypervisor,
        .journal = end->journal,
        .run_directory = end->config.run,
        .state_directory = end->config.state,
        .files = &end->files,
        .peer_retry_limit_ms = end->config.retry_ms,
    };
    return transfer_open(&end->transfer, &environment, &end->spec, err);
}

static void *run_transfer(void *argument)
{
    struct end *end = argument;
    struct error err;
    answer("run", transfer_run(end->transfer, &err), &err);
    return NULL;
}

static void join_runner(struct end *end)
{
    if (end->has_runner)
        pthread_join(end->runner, NULL);
    end->has_runner = false;
}

static void print_progress(struct end *end)
{
    struct migration_progress progress;
    transfer_progress(end->transfer, &progress);
    auto_free char *text = json_encode_text(migration_progress_fields, &progress);
    pthread_mutex_lock(&output);
    printf("progress ok %s\n", text);
    fflush(stdout);
    pthread_mutex_unlock(&output);
    json_release(migration_progress_fields, &progress);
}

static bool print_entry(void *context, const struct ledger_entry *entry, struct error *err)
{
    (void)context;
    (void)err;
    printf(" %s=%s", entry->kind, entry->reference);
    return true;
}

static void print_ledger(struct end *end)
{
    struct error err;
    pthread_mutex_lock(&output);
    printf("ledger ok");
    if (!journal_each_ledger(end->journal, end->spec.migration, print_entry, NULL, &err))
        printf(" error %s", err.text);
    printf("\n");
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

static void transfer_command(struct end *end, const char *line)
{
    struct error err;
    if (strcmp(line, "run") == 0) {
        join_runner(end);
        end->has_runner = pthread_create(&end->runner, NULL, run_transfer, end) == 0;
    } else if (strcmp(line, "cancel") == 0) {
        transfer_cancel(end->transfer);
        answer(line, true, &err);
    } else if (strcmp(line, "mirrored") == 0) {
        answer(line, transfer_is_mirrored(end->transfer, &err), &err);
    } else if (strncmp(line, "drain ", 6) == 0) {
        answer("drain", transfer_drain(end->transfer, atoi(line + 6), &err), &err);
    } else if (strcmp(line, "abort") == 0) {
        join_runner(end);
        answer(line, transfer_abort(end->transfer, &err), &err);
    } else if (strcmp(line, "finish") == 0) {
        answer(line, transfer_finish(end->transfer, &err), &err);
    } else if (strncmp(line, "bandwidth ", 10) == 0) {
        const struct transfer_settings settings = {.version = ++end->settings_version,
                                                   .bandwidth_bytes_per_s =
                                                       strtoull(line + 10, NULL, 10)};
        transfer_set(end->transfer, &settings);
        answer("bandwidth", true, &err);
    } else if (strcmp(line, "progress") == 0) {
        print_progress(end);
    } else if (strcmp(line, "ledger") == 0) {
        print_ledger(end);
    } else {
        answer(line, error_set(&err, ERROR_INVALID, "no such command"), &err);
    }
}

/* --- */

static bool serve(char **words, struct error *err)
{
    static struct end end;
    bool is_receiver = strcmp(words[0], "receive") == 0;
    char line[LINE_LIMIT];
    if (!open_common(&end, words[1], words[2], err) ||
        !(is_receiver ? open_receiver(&end, err) : open_transfer(&end, err)))
        return false;
    answer("ready", true, err);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (is_receiver)
            receive_command(&end, line);
        else
            transfer_command(&end, line);
    }
    if (is_receiver) {
        receiver_set_close(end.receivers);
        return true;
    }
    transfer_cancel(end.transfer);
    join_runner(&end);
    transfer_close(end.transfer);
    return true;
}

int main(int argc, char **argv)
{
    struct error err;
    bool is_done = false;
    log_init("mirror-drive", LOG_INFO);
    signal(SIGPIPE, SIG_IGN);
    if (argc > 3 && strcmp(argv[1], "keys") == 0)
        is_done = make_keys(argc - 2, argv + 2, &err);
    else if (argc == 4 && (!strcmp(argv[1], "receive") || !strcmp(argv[1], "transfer")))
        is_done = serve(argv + 1, &err);
    else
        error_set(&err, ERROR_INVALID, "usage: see the top of mirror_drive.c");
    if (!is_done)
        fprintf(stderr, "%s: %s\n", error_code_name(err.code), err.text);
    return is_done ? 0 : 1;
}
