/* See fixture.h. */
#include "fixture.h"

#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>

char fixture_folder[64];
struct journal *fixture_journal;
struct sr_set *fixture_srs;
struct receiver_set *fixture_receivers;
struct migration_spec fixture_spec;

static struct {
    char id[UUID_SIZE];
    char *certificate, *key;
} hosts[3]; /* source, stranger, destination */
enum { DESTINATION = 2 };
static char *ca_key, *ca;
static struct link_server *server;
static struct error err;
static const char *const vdis[] = {VDI_RAW, VDI_QCOW2, VDI_VHD};

static void make_identities(void)
{
    cr_assert(x509_make_key(&ca_key, &err) && x509_make_ca(ca_key, "crosspool", 30, &ca, &err),
              "%s", err.text);
    for (int i = 0; i < 3; i++) {
        auto_free char *request = NULL;
        auto_free char *serial = NULL;
        uuid_make(hosts[i].id);
        struct x509_issue issue = {X509_FOR_HOST, hosts[i].id, NULL, 1};
        cr_assert(x509_make_key(&hosts[i].key, &err) &&
                      x509_make_request(hosts[i].key, hosts[i].id, &request, &err) &&
                      x509_issue(ca, ca_key, request, &issue, &hosts[i].certificate, &serial, &err),
                  "%s", err.text);
    }
}

static void on_stream(void *context, struct link_stream *stream, const char *peer_host,
                      const struct link_hello *hello)
{
    (void)context;
    receiver_serve(fixture_receivers, stream, peer_host, hello);
}

static void make_spec(const char *sr)
{
    fixture_spec = (struct migration_spec){.migration = MIGRATION};
    strcpy(fixture_spec.source.id, hosts[FIXTURE_SOURCE].id);
    struct spec_disk *disks = memory_array(3, sizeof *disks);
    for (int i = 0; i < 3; i++) {
        enum image_format format = (enum image_format)i;
        disks[i] = (struct spec_disk){.size_bytes = DISK_BYTES, .destination = {.format = format}};
        strcpy(disks[i].destination.sr, sr);
        strcpy(disks[i].destination.vdi, vdis[i]);
        cr_assert(sr_set_create(fixture_srs, sr, vdis[i], format, DISK_BYTES, &err), "%s",
                  err.text);
    }
    fixture_spec.disks = (struct json_array){disks, 3};
}

static void open_srs(void)
{
    struct sr_config config = {.name = "local", .type = "ext"};
    auto_free char *location = fixture_path("sr");
    cr_assert(file_make_directory(location, 0700, &err), "%s", err.text);
    strcpy(config.location, location);
    cr_assert(sr_set_open(&config, 1, &fixture_srs, &err), "%s", err.text);
    struct inventory inventory = {0};
    cr_assert(sr_set_scan(fixture_srs, &inventory, &err));
    make_spec(((struct inventory_sr *)inventory.srs.items)->id);
    free(inventory.srs.items);
}

static void open_receivers(void)
{
    auto_free char *run_directory = fixture_path("run");
    struct receiver_config config = {.run_directory = run_directory,
                                     .plugin_path = PLUGIN_PATH,
                                     .journal = fixture_journal,
                                     .srs = fixture_srs};
    cr_assert(receiver_set_open(&fixture_receivers, &config, &err), "%s", err.text);
}

