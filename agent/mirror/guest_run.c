/* Pinning a run and asking for it; see guest_run.h. */
#include "agent/mirror/guest_run.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_MS = 500, EXIT_LOOK_MS = 20 }; /* of a process */
#define LEDGER_KIND "guest-run"

static const char *const endings[] = {
    [GUEST_POWERED_OFF] = "the guest powered off while it was moved",
    [GUEST_REBOOTED] = "the guest rebooted while it was moved",
    [GUEST_CRASHED] = "the guest crashed while it was moved",
    [GUEST_GONE] = "the guest ended, or its domain was destroyed, while it was moved",
};

struct pinned {
    char id[sizeof((struct guest_run *)0)->id]; /* "" = none */
};

static bool see_entry(void *context, const struct ledger_entry *entry, struct error *err)
{
    struct pinned *pinned = context;
    (void)err;
    if (strcmp(entry->kind, LEDGER_KIND) == 0)
        snprintf(pinned->id, sizeof pinned->id, "%.*s", (int)sizeof pinned->id - 1,
                 entry->reference);
    return true;
}

static bool read_pinned(const struct guest *guest, struct pinned *pinned, struct error *err)
{
    *pinned = (struct pinned){0};
    return journal_each_ledger(guest->journal, guest->migration, see_entry, pinned, err);
}

static bool ask(const struct guest *guest, const char *id, struct guest_run *run, struct error *err)
{
    return guest->driver->guest_run(guest->hypervisor, guest->domain, id, run, err) ||
           error_prefix(err, "domain %s", guest->domain);
}

static bool ended(enum guest_end end, struct error *err)
{
    return error_set(err, ERROR_GUEST_ENDED, "%s", endings[end]);
}

bool guest_run_check(const struct guest *guest, struct error *err)
{
    struct pinned pinned;
    struct guest_run run;
    if (!guest->driver->guest_run)
        return true;
    if (!read_pinned(guest, &pinned, err))
        return false;
    if (!pinned.id[0])
        return true;
    return ask(guest, pinned.id, &run, err) && (run.end == GUEST_RUNS || ended(run.end, err));
}

bool guest_run_is_here(const struct guest *guest, struct error *err)
{
    struct pinned pinned;
    struct guest_run run = {0};
    if (!guest->driver->guest_run)
        return true;
    if (!read_pinned(guest, &pinned, err))
        return false;
    if (!pinned.id[0])
        return true;
    bool is_asked = ask(guest, "", &run, err);
    if (!is_asked && err->code != ERROR_NOT_FOUND)
        return false;
    if (is_asked && strcmp(run.id, pinned.id) == 0)
        return true;
    return ask(guest, pinned.id, &run, err) &&
           ended(run.end == GUEST_RUNS ? GUEST_GONE : run.end, err);
}

/* A guest that ended before its run was pinned is no other case for who wants to move it. */
bool guest_run_pin(const struct guest *guest, struct error *err)
{
    struct pinned pinned;
    struct guest_run run;
    if (!guest->driver->guest_run)
        return true;
    if (!read_pinned(guest, &pinned, err))
        return false;
    if (pinned.id[0])
        return guest_run_check(guest, err);
    if (!ask(guest, "", &run, err))
        return err->code == ERROR_NOT_FOUND ? ended(GUEST_GONE, err) : false;
    if (run.end != GUEST_RUNS)
        return ended(run.end, err);
    return journal_ledger_add(guest->journal, guest->migration, LEDGER_KIND, run.id, err);
}

bool guest_run_forget(const struct guest *guest, struct error *err)
{
    struct pinned pinned;
    return read_pinned(guest, &pinned, err) &&
           (!pinned.id[0] ||
            journal_ledger_remove(guest->journal, guest->migration, LEDGER_KIND, pinned.id, err));
}

/* A QEMU that ends closes one file after the other, so its monitor may be gone before its run is.
 */
static bool still_runs(const struct guest *guest, bool has_qemu_ended, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + (has_qemu_ended ? EXIT_MS : 0);
    while (guest_run_check(guest, err)) {
        if (clock_monotonic_ms() >= deadline)
            return true;
        clock_sleep_ms(EXIT_LOOK_MS);
    }
    return false;
}

void guest_run_explain(const struct guest *guest, struct error *why)
{
    struct error found;
    if (still_runs(guest, why->code == ERROR_NOT_FOUND, &found))
        return;
    if (found.code != ERROR_GUEST_ENDED) {
        log_warning("domain %s: it is not known whether its guest runs: %s", guest->domain,
                    found.text);
        return;
    }
    if (why->code != ERROR_GUEST_ENDED)
        log_info("domain %s: %s; seen as: %s", guest->domain, found.text, why->text);
    *why = found;
}
