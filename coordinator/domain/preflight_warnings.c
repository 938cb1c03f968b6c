/* What keeps nothing from moving and is worth a thought. */
#include "coordinator/domain/preflight_parts.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SR_FULL_PERCENT = 90,
    SLOW_BYTES_PER_S = 10 << 20, /* a tenth of what 1 Gbit/s carries */
    PAUSE_BUDGET_MS = 1000,      /* most guests' peers do not give up before */
};

static void warn_vcpus(const struct preflight_input *in, const struct preflight_host *host,
                       struct blocker_list *list)
{
    int sum = host->vcpus_used + in->vcpus;
    if (host->cpus == 0 || in->vcpus > host->cpus || sum <= host->cpus)
        return;
    struct blocker *b = blocker_add(list, WARNING_VCPUS_OVERCOMMITTED, "host", host->name);
    char needed[24];
    char available[24];
    snprintf(needed, sizeof needed, "%d", sum);
    snprintf(available, sizeof available, "%d", host->cpus);
    blocker_say(b, "host %.80s will run %d vCPUs on %d CPUs", host->name, sum, host->cpus);
    blocker_compare(b, needed, available);
    blocker_fix(b, "name a host with fewer VMs, when they need their CPUs at the same time");
}

static void warn_sr(const struct preflight_input *in, const struct preflight_host *host,
                    const struct preflight_sr *sr, struct blocker_list *list)
{
    uint64_t needed = preflight_sr_needed(in, host, sr);
    uint64_t held = needed + sr->reserved_bytes;
    if (needed == 0 || sr->size_bytes == 0 || held > sr->free_bytes ||
        (double)(sr->free_bytes - held) * 100 >= (double)sr->size_bytes * (100 - SR_FULL_PERCENT))
        return;
    struct blocker *b = blocker_add(list, WARNING_SR_NEARLY_FULL, "sr", sr->name);
    blocker_say(b, "SR %.80s of host %.80s will be fuller than %d %%", sr->name, host->name,
                (int)SR_FULL_PERCENT);
    blocker_compare_bytes(b, held, sr->free_bytes);
    blocker_fix(b, "free space on SR %.80s, or map the disks to another SR", sr->name);
}

static void warn_link(const struct preflight_input *in, const struct preflight_host *host,
                      struct blocker_list *list)
{
    uint64_t rate = host->rates.copy_bytes_per_s;
    if (host->rates.samples == 0 || rate == 0 || rate >= SLOW_BYTES_PER_S)
        return;
    struct blocker *b = blocker_add(list, WARNING_LINK_SLOW, "host", host->name);
    blocker_say(b, "the last %d moves from host %.64s to host %.64s copied %" PRIu64 " bytes/s",
                host->rates.samples, in->source.name, host->name, rate);
    blocker_compare_bytes(b, SLOW_BYTES_PER_S, rate);
    blocker_fix(b, "name a faster transfer network (\"network\"), or a host that is nearer");
}

static void warn_pause(const struct preflight_input *in, const struct preflight_host *host,
                       const struct prediction *prediction, struct blocker_list *list)
{
    if (prediction->pause_ms <= PAUSE_BUDGET_MS)
        return;
    struct blocker *b = blocker_add(list, WARNING_PAUSE_LONG, "vm", in->vm_name);
    char needed[32];
    char available[32];
    snprintf(needed, sizeof needed, "%" PRId64 " ms", prediction->pause_ms);
    snprintf(available, sizeof available, "%d ms", (int)PAUSE_BUDGET_MS);
    blocker_say(b, "VM %.64s will pause for about %s on its way to host %.64s", in->vm_name, needed,
                host->name);
    blocker_compare(b, needed, available);
    blocker_fix(b, in->mode == MODE_SUSPEND
                       ? "ask for \"mode\": \"live\" where its host can, or choose a quiet hour"
                       : "choose a quiet hour (\"switchover\"), or a faster transfer network");
}

void preflight_warn(const struct preflight_input *in, const struct preflight_host *host,
                    const struct prediction *prediction, struct blocker_list *list)
{
    warn_vcpus(in, host, list);
    for (size_t i = 0; i < host->sr_count; i++)
        warn_sr(in, host, &host->srs[i], list);
    warn_link(in, host, list);
    warn_pause(in, host, prediction, list);
}
