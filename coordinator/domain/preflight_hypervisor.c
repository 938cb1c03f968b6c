/* Can the destination's hypervisor and CPU run the guest as it runs now? Facts that the agent of
 * one end does not tell are not judged here: the destination looks again before the VM stops. */
#include "coordinator/domain/preflight_parts.h"

#include "protocol/cpu_features.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct inventory_guest_type *preflight_guest_type(const struct preflight_host *host,
                                                        const char *type)
{
    for (size_t i = 0; i < host->guest_type_count; i++) {
        if (strcmp(host->guest_types[i].type, type) == 0)
            return &host->guest_types[i];
    }
    return NULL;
}

static bool check_same(const struct preflight_input *in, const struct preflight_host *host,
                       struct blocker_list *list)
{
    const struct preflight_host *source = &in->source;
    if (strcmp(source->hypervisor, host->hypervisor) == 0 &&
        strcmp(source->accelerator, host->accelerator) == 0)
        return true;
    struct blocker *b = blocker_add(list, BLOCKER_HYPERVISOR_DIFFERS, "host", host->name);
    char needed[40];
    char available[40];
    snprintf(needed, sizeof needed, "%s/%s", source->hypervisor, source->accelerator);
    snprintf(available, sizeof available, "%s/%s", host->hypervisor, host->accelerator);
    blocker_say(b, "host %.80s runs %s, the VM's host %s", host->name, available, needed);
    blocker_compare(b, needed, available);
    blocker_fix(b, "name a host that runs %s", needed);
    return false;
}

/* "4.17.7" is 4.17. */
static bool read_version(const char *text, long *major, long *minor)
{
    char *end;
    *major = strtol(text, &end, 10);
    if (end == text || *end != '.')
        return false;
    const char *rest = end + 1;
    *minor = strtol(rest, &end, 10);
    return end != rest;
}

/* Xen restores what an older Xen saved, not what a newer one did. */
static void check_version(const struct preflight_input *in, const struct preflight_host *host,
                          struct blocker_list *list)
{
    long from_major, from_minor, to_major, to_minor;
    if (strcmp(host->hypervisor, "libxl") != 0 ||
        !read_version(in->source.version, &from_major, &from_minor) ||
        !read_version(host->version, &to_major, &to_minor))
        return;
    if (to_major > from_major || (to_major == from_major && to_minor >= from_minor))
        return;
    struct blocker *b = blocker_add(list, BLOCKER_VERSION_OLDER, "host", host->name);
    char needed[48];
    snprintf(needed, sizeof needed, "Xen %ld.%ld or newer", from_major, from_minor);
    blocker_say(b, "host %.64s has Xen %.32s, older than the VM's host, which has %.32s",
                host->name, host->version, in->source.version);
    blocker_compare(b, needed, host->version);
    blocker_fix(b, "name a host with %s, or upgrade host %.64s", needed, host->name);
}

static void check_vendor(const struct preflight_input *in, const struct preflight_host *host,
                         struct blocker_list *list)
{
    struct blocker *b = blocker_add(list, BLOCKER_CPU_VENDOR_DIFFERS, "host", host->name);
    blocker_say(b, "host %.80s has CPUs of %s, and a running VM stays with %s", host->name,
                host->cpu_vendor, in->source.cpu_vendor);
    blocker_compare(b, in->source.cpu_vendor, host->cpu_vendor);
    blocker_fix(b, "name a host with CPUs of %s", in->source.cpu_vendor);
}

static void say_types(const struct preflight_host *host, char out[96])
{
    size_t length = 0;
    for (size_t i = 0; i < host->guest_type_count && length < 80; i++)
        length += (size_t)snprintf(out + length, 96 - length, "%s%s", length ? ", " : "",
                                   host->guest_types[i].type);
}

static void check_features(const struct preflight_input *in, const struct preflight_host *host,
                           const struct inventory_guest_type *type, struct blocker_list *list)
{
    struct cpu_features guest;
    struct cpu_features most;
    struct error why;
    char names[96];
    if (!in->features[0] || !type->features[0])
        return;
    if (!cpu_features_decode(in->features, &guest, &why) ||
        !cpu_features_decode(type->features, &most, &why)) {
        struct blocker *b = blocker_add(list, BLOCKER_CPU_FEATURES, "host", host->name);
        blocker_say(b, "the CPUs of VM %.40s and host %.40s cannot be compared: %.120s",
                    in->vm_name, host->name, why.text);
        blocker_fix(b, "upgrade the coordinator to the version of the agents");
        return;
    }
    if (cpu_features_missing(&guest, &most, names, sizeof names) == 0)
        return;
    struct blocker *b = blocker_add(list, BLOCKER_CPU_FEATURES, "host", host->name);
    blocker_say(b, "host %.50s lacks CPU features that VM %.50s was told it has: %s", host->name,
                in->vm_name, names);
    blocker_compare(b, names, "");
    blocker_fix(b, "name a host that has them, or start the VM anew without them (cpuid of its "
                   "configuration)");
}

static void check_type(const struct preflight_input *in, const struct preflight_host *host,
                       bool has_same_vendor, struct blocker_list *list)
{
    const struct inventory_guest_type *type = preflight_guest_type(host, in->type);
    if (!in->type[0] || host->guest_type_count == 0)
        return;
    if (type) {
        if (has_same_vendor)
            check_features(in, host, type, list);
        return;
    }
    struct blocker *b = blocker_add(list, BLOCKER_GUEST_TYPE, "host", host->name);
    char available[96] = "";
    say_types(host, available);
    blocker_say(b, "host %.64s cannot run %s guests, and VM %.64s is one", host->name, in->type,
                in->vm_name);
    blocker_compare(b, in->type, available);
    blocker_fix(b, "name a host that runs %s guests", in->type);
}

void preflight_check_hypervisor(const struct preflight_input *in, const struct preflight_host *host,
                                struct blocker_list *list)
{
    if (!check_same(in, host, list))
        return;
    bool sees_cpu = strcmp(host->accelerator, "tcg") != 0;
    bool has_same_vendor = strcmp(in->source.cpu_vendor, host->cpu_vendor) == 0;
    if (sees_cpu && !has_same_vendor)
        check_vendor(in, host, list);
    check_version(in, host, list);
    check_type(in, host, has_same_vendor, list);
}
