/* Whether a VM fits a host by its kind; see plan_fit.h. */
#include "plan/plan_fit.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

const char *const plan_fit_codes[] = {
    [PLAN_FIT] = "fits",
    [PLAN_FIT_NOT_A_DESTINATION] = "not-a-destination",
    [PLAN_FIT_SAME_HOST] = "same-host",
    [PLAN_FIT_CPU_VENDOR] = "cpu-vendor-differs",
    [PLAN_FIT_CPU_FEATURES] = "cpu-features",
    [PLAN_FIT_NETWORK_UNMAPPED] = "network-not-mapped",
    [PLAN_FIT_NETWORK_MISSING] = "network-unknown",
    [PLAN_FIT_SR_UNMAPPED] = "sr-not-mapped",
    [PLAN_FIT_SR_MISSING] = "sr-unknown",
    [PLAN_FIT_TOO_SLOW] = "too-slow",
    [PLAN_FIT_MEMORY] = "memory",
    [PLAN_FIT_SR_ROOM] = "sr-room",
    [PLAN_FIT_APART] = "anti-affinity",
    [PLAN_FIT_COUNT] = NULL,
};

uint64_t plan_fit_room(const struct plan_sr *sr, const struct plan_disk *disk)
{
    uint64_t bytes = sr->is_thin ? disk->allocated_bytes : disk->size_bytes;
    return bytes + bytes / 4096 + (1 << 20);
}

int plan_fit_sr(const struct plan_input *input, int host, const struct plan_disk *disk)
{
    const struct plan_numbers *reached = &input->hosts[host].srs;
    if (plan_numbers_have(reached, disk->sr))
        return disk->sr;
    const char *word = input->sr_map[disk->sr].text;
    for (size_t i = 0; word[0] && i < reached->count; i++) {
        if (strcmp(input->srs[reached->items[i]].name.text, word) == 0)
            return reached->items[i];
    }
    for (size_t i = 0; word[0] && i < reached->count; i++) {
        if (strcmp(input->srs[reached->items[i]].label.text, word) == 0)
            return reached->items[i];
    }
    return -1;
}

int plan_fit_network(const struct plan_input *input, int vm, int host, int network)
{
    int from = input->hosts[input->vms[vm].host].pool;
    return input->hosts[host].pool == from ? network : input->network_map[network];
}

static enum plan_fit fit_cpu(const struct plan_vm *vm, const struct plan_host *host)
{
    if (vm->cpu_vendor[0] && host->cpu_vendor[0] && strcmp(vm->cpu_vendor, host->cpu_vendor) != 0)
        return PLAN_FIT_CPU_VENDOR;
    char names[64];
    if (vm->has_features && host->has_features &&
        cpu_features_missing(&vm->features, &host->features, names, sizeof names) > 0)
        return PLAN_FIT_CPU_FEATURES;
    return PLAN_FIT;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* The rate must exceed what the guest writes meanwhile, or the move never ends. */
static enum plan_fit fit_speed(const struct plan_input *input, const struct plan_vm *vm,
                               const struct plan_host *host)
{
    const struct plan_host *source = &input->hosts[vm->host];
    double rate = least(source->send_bytes_per_s, host->receive_bytes_per_s);
    for (size_t i = 0; i < input->link_count; i++) {
        if (input->links[i].from == source->pool && input->links[i].to == host->pool)
            rate = least(rate, input->links[i].bytes_per_s);
    }
    return rate > 1.05 * (vm->dirty_bytes_per_s + vm->write_bytes_per_s) ? PLAN_FIT
                                                                         : PLAN_FIT_TOO_SLOW;
}

static enum plan_fit fit_networks(const struct plan_input *input, int vm, int host)
{
    const struct plan_numbers *networks = &input->vms[vm].networks;
    for (size_t i = 0; i < networks->count; i++) {
        int there = plan_fit_network(input, vm, host, networks->items[i]);
        if (there < 0)
            return PLAN_FIT_NETWORK_UNMAPPED;
        if (!plan_numbers_have(&input->hosts[host].networks, there))
            return PLAN_FIT_NETWORK_MISSING;
    }
    return PLAN_FIT;
}

static enum plan_fit fit_disks(const struct plan_input *input, const struct plan_vm *vm, int host)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        const struct plan_disk *disk = &vm->disks[i];
        int sr = plan_fit_sr(input, host, disk);
        if (sr < 0)
            return input->sr_map[disk->sr].text[0] ? PLAN_FIT_SR_MISSING : PLAN_FIT_SR_UNMAPPED;
        double slowest = input->srs[disk->sr].bytes_per_s;
        double there = input->srs[sr].bytes_per_s;
        if (sr != disk->sr && ((slowest > 0 && slowest <= 1.05 * vm->write_bytes_per_s) ||
                               (there > 0 && there <= 1.05 * vm->write_bytes_per_s)))
            return PLAN_FIT_TOO_SLOW;
    }
    return PLAN_FIT;
}

