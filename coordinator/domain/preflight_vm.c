/* What concerns the VM alone: its state, its disks and VIFs and where the map sends them, its host.
 */
#include "coordinator/domain/preflight_parts.h"

#include <string.h>

static void check_state(const struct preflight_input *in, struct blocker_list *list)
{
    if (!in->vm_exists) {
        struct blocker *b = blocker_add(list, BLOCKER_VM_NOT_FOUND, "vm", in->vm);
        blocker_say(b, "no host reports VM %s any more", in->vm);
        blocker_fix(b, "name a VM from GET /v1/vms");
        return;
    }
    if (in->state != DOMAIN_RUNNING) {
        struct blocker *b = blocker_add(list, BLOCKER_VM_NOT_RUNNING, "vm", in->vm_name);
        blocker_say(b, "VM %.80s is %s, and only running VMs can move", in->vm_name,
                    domain_state_names[in->state]);
        blocker_compare(b, domain_state_names[DOMAIN_RUNNING], domain_state_names[in->state]);
        blocker_fix(b, in->state == DOMAIN_PAUSED ? "unpause the VM" : "start the VM");
    }
    if (in->active_migration[0]) {
        struct blocker *b = blocker_add(list, BLOCKER_VM_MIGRATING, "vm", in->vm_name);
        blocker_say(b, "VM %.80s is being moved by migration %s", in->vm_name,
                    in->active_migration);
        blocker_fix(b, "wait for migration %s to end, or cancel it", in->active_migration);
    }
}

/* In mode "live" the source must see what the guest writes; the destination need not. */
static void check_live(const struct preflight_input *in, struct blocker_list *list)
{
    const struct inventory_guest_type *type = preflight_guest_type(&in->source, in->type);
    if (in->mode != MODE_LIVE || !type || type->is_live)
        return;
    struct blocker *b = blocker_add(list, BLOCKER_VM_NOT_LIVE, "vm", in->vm_name);
    blocker_say(b, "VM %.64s is a %s guest, which host %.64s cannot move live: %.90s", in->vm_name,
                in->type, in->source.name,
                type->why_not_live[0] ? type->why_not_live : "it gives no reason");
    blocker_compare(b, migration_mode_names[MODE_LIVE], migration_mode_names[MODE_SUSPEND]);
    blocker_fix(b, "ask for \"mode\": \"suspend\": the VM pauses while its memory is sent");
}

static void check_movable(const struct preflight_input *in, struct blocker_list *list)
{
    if (!in->why_not[0])
        return;
    struct blocker *b = blocker_add(list, BLOCKER_VM_NOT_MOVABLE, "vm", in->vm_name);
    blocker_say(b, "VM %.64s cannot be moved: %.160s", in->vm_name, in->why_not);
    blocker_fix(b, "take that from the VM, or leave it on host %.80s", in->source.name);
}

static void check_disk(const struct preflight_input *in, const struct preflight_disk *disk,
                       struct blocker_list *list)
{
    if (!disk->is_movable) {
        struct blocker *b = blocker_add(list, BLOCKER_DISK_NOT_MOVABLE, "disk", disk->device);
        blocker_say(b, "disk %s cannot be moved: %s", disk->device,
                    disk->why_not[0] ? disk->why_not : "its host gives no reason");
        blocker_fix(b, "detach disk %s, or mend the reason at host %.80s", disk->device,
                    in->source.name);
        return;
    }
    if (!disk->sr[0]) {
        struct blocker *b = blocker_add(list, BLOCKER_DISK_WITHOUT_SR, "disk", disk->device);
        blocker_say(b, "VDI %s of disk %s is on no SR that host %.80s reports", disk->vdi,
                    disk->device, in->source.name);
        blocker_fix(b, "move the image of %s into an SR of host %.80s", disk->device,
                    in->source.name);
        return;
    }
    if (!mapping_sr_of(&in->mapping, disk->device, disk->sr, disk->sr_name)) {
        struct blocker *b = blocker_add(list, BLOCKER_SR_NOT_MAPPED, "disk", disk->device);
        blocker_say(b, "disk %s is on SR %.80s, and the mapping does not say where that goes",
                    disk->device, disk->sr_name);
        blocker_compare(b, "an SR of the destination", "no entry");
        blocker_fix(b, "add mapping.srs[\"%.64s\"] or mapping.disks[\"%s\"].sr", disk->sr_name,
                    disk->device);
    }
}

