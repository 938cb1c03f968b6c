/* QMP commands of the mirror job. */
#include "agent/mirror/mirror_job.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    POLL_MS = 2,
    KILL_MS = 10000,
    REMOVE_MS = 5000,
    GRANULARITY = 4096, /* of the mirror's dirty bitmap */
};

/* 16 hex digits of the migration are enough to tell the migrations of one QEMU apart. */
void mirror_names_derive(struct mirror_names *names, const char *migration, int disk)
{
    char digits[17];
    size_t count = 0;
    for (const char *c = migration; *c && count < 16; c++) {
        if (*c != '-')
            digits[count++] = *c;
    }
    digits[count] = 0;
    snprintf(names->job, sizeof names->job, "cp%s-%d-j", digits, disk);
    snprintf(names->target, sizeof names->target, "cp%s-%d-t", digits, disk);
    snprintf(names->filter, sizeof names->filter, "cp%s-%d-f", digits, disk);
    snprintf(names->scratch, sizeof names->scratch, "cp%s-%d-s", digits, disk);
    snprintf(names->bitmap, sizeof names->bitmap, "cp%s-%d-b", digits, disk);
}

static void describe(const json_t *info, struct mirror_job *job)
{
    const char *status = json_string_value(json_object_get(info, "status"));
    const char *failure = json_string_value(json_object_get(info, "error"));
    json_int_t current = json_integer_value(json_object_get(info, "current-progress"));
    json_int_t total = json_integer_value(json_object_get(info, "total-progress"));
    job->exists = true;
    job->has_concluded = status && strcmp(status, "concluded") == 0;
    /* "standby" is a ready job that is paused while the block layer drains. */
    job->is_ready = status && (strcmp(status, "ready") == 0 || strcmp(status, "standby") == 0);
    job->is_in_sync = job->is_ready && current == total;
    snprintf(job->failure, sizeof job->failure, "%s", failure ? failure : "");
}

bool mirror_job_query(struct monitor *monitor, const struct mirror_names *names,
                      struct mirror_job *out, struct error *err)
{
    json_t *answer = NULL;
    if (!monitor_command(monitor, "query-jobs", NULL, &answer, err))
        return false;
    *out = (struct mirror_job){0};
    for (size_t i = 0; i < json_array_size(answer); i++) {
        const json_t *info = json_array_get(answer, i);
        const char *id = json_string_value(json_object_get(info, "id"));
        if (id && strcmp(id, names->job) == 0)
            describe(info, out);
    }
    json_decref(answer);
    return true;
}

bool mirror_job_add_target(struct monitor *monitor, const struct mirror_names *names,
                           const char *socket_path, const char *export_name, struct error *err)
{
    /* reconnect-delay 0: a guest write must fail over to "no mirror" at once, not wait. */
    json_t *arguments =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:s, s:i, s:s}", "driver", "nbd", "node-name",
                  names->target, "server", "type", "unix", "path", socket_path, "export",
                  export_name, "reconnect-delay", 0, "discard", "unmap");
    return monitor_command(monitor, "blockdev-add", arguments, NULL, err);
}

bool mirror_job_start(struct monitor *monitor, const struct mirror_names *names, const char *node,
                      struct error *err)
{
    json_t *arguments =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:b}", "job-id", names->job,
                  "device", node, "target", names->target, "sync", "none", "copy-mode",
                  "write-blocking", "granularity", GRANULARITY, "filter-node-name", names->filter,
                  "on-source-error", "report", "on-target-error", "report", "auto-dismiss", 0);
    return monitor_command(monitor, "blockdev-mirror", arguments, NULL, err);
}

bool mirror_job_failure(const struct mirror_job *job, struct error *err)
{
    const char *reason = job->failure[0] ? job->failure : "it ended";
    /* QEMU names the errno of a failed target write only in words. */
    bool is_full = strstr(reason, strerror(ENOSPC)) || strstr(reason, strerror(EDQUOT));
    return error_set(err, is_full ? ERROR_NO_SPACE : ERROR_MIRROR_LOST, "mirror: %s", reason);
}

