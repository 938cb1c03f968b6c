/* Asks this host's QEMU what it is; see qemu_host.h. */
#include "agent/hypervisor/qemu/qemu_host.h"

#include "agent/process/child.h"
#include "agent/qmp/qmp.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/memory.h"

#include <string.h>

enum { PROBE_MS = 10000, GUEST_RUNS_MS = 300, FACTS_LIMIT = 4096 };

static const struct json_field facts_fields[] = {
    JSON_CHARS("accelerator", qemu_facts, accelerator, 1, true),
    JSON_CHARS("version", qemu_facts, version, 1, true),
    JSON_CHARS("machine", qemu_facts, machine, 1, true),
    {0},
};

/* "QEMU emulator version 7.2.22 (Debian ...)" */
static bool read_version(char out[64], struct error *err)
{
    static const char before[] = "version ";
    const char *const argv[] = {QEMU_BINARY, "-version", NULL};
    auto_free char *text = NULL;
    if (!child_run(argv, PROBE_MS, FACTS_LIMIT, &text, err))
        return false;
    const char *version = strstr(text, before);
    if (!version)
        return error_set(err, ERROR_UNSUPPORTED, "%s does not tell its version", QEMU_BINARY);
    version += strlen(before);
    size_t length = strcspn(version, " \r\n");
    if (length >= 64)
        length = 63;
    memcpy(out, version, length);
    out[length] = '\0';
    return true;
}

/* The firmware runs as a guest for a moment: a /dev/kvm that opens may still not run one. */
static bool runs_a_guest(struct qmp *qmp, struct error *err)
{
    clock_sleep_ms(GUEST_RUNS_MS);
    json_auto_t *answer = NULL;
    if (!qmp_command(qmp, "query-status", NULL, PROBE_MS, &answer, err))
        return false;
    const char *status = json_string_value(json_object_get(answer, "status"));
    if (!status || strcmp(status, "running") != 0)
        return error_set(err, ERROR_UNSUPPORTED, "a guest ends up %s", status ? status : "?");
    return true;
}

static bool read_machine(struct qmp *qmp, char out[64], struct error *err)
{
    static const char after[] = "-machine";
    json_auto_t *answer = NULL;
    if (!qmp_command(qmp, "qom-get",
                     json_pack("{s:s, s:s}", "path", "/machine", "property", "type"), PROBE_MS,
                     &answer, err))
        return false;
    const char *type = json_string_value(answer);
    const char *end = type ? strstr(type, after) : NULL;
    if (!end || end - type >= 64)
        return error_set(err, ERROR_INTERNAL, "QEMU does not tell its machine type");
    memcpy(out, type, (size_t)(end - type));
    out[end - type] = '\0';
    return true;
}

static bool question(struct child *child, const char *socket, char machine[64], struct error *err)
{
    struct qmp *qmp = NULL;
    bool is_good = child_wait_for_path(child, socket, PROBE_MS, err) &&
                   qmp_open(&qmp, socket, PROBE_MS, err) && runs_a_guest(qmp, err) &&
                   read_machine(qmp, machine, err);
    qmp_close(qmp);
    return is_good;
}

static bool try_accelerator(const char *run_directory, const char *accelerator, char machine[64],
                            struct error *err)
{
    auto_free char *socket = memory_format("%s/probe.sock", run_directory);
    auto_free char *log = memory_format("%s/probe.log", run_directory);
    auto_free char *monitor = memory_format("unix:%s,server=on,wait=off", socket);
    /* the CPU that domains get: KVM may run a guest and still not with the host's own CPU */
    const char *cpu = strcmp(accelerator, "kvm") == 0 ? "host" : "qemu64";
    const char *const argv[] = {
        QEMU_BINARY, "-accel",          accelerator,   "-machine", "q35",  "-cpu", cpu,     "-m",
        "16",        "-no-user-config", "-nodefaults", "-display", "none", "-qmp", monitor, NULL};
    struct child *child;
    if (!file_remove(socket, err) || !child_start(argv, log, -1, &child, err))
        return false;
    bool is_good = question(child, socket, machine, err);
    child_stop(child, 1000);
    struct error ignored;
    if (!file_remove(socket, &ignored) || !file_remove(log, &ignored))
        return is_good;
    return is_good;
}

static bool read_cache(const char *path, const char *version, const char *wanted,
                       struct qemu_facts *facts)
{
    struct error err;
    auto_free char *text = NULL;
    size_t size;
    struct qemu_facts known = {0};
    if (!file_read(path, FACTS_LIMIT, &text, &size, &err) ||
        !json_decode_text(text, size, facts_fields, &known, &err))
        return false;
    if (strcmp(known.version, version) != 0 || (wanted && strcmp(known.accelerator, wanted) != 0))
        return false;
    *facts = known;
    return true;
}

static bool ask(const char *run_directory, const char *wanted, struct qemu_facts *facts,
                struct error *err)
{
    if (!wanted || strcmp(wanted, "kvm") == 0) {
        strcpy(facts->accelerator, "kvm");
        if (try_accelerator(run_directory, "kvm", facts->machine, err))
            return true;
        if (wanted)
            return error_prefix(err, "KVM does not work here");
    }
    strcpy(facts->accelerator, "tcg");
    return try_accelerator(run_directory, "tcg", facts->machine, err)
               ? true
               : error_prefix(err, "QEMU does not work here");
}

bool qemu_host_probe(const char *run_directory, const char *wanted, struct qemu_facts *facts,
                     struct error *err)
{
    struct qemu_facts found = {0};
    auto_free char *path = memory_format("%s/qemu-facts.json", run_directory);
    if (wanted && strcmp(wanted, "kvm") != 0 && strcmp(wanted, "tcg") != 0)
        return error_set(err, ERROR_INVALID, "accelerator: expected \"kvm\" or \"tcg\"");
    if (!read_version(found.version, err))
        return false;
    if (read_cache(path, found.version, wanted, facts))
        return true;
    if (!ask(run_directory, wanted, &found, err))
        return false;
    auto_free char *text = json_encode_text(facts_fields, &found);
    if (!file_write(path, 0600, text, strlen(text), err))
        return false;
    *facts = found;
    return true;
}
