/* Puts preflight together and chooses the host; see preflight.h. What concerns the VM alone is
 * checked once, what concerns a host for each candidate. */
#include "coordinator/domain/preflight_parts.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t preflight_room(enum image_format format, uint64_t size_bytes)
{
    return format == IMAGE_RAW ? size_bytes : size_bytes + size_bytes / 4096 + (1 << 20);
}

static bool is_better(size_t blockers, const struct preflight_host *host, size_t best_blockers,
                      const struct preflight_host *best)
{
    if (!best || blockers != best_blockers)
        return !best || blockers < best_blockers;
    return preflight_memory_left(host) > preflight_memory_left(best);
}

/* The host with the fewest blockers, and of these the most free memory. */
static const struct preflight_host *choose(const struct preflight_input *in,
                                           struct blocker_list *blockers)
{
    const struct preflight_host *best = NULL;
    for (size_t i = 0; i < in->host_count; i++) {
        const struct preflight_host *host = &in->hosts[i];
        if (!in->is_host_named && preflight_is_source(in, host))
            continue;
        struct blocker_list found = {0};
        preflight_check_host(in, host, &found);
        if (is_better(found.count, host, blockers->count, best)) {
            best = host;
            free(blockers->items);
            *blockers = found;
        } else {
            free(found.items);
        }
    }
    return best;
}

static void add_no_host(const struct preflight_input *in, const struct preflight_host *best,
                        struct blocker_list *list)
{
    struct blocker *b = blocker_add(list, BLOCKER_NO_HOST_FITS, "pool", in->pool_name);
    if (best)
        blocker_say(
            b,
            "no host of pool %.64s can take the VM; the nearest is %.64s, with the blockers listed "
            "here",
            in->pool_name, best->name);
    else
        blocker_say(b, "pool %.80s has no other host", in->pool_name);
    blocker_fix(b, "mend what is listed, or name another pool");
}

static void check_destination(const struct preflight_input *in, struct blocker_list *list,
                              struct preflight_result *result)
{
    struct blocker_list found = {0};
    result->host = choose(in, &found);
    if (!in->is_host_named && (!result->host || found.count))
        add_no_host(in, result->host, list);
    blocker_append(list, &found);
    free(found.items);
}

static void plan(const struct preflight_input *in, struct preflight_result *result)
{
    result->disks = memory_array(in->disk_count, sizeof *result->disks);
    for (size_t i = 0; i < in->disk_count; i++) {
        const struct preflight_disk *disk = &in->disks[i];
        struct spec_disk *out = &result->disks[i];
        out->size_bytes = disk->size_bytes;
        out->source.format = disk->format;
        out->destination.format = mapping_format_of(&in->mapping, disk->device, disk->format);
        memcpy(out->device, disk->device, sizeof out->device);
        memcpy(out->source.sr, disk->sr, UUID_SIZE);
        memcpy(out->source.vdi, disk->vdi, UUID_SIZE);
        memcpy(out->destination.sr, preflight_target_sr(in, result->host, disk)->id, UUID_SIZE);
    }
    bool is_ambiguous = false;
    result->vifs = memory_array(in->vif_count, sizeof *result->vifs);
    for (size_t i = 0; i < in->vif_count; i++) {
        const struct preflight_vif *vif = &in->vifs[i];
        struct spec_vif *out = &result->vifs[i];
        memcpy(out->mac, vif->mac, sizeof out->mac);
        memcpy(out->source_network, vif->network, sizeof out->source_network);
        snprintf(
            out->destination_network, sizeof out->destination_network, "%s",
            preflight_find_network(result->host, preflight_network_word(in, vif), &is_ambiguous)
                ->name);
    }
}

void preflight_check(const struct preflight_input *in, struct preflight_result *result)
{
    *result = (struct preflight_result){.prediction = {.seconds = -1, .pause_ms = -1}};
    struct blocker_list list = {0};
    preflight_check_vm(in, &list);
    check_destination(in, &list, result);
    for (size_t i = 0; i < in->disk_count; i++) {
        result->disk_bytes += in->disks[i].size_bytes;
        result->allocated_bytes += in->disks[i].allocated_bytes;
    }
    if (result->host && in->vm_exists && !preflight_is_source(in, result->host)) {
        prediction_make(
            &result->prediction, &result->host->rates,
            &(struct prediction_load){.disk_bytes = result->allocated_bytes,
                                      .memory_bytes = in->memory_bytes,
                                      .bandwidth_bytes_per_s = in->bandwidth_bytes_per_s,
                                      .mode = in->mode});
        preflight_warn(in, result->host, &result->prediction, &result->warnings);
    }
    result->blockers = list.items;
    result->count = list.count;
    if (list.count == 0)
        plan(in, result);
}

void preflight_result_done(struct preflight_result *result)
{
    free(result->blockers);
    free(result->warnings.items);
    free(result->disks);
    free(result->vifs);
    *result = (struct preflight_result){0};
}

bool preflight_may_wait(const struct preflight_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        enum blocker_code code = result->blockers[i].code;
        if (code != BLOCKER_HOST_LOST && code != BLOCKER_HOST_NOT_CLEAN &&
            code != BLOCKER_NO_HOST_FITS)
            return false;
    }
    return true;
}

void preflight_input_done(struct preflight_input *in)
{
    for (size_t i = 0; i < in->host_count; i++) {
        free(in->hosts[i].srs);
        free(in->hosts[i].networks);
        free(in->hosts[i].guest_types);
    }
    free(in->hosts);
    free(in->source.srs);
    free(in->source.networks);
    free(in->source.guest_types);
    free(in->disks);
    free(in->vifs);
    mapping_done(&in->mapping);
    mapping_done(&in->request);
    *in = (struct preflight_input){0};
}