enum plan_fit plan_fit(const struct plan_input *input, int vm, int host)
{
    const struct plan_vm *guest = &input->vms[vm];
    if (guest->host == host)
        return PLAN_FIT_SAME_HOST;
    enum plan_fit reason = fit_cpu(guest, &input->hosts[host]);
    if (reason == PLAN_FIT)
        reason = fit_networks(input, vm, host);
    if (reason == PLAN_FIT)
        reason = fit_disks(input, guest, host);
    if (reason == PLAN_FIT)
        reason = fit_speed(input, guest, &input->hosts[host]);
    return reason;
}

static void say_cpu(const struct plan_vm *vm, const struct plan_host *host, char *out, size_t size)
{
    char names[120];
    int missing = cpu_features_missing(&vm->features, &host->features, names, sizeof names);
    snprintf(out, size,
             "the CPU of host %.60s lacks %d features of the guest (%s); name a host with them, or "
             "start the VM with fewer",
             host->name.text, missing, names);
}

static void say_network(const struct plan_input *input, int vm, int host, char *out, size_t size)
{
    const struct plan_numbers *networks = &input->vms[vm].networks;
    for (size_t i = 0; i < networks->count; i++) {
        const char *name = input->networks[networks->items[i]].text;
        int there = plan_fit_network(input, vm, host, networks->items[i]);
        if (there < 0) {
            snprintf(out, size,
                     "network %.60s has no counterpart in pool %.60s; map it in "
                     "/mapping/networks",
                     name, input->pools[input->hosts[host].pool].text);
            return;
        }
        if (!plan_numbers_have(&input->hosts[host].networks, there)) {
            snprintf(out, size,
                     "host %.60s has no network %.60s, which %.60s is mapped to; add it there, or "
                     "map another",
                     input->hosts[host].name.text, input->networks[there].text, name);
            return;
        }
    }
}

static void say_sr(const struct plan_input *input, int vm, int host, char *out, size_t size)
{
    for (size_t i = 0; i < input->vms[vm].disk_count; i++) {
        const struct plan_disk *disk = &input->vms[vm].disks[i];
        const char *name = input->srs[disk->sr].name.text, *word = input->sr_map[disk->sr].text;
        if (plan_fit_sr(input, host, disk) >= 0)
            continue;
        if (word[0])
            snprintf(out, size, "host %.60s reaches no SR %.60s, which SR %.60s is mapped to",
                     input->hosts[host].name.text, word, name);
        else
            snprintf(out, size, "SR %.60s is not reached by host %.60s; map it in /mapping/srs",
                     name, input->hosts[host].name.text);
        return;
    }
}

void plan_fit_say(const struct plan_input *input, int vm, int host, enum plan_fit reason, char *out,
                  size_t size)
{
    const struct plan_vm *guest = &input->vms[vm];
    const char *name = host >= 0 ? input->hosts[host].name.text : "";
    switch (reason) {
    case PLAN_FIT:
    case PLAN_FIT_COUNT:
        snprintf(out, size, "it fits");
        break;
    case PLAN_FIT_NOT_A_DESTINATION:
        snprintf(out, size,
                 "host %.60s is emptied itself, in maintenance or not named as a destination",
                 name);
        break;
    case PLAN_FIT_SAME_HOST:
        snprintf(out, size, "host %.60s is where it is", name);
        break;
    case PLAN_FIT_CPU_VENDOR:
        snprintf(out, size, "the CPU of host %.60s is of %s, the guest's of %s", name,
                 input->hosts[host].cpu_vendor, guest->cpu_vendor);
        break;
    case PLAN_FIT_CPU_FEATURES:
        say_cpu(guest, &input->hosts[host], out, size);
        break;
    case PLAN_FIT_NETWORK_UNMAPPED:
    case PLAN_FIT_NETWORK_MISSING:
        say_network(input, vm, host, out, size);
        break;
    case PLAN_FIT_SR_UNMAPPED:
    case PLAN_FIT_SR_MISSING:
        say_sr(input, vm, host, out, size);
        break;
    case PLAN_FIT_TOO_SLOW:
        snprintf(out, size,
                 "the guest writes %.0f bytes/s, which the way to host %.60s cannot carry; slow it "
                 "down, or move it in mode suspend",
                 guest->dirty_bytes_per_s + guest->write_bytes_per_s, name);
        break;
    case PLAN_FIT_MEMORY:
        snprintf(out, size, "it needs %llu bytes of memory, which host %.60s has not left",
                 (unsigned long long)guest->memory_bytes, name);
        break;
    case PLAN_FIT_SR_ROOM:
        snprintf(out, size, "the SR that its disks go to from host %.60s has not enough space left",
                 name);
        break;
    case PLAN_FIT_APART:
        snprintf(out, size, "host %.60s holds a VM that it must be kept apart from", name);
        break;
    }
    utf8_repair(out);
}
