/* A run is named by QEMU's process: its number and when it began; see qemu_run.h. */
#include "agent/hypervisor/qemu/qemu_run.h"

#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_host.h"
#include "agent/hypervisor/qemu/qemu_process.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { STAT_LIMIT = 4096, START_TIME_FIELD = 22 }; /* proc(5) */

/* The command's name, the only field with spaces, ends at the last ")" and is field 2. */
static bool read_start_time(pid_t pid, unsigned long long *out)
{
    auto_free char *path = memory_format("/proc/%d/stat", (int)pid);
    auto_fclose FILE *file = fopen(path, "re");
    char text[STAT_LIMIT] = "";
    if (!file || !fgets(text, sizeof text, file))
        return false;
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < START_TIME_FIELD; field++)
        at = strchr(at + 1, ' ');
    return at && sscanf(at, " %llu", out) == 1; /* NOLINT(cert-err34-c) */
}

bool qemu_run_find(struct hypervisor *hv, const char *uuid, const char *id, struct guest_run *out,
                   struct error *err)
{
    char path[QEMU_FOLDER_PATH];
    unsigned long long started;
    struct guest_run run = {.id = "-", .end = GUEST_GONE};
    if (!*id && !qemu_folder_exists(hv, uuid))
        return error_set(err, ERROR_NOT_FOUND, "no domain %s on this host", uuid);
    qemu_folder_path(hv, uuid, "qemu.pid", path);
    pid_t pid = qemu_process_find(path);
    if (pid && read_start_time(pid, &started)) {
        snprintf(run.id, sizeof run.id, "%d/%llu", (int)pid, started);
        run.end = GUEST_RUNS;
    }
    if (*id && strcmp(run.id, id) != 0) {
        run.end = GUEST_GONE;
        snprintf(run.id, sizeof run.id, "%s", id);
    }
    *out = run;
    return true;
}
