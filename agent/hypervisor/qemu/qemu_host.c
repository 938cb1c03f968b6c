/* Asks this host's QEMU what it is; see qemu_host.h. */
#include "agent/hypervisor/qemu/qemu_host.h"

#include "agent/process/child.h"
#include "agent/qmp/qmp.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/log.h"
#include "base/memory.h"

#include <string.h>

enum { PROBE_MS = 10000, GUEST_RUNS_MS = 5000, FACTS_LIMIT = 4096, FIRMWARE_LOG_LIMIT = 1 << 20 };

const char *qemu_host_cpu(const char *accelerator)
{
    return strcmp(accelerator, "kvm") == 0 ? "host" : "qemu64";
}

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

/* A /dev/kvm that opens, and even a QEMU that says "running", may not execute a guest: only what
 * the firmware itself writes to its debug port proves it. */
static bool runs_a_guest(const char *firmware_log, struct error *err)
{
    for (int64_t end = clock_monotonic_ms() + GUEST_RUNS_MS; clock_monotonic_ms() < end;) {
        auto_free char *text = NULL;
        if (file_read(firmware_log, FIRMWARE_LOG_LIMIT, &text, NULL, err) && strstr(text, "BIOS"))
            return true;
        clock_sleep_ms(10);
    }
    return error_set(err, ERROR_UNSUPPORTED, "the firmware of a guest does not run");
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

static bool question(struct child *child, const char *socket, const char *firmware_log,
                     char machine[64], struct error *err)
{
    struct qmp *qmp = NULL;
    bool is_good = child_wait_for_path(child, socket, PROBE_MS, err) &&
                   qmp_open(&qmp, socket, PROBE_MS, err) && runs_a_guest(firmware_log, err) &&
                   read_machine(qmp, machine, err);
    qmp_close(qmp);
    return is_good;
}

static bool try_accelerator(const char *run_directory, const char *accelerator, char machine[64],
                            struct error *err)
{
    auto_free char *socket = memory_format("%s/probe.sock", run_directory);
    auto_free char *log = memory_format("%s/probe.log", run_directory);
    auto_free char *firmware_log = memory_format("%s/probe.firmware", run_directory);
    auto_free char *monitor = memory_format("unix:%s,server=on,wait=off", socket);
    auto_free char *debug_port = memory_format("file,id=firmware,path=%s", firmware_log);
    const char *const argv[] = {QEMU_BINARY,
                                "-accel",
                                accelerator,
                                "-machine",
                                "q35",
                                "-cpu",
                                qemu_host_cpu(accelerator),
                                "-m",
                                "16",
                                "-display",
                                "none",
                                "-nodefaults",
                                "-no-user-config",
                                "-chardev",
                                debug_port,
                                "-device",
                                "isa-debugcon,iobase=0x402,chardev=firmware",
                                "-qmp",
                                monitor,
                                NULL};
    struct child *child;
    if (!file_remove(socket, err) || !file_remove(firmware_log, err) ||
        !child_start(argv, log, -1, &child, err))
        return false;
    bool is_good = question(child, socket, firmware_log, machine, err);
    child_stop(child, 1000);
    struct error ignored;
    const char *const files[] = {socket, log, firmware_log};
    for (int i = 0; i < 3; i++) {
        if (!file_remove(files[i], &ignored))
            log_warning("%s", ignored.text);
    }
    return is_good;
}

static bool read_cache(const char *path, const char *version, struct qemu_facts *facts)
{
    struct error err;
    auto_free char *text = NULL;
    size_t size;
    struct qemu_facts known = {0};
    if (!file_read(path, FACTS_LIMIT, &text, &size, &err) ||
        !json_decode_text(text, size, facts_fields, &known, &err))
        return false;
    if (strcmp(known.version, version) != 0)
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
    /* each wish has its own answer: what was found for "tcg" says nothing of the best */
    auto_free char *path =
        memory_format("%s/qemu-facts-%s.json", run_directory, wanted ? wanted : "best");
    if (wanted && strcmp(wanted, "kvm") != 0 && strcmp(wanted, "tcg") != 0)
        return error_set(err, ERROR_INVALID, "accelerator: expected \"kvm\" or \"tcg\"");
    if (!read_version(found.version, err))
        return false;
    if (read_cache(path, found.version, facts))
        return true;
    if (!ask(run_directory, wanted, &found, err))
        return false;
    auto_free char *text = json_encode_text(facts_fields, &found);
    if (!file_write(path, 0600, text, strlen(text), err))
        return false;
    *facts = found;
    return true;
}
