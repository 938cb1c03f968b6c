/* Stop and continue, with the ledger. */
#include "agent/mirror/guest_stop.h"

#include "agent/mirror/guest_run.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <string.h>

enum { CONTINUE_LIMIT_MS = 60000, CONTINUE_PAUSE_MS = 100 };
#define LEDGER_KIND "stop"

static bool query_status(struct monitor *monitor, bool *is_running, bool *is_paused,
                         struct error *err)
{
    json_t *answer = NULL;
    if (!monitor_command(monitor, "query-status", NULL, &answer, err))
        return false;
    const char *status = json_string_value(json_object_get(answer, "status"));
    *is_running = json_is_true(json_object_get(answer, "running"));
    *is_paused = status && strcmp(status, "paused") == 0;
    json_decref(answer);
    return true;
}

/* QMP first, then the hypervisor: the reverse of the stop. A domain of Xen outlives its QEMU: it
 * has no disks any more then, but it is not held by us. */
static bool try_continue(const struct guest *guest, struct monitor *monitor, struct error *err)
{
    return (monitor_command(monitor, "cont", NULL, NULL, err) || err->code == ERROR_NOT_FOUND) &&
           guest->driver->release(guest->hypervisor, guest->domain, err);
}

static bool continue_guest(const struct guest *guest, struct monitor *monitor, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + CONTINUE_LIMIT_MS;
    while (!try_continue(guest, monitor, err)) {
        struct error ended;
        if (!guest_run_check(guest, &ended) && ended.code == ERROR_GUEST_ENDED) {
            log_info("domain %s is not continued: %s", guest->domain, ended.text);
            return guest->driver->release(guest->hypervisor, guest->domain, err);
        }
        log_error("cannot continue domain %s: %s", guest->domain, err->text);
        if (clock_monotonic_ms() > deadline)
            return error_prefix(err, "continue domain %s", guest->domain);
        clock_sleep_ms(CONTINUE_PAUSE_MS);
    }
    return true;
}

bool guest_stop_begin(const struct guest *guest, struct monitor *monitor, struct guest_stop *stop,
                      struct error *err)
{
    bool is_paused;
    *stop = (struct guest_stop){0};
    if (!query_status(monitor, &stop->is_ours, &is_paused, err))
        return error_prefix(err, "state of domain %s", guest->domain);
    if (stop->is_ours &&
        !journal_ledger_add(guest->journal, guest->migration, LEDGER_KIND, guest->domain, err))
        return false;
    stop->started_at_ms = clock_monotonic_ms();
    /* Also where no vCPU runs QMP stop drains and flushes the block layer. */
    bool is_stopped =
        (!stop->is_ours || guest->driver->hold(guest->hypervisor, guest->domain, err)) &&
        guest_run_is_here(guest, err) && /* it is what was held */
        monitor_command(monitor, "stop", NULL, NULL, err);
    failpoint_pass("transfer.stopped");
    if (is_stopped)
        return true;
    struct error unrepaired;
    if (!guest_stop_end(guest, monitor, stop, &unrepaired))
        log_error("%s", unrepaired.text);
    return error_prefix(err, "stop domain %s", guest->domain);
}

bool guest_stop_end(const struct guest *guest, struct monitor *monitor,
                    const struct guest_stop *stop, struct error *err)
{
    if (!stop->is_ours)
        return true;
    return continue_guest(guest, monitor, err) &&
           journal_ledger_remove(guest->journal, guest->migration, LEDGER_KIND, guest->domain, err);
}

static bool note_entry(void *context, const struct ledger_entry *entry, struct error *err)
{
    (void)err;
    if (strcmp(entry->kind, LEDGER_KIND) == 0)
        *(bool *)context = true;
    return true;
}

bool guest_stop_repair(const struct guest *guest, struct monitor *monitor, struct error *err)
{
    bool may_be_ours = false, is_running = false, is_paused = false;
    if (!journal_each_ledger(guest->journal, guest->migration, note_entry, &may_be_ours, err))
        return false;
    if (!may_be_ours)
        return true;
    if (monitor) {
        if (!query_status(monitor, &is_running, &is_paused, err) && err->code != ERROR_NOT_FOUND)
            return error_prefix(err, "state of domain %s", guest->domain);
        if (is_paused && !continue_guest(guest, monitor, err))
            return false;
        if (!guest->driver->release(guest->hypervisor, guest->domain, err))
            return error_prefix(err, "release domain %s", guest->domain);
        if (is_paused)
            log_warning("domain %s was left stopped and runs again", guest->domain);
    }
    return journal_ledger_remove(guest->journal, guest->migration, LEDGER_KIND, guest->domain, err);
}