void fixture_start(void)
{
    log_init("test", LOG_ERROR);
    snprintf(fixture_folder, sizeof fixture_folder, "/tmp/crosspool-receiver-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture_folder));
    cr_assert(child_start_spawner(&err), "%s", err.text);
    make_identities();
    auto_free char *journal_path = fixture_path("journal.db");
    cr_assert(journal_open(&fixture_journal, journal_path, &err), "%s", err.text);
    open_srs();
    open_receivers();
    cr_assert(receiver_admit(fixture_receivers, &fixture_spec, &err), "%s", err.text);
    struct link_files files = {ca, hosts[DESTINATION].certificate, hosts[DESTINATION].key};
    cr_assert(link_listen(&server, "127.0.0.1", 0, &files, on_stream, NULL, &err), "%s", err.text);
}

void fixture_stop(void)
{
    receiver_set_close(fixture_receivers);
    link_server_close(server);
    sr_set_close(fixture_srs);
    journal_close(fixture_journal);
    free(fixture_spec.disks.items);
    free(ca);
    free(ca_key);
    for (int i = 0; i < 3; i++) {
        free(hosts[i].certificate);
        free(hosts[i].key);
    }
    auto_free char *small = fixture_path("sr");
    (void)umount2(small, MNT_DETACH); /* of the test with full storage */
    cr_assert(file_remove_tree(fixture_folder, &err), "%s", err.text);
}

void fixture_restart_receivers(void)
{
    receiver_set_close(fixture_receivers);
    open_receivers();
}

char *fixture_path(const char *name)
{
    return memory_format("%s/%s", fixture_folder, name);
}

char *fixture_image(int disk)
{
    return memory_format("%s/sr/%s.%s", fixture_folder, vdis[disk], image_format_names[disk]);
}

void fixture_run(const char *command)
{
    const char *argv[] = {"sh", "-c", command, NULL};
    cr_assert(child_run(argv, 20000, 65536, NULL, &err), "%s: %s", command, err.text);
}

static bool count_entry(void *context, const struct ledger_entry *entry, struct error *e)
{
    (void)e;
    *(int *)context += strcmp(entry->kind, "receiver") == 0 || strcmp(entry->kind, "socket") == 0;
    return true;
}

int fixture_ledger_count(void)
{
    int count = 0;
    cr_assert(journal_each_ledger(fixture_journal, MIGRATION, count_entry, &count, &err));
    return count;
}

static bool is_gone(pid_t pid)
{
    auto_free char *path = memory_format("/proc/%d/stat", pid);
    auto_free char *text = NULL;
    struct error none;
    if (!file_read(path, 4096, &text, NULL, &none))
        return true;
    const char *state = strrchr(text, ')');
    return state && state[2] == 'Z';
}

/* Returns when it is gone: until then its sockets may still accept. */
static void kill_process(pid_t pid)
{
    cr_assert_eq(kill(pid, SIGKILL), 0);
    for (int i = 0; i < 1000 && !is_gone(pid); i++)
        clock_sleep_ms(5);
    cr_assert(is_gone(pid));
}

void fixture_kill(const char *program, const char *word)
{
    auto_free char *output = NULL;
    auto_free char *pattern = memory_format("^%s .*%s.*%s", program, fixture_folder, word);
    const char *argv[] = {"pgrep", "-f", pattern, NULL};
    cr_assert(child_run(argv, 10000, 65536, &output, &err), "%s", err.text);
    for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n"))
        kill_process((pid_t)strtol(line, NULL, 10));
}

bool fixture_try(enum fixture_peer peer, const struct link_hello *hello, struct fixture_stream *out,
                 struct error *e)
{
    struct link_files files = {ca, hosts[peer].certificate, hosts[peer].key};
    struct link_stream *stream;
    struct link_relay_options options = {0};
    int pair[2];
    if (!link_connect(&stream, hosts[DESTINATION].id, "127.0.0.1", link_server_port(server), &files,
                      hello, 30000, e))
        return false;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert(link_relay_start_fd(&out->relay, stream, pair[0], &options, &err), "%s", err.text);
    out->nbd = nbd_create();
    auto_free char *name = memory_format(
        "%s.%" PRId64, hello->channel == LINK_MIRROR ? "mirror" : "copy", hello->epoch);
    cr_assert_eq(nbd_set_export_name(out->nbd, name), 0);
    cr_assert_eq(nbd_connect_socket(out->nbd, pair[1]), 0, "%s", nbd_get_error());
    return true;
}

struct fixture_stream fixture_attach(enum link_channel channel, int disk, int64_t epoch)
{
    struct fixture_stream stream;
    struct link_hello hello = {
        .migration = MIGRATION, .channel = channel, .epoch = epoch, .disk = disk};
    cr_assert(fixture_try(FIXTURE_SOURCE, &hello, &stream, &err), "%s", err.text);
    return stream;
}

void fixture_detach(struct fixture_stream *stream)
{
    nbd_close(stream->nbd);
    link_relay_stop(stream->relay);
}

struct error fixture_refused(enum link_channel channel, int disk, int64_t epoch)
{
    struct fixture_stream stream;
    struct error why;
    struct link_hello hello = {
        .migration = MIGRATION, .channel = channel, .epoch = epoch, .disk = disk};
    cr_assert_not(fixture_try(FIXTURE_SOURCE, &hello, &stream, &why));
    return why;
}

int fixture_write(struct fixture_stream *stream, int byte, uint64_t size, uint64_t offset)
{
    auto_free char *data = memory_alloc(size);
    memset(data, byte, size);
    return nbd_pwrite(stream->nbd, data, size, offset, 0) == 0 ? 0 : nbd_get_errno();
}

bool fixture_image_holds(int disk, int byte, uint64_t size, uint64_t offset)
{
    static const char *const names[] = {"raw", "qcow2", "vpc"};
    auto_free char *image = fixture_image(disk);
    auto_free char *output = NULL;
    auto_free char *command = memory_format("read -P %d %" PRIu64 " %" PRIu64, byte, offset, size);
    const char *argv[] = {"qemu-io", "-r", "-f", names[disk], "-c", command, image, NULL};
    cr_assert(child_run(argv, 20000, 65536, &output, &err) || strstr(err.text, "ended with 1"),
              "%s", err.text);
    return output && !strstr(output, "verification failed");
}