bool mirror_job_wait_ready(struct monitor *monitor, const struct mirror_names *names,
                           int timeout_ms, struct error *err)
{
    for (int64_t deadline = clock_monotonic_ms() + timeout_ms;;) {
        struct mirror_job job;
        if (!mirror_job_query(monitor, names, &job, err))
            return false;
        if (!job.exists || job.has_concluded)
            return mirror_job_failure(&job, err);
        if (job.is_ready)
            return true;
        if (clock_monotonic_ms() > deadline)
            return error_set(err, ERROR_TIMEOUT, "mirror: not ready after %d ms", timeout_ms);
        clock_sleep_ms(POLL_MS);
    }
}

bool mirror_job_wait_concluded(struct monitor *monitor, const struct mirror_names *names,
                               int timeout_ms, struct mirror_job *out, struct error *err)
{
    for (int64_t deadline = clock_monotonic_ms() + timeout_ms;;) {
        struct mirror_job job;
        if (!mirror_job_query(monitor, names, &job, err))
            return false;
        if (!job.exists || job.has_concluded) {
            *out = job;
            return true;
        }
        if (clock_monotonic_ms() > deadline)
            return error_set(err, ERROR_TIMEOUT, "mirror: not ended after %d ms", timeout_ms);
        clock_sleep_ms(POLL_MS);
    }
}

bool mirror_job_complete(struct monitor *monitor, const struct mirror_names *names,
                         struct error *err)
{
    return monitor_command(monitor, "block-job-cancel", json_pack("{s:s}", "device", names->job),
                           NULL, err);
}

bool mirror_job_kill(struct monitor *monitor, const struct mirror_names *names, struct error *err)
{
    struct mirror_job job;
    if (!mirror_job_query(monitor, names, &job, err))
        return false;
    if (!job.exists)
        return true;
    struct error refused;
    json_t *arguments = json_pack("{s:s, s:b}", "device", names->job, "force", 1);
    /* A job that just ended by itself refuses; the wait tells. */
    if (!job.has_concluded &&
        !monitor_command(monitor, "block-job-cancel", json_incref(arguments), NULL, &refused) &&
        refused.code != ERROR_REFUSED) {
        json_decref(arguments);
        *err = refused;
        return false;
    }
    json_decref(arguments);
    return mirror_job_wait_concluded(monitor, names, KILL_MS, &job, err) &&
           mirror_job_dismiss(monitor, names, err);
}

bool mirror_job_dismiss(struct monitor *monitor, const struct mirror_names *names,
                        struct error *err)
{
    struct mirror_job job;
    if (monitor_command(monitor, "job-dismiss", json_pack("{s:s}", "id", names->job), NULL, err))
        return true;
    struct error why = *err;
    if (mirror_job_query(monitor, names, &job, err) && !job.exists)
        return true;
    *err = why;
    return false;
}

static bool has_node(struct monitor *monitor, const char *node, bool *is_there, struct error *err)
{
    json_t *answer = NULL;
    if (!monitor_command(monitor, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), &answer,
                         err))
        return false;
    *is_there = false;
    for (size_t i = 0; i < json_array_size(answer); i++) {
        const json_t *info = json_array_get(answer, i);
        const char *name = json_string_value(json_object_get(info, "node-name"));
        if (name && strcmp(name, node) == 0)
            *is_there = true;
    }
    json_decref(answer);
    return true;
}

bool mirror_job_remove_target(struct monitor *monitor, const struct mirror_names *names,
                              struct error *err)
{
    for (int64_t deadline = clock_monotonic_ms() + REMOVE_MS;;) {
        bool is_there = false;
        if (monitor_command(monitor, "blockdev-del", json_pack("{s:s}", "node-name", names->target),
                            NULL, err))
            return true;
        struct error why = *err;
        if (!has_node(monitor, names->target, &is_there, err))
            return false;
        if (!is_there)
            return true;
        if (clock_monotonic_ms() > deadline) {
            *err = why;
            return false;
        }
        clock_sleep_ms(POLL_MS);
    }
}
