/* Runs and what is remembered of them; see xen_run.h. */
#include "agent/hypervisor/libxl/xen_run.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>

bool xen_run_read_boot(char out[XEN_BOOT_SIZE], struct error *err)
{
    auto_free char *text = NULL;
    if (!file_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL, err))
        return false;
    snprintf(out, XEN_BOOT_SIZE, "%.*s", (int)strcspn(text, "\n"), text);
    return true;
}

static struct xen_ended *find_ended(struct xen_runs *runs, uint32_t id)
{
    for (size_t i = 0; i < XEN_RUNS_REMEMBERED; i++)
        if (runs->ended[i].id == id && runs->ended[i].ending != XEN_GOES_ON)
            return &runs->ended[i];
    return NULL;
}

void xen_run_note(struct hypervisor *hv, const struct xen_domain *domain)
{
    struct xen_runs *runs = &hv->runs;
    pthread_mutex_lock(&runs->lock);
    if (domain->ending != XEN_GOES_ON) {
        struct xen_ended *ended = find_ended(runs, domain->id);
        if (!ended)
            ended = &runs->ended[runs->next++ % XEN_RUNS_REMEMBERED];
        *ended = (struct xen_ended){.id = domain->id, .ending = domain->ending};
    }
    pthread_mutex_unlock(&runs->lock);
}

static void name_run(const struct hypervisor *hv, uint32_t id, char out[48])
{
    snprintf(out, 48, "%u/%s", id, hv->boot);
}

/* Of a run that has no domain any more. */
static enum guest_end recall(struct hypervisor *hv, const char *run)
{
    struct xen_runs *runs = &hv->runs;
    enum guest_end end = GUEST_GONE;
    char name[48];
    pthread_mutex_lock(&runs->lock);
    for (size_t i = 0; i < XEN_RUNS_REMEMBERED; i++) {
        name_run(hv, runs->ended[i].id, name);
        if (runs->ended[i].ending != XEN_GOES_ON && strcmp(name, run) == 0)
            end = xen_ending_of_guest(runs->ended[i].ending);
    }
    pthread_mutex_unlock(&runs->lock);
    return end;
}

bool xen_run_find(struct hypervisor *hv, const char *uuid, const char *id, struct guest_run *out,
                  struct error *err)
{
    struct xen_domain domain;
    struct guest_run run = {.end = GUEST_GONE};
    bool is_here = xen_domain_find(hv, uuid, &domain, err);
    if (!is_here && (!*id || err->code != ERROR_NOT_FOUND))
        return false;
    if (is_here) {
        name_run(hv, domain.id, run.id);
        run.end = xen_ending_of_guest(domain.ending);
    }
    if (*id && strcmp(run.id, id) != 0) {
        snprintf(run.id, sizeof run.id, "%s", id);
        run.end = recall(hv, id);
    }
    *out = run;
    return true;
}