static void check_vif(const struct preflight_input *in, const struct preflight_vif *vif,
                      struct blocker_list *list)
{
    if (preflight_network_word(in, vif))
        return;
    if (!vif->network[0]) {
        struct blocker *b = blocker_add(list, BLOCKER_VIF_WITHOUT_NETWORK, "vif", vif->mac);
        blocker_say(b, "VIF %s is on a bridge that is no network of host %.80s", vif->mac,
                    in->source.name);
        blocker_fix(b, "add mapping.vifs[\"%s\"], or name the bridge in the agent's networks",
                    vif->mac);
        return;
    }
    struct blocker *b = blocker_add(list, BLOCKER_NETWORK_NOT_MAPPED, "vif", vif->mac);
    blocker_say(b, "VIF %s is on network %.80s, and the mapping does not say where that goes",
                vif->mac, vif->network);
    blocker_compare(b, "a network of the destination", "no entry");
    blocker_fix(b, "add mapping.networks[\"%.64s\"] or mapping.vifs[\"%s\"]", vif->network,
                vif->mac);
}

static bool has_disk(const struct preflight_input *in, const char *device)
{
    for (size_t i = 0; i < in->disk_count; i++) {
        if (strcmp(in->disks[i].device, device) == 0)
            return true;
    }
    return false;
}

static bool has_vif(const struct preflight_input *in, const char *mac)
{
    for (size_t i = 0; i < in->vif_count; i++) {
        if (strcmp(in->vifs[i].mac, mac) == 0)
            return true;
    }
    return false;
}

/* Overrides that the request itself names must mean something. */
static void check_request(const struct preflight_input *in, struct blocker_list *list)
{
    const struct mapping_disk *disks = in->request.disks.items;
    for (size_t i = 0; i < in->request.disks.count; i++) {
        if (has_disk(in, disks[i].device))
            continue;
        struct blocker *b = blocker_add(list, BLOCKER_UNKNOWN_DISK, "disk", disks[i].device);
        blocker_say(b, "the mapping names disk %s, which VM %.80s does not have", disks[i].device,
                    in->vm_name);
        blocker_fix(b, "remove mapping.disks[\"%s\"]", disks[i].device);
    }
    const struct json_pair *vifs = in->request.vifs.items;
    for (size_t i = 0; i < in->request.vifs.count; i++) {
        if (has_vif(in, vifs[i].key))
            continue;
        struct blocker *b = blocker_add(list, BLOCKER_UNKNOWN_VIF, "vif", vifs[i].key);
        blocker_say(b, "the mapping names VIF %.40s, which VM %.80s does not have", vifs[i].key,
                    in->vm_name);
        blocker_fix(b, "remove mapping.vifs[\"%.40s\"]", vifs[i].key);
    }
}

static void check_source(const struct preflight_input *in, struct blocker_list *list)
{
    if (in->source.is_lost) {
        struct blocker *b = blocker_add(list, BLOCKER_HOST_LOST, "host", in->source.name);
        blocker_say(b, "the VM's host %.80s does not report", in->source.name);
        blocker_fix(b, "bring the agent of host %.80s back", in->source.name);
    }
    preflight_check_link(in, &in->source, list);
}

void preflight_check_vm(const struct preflight_input *in, struct blocker_list *list)
{
    check_state(in, list);
    if (!in->vm_exists)
        return;
    check_movable(in, list);
    check_live(in, list);
    for (size_t i = 0; i < in->disk_count; i++)
        check_disk(in, &in->disks[i], list);
    for (size_t i = 0; i < in->vif_count; i++)
        check_vif(in, &in->vifs[i], list);
    check_request(in, list);
    check_source(in, list);
}
