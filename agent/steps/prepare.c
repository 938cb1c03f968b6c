/* Step prepare: the destination checks that the VM fits here (again: what preflight knew is some
 * seconds old, and what is checked here only this host knows), creates its VDIs and admits the
 * source's streams. Nothing is created before every check has passed. */
#include "agent/steps/handlers.h"

#include "agent/steps/vdi_ledger.h"
#include "base/failpoint.h"
#include "protocol/blocker_code.h"

#include <inttypes.h>
#include <net/if.h>
#include <string.h>

/* Sets the error, says the blocker's code in front, and is false. */
#define refuse(err, code, blocker, ...)                                                            \
    __extension__({                                                                                \
        error_write(err, code, __VA_ARGS__);                                                       \
        error_write_prefix(err, "%s", blocker_code_names[blocker]);                                \
        false;                                                                                     \
    })

static bool check_networks(struct step_environment *environment, const struct migration_spec *spec,
                           struct error *err)
{
    char bridge[LIMIT_NAME + 1];
    for (size_t i = 0; i < spec->vifs.count; i++) {
        const struct spec_vif *vif = spec_vif_at(spec, i);
        if (!environment->handoff.bridge_of(environment->handoff.context, vif->destination_network,
                                            bridge))
            return refuse(err, ERROR_NOT_FOUND, BLOCKER_NETWORK_UNKNOWN,
                          "VIF %s: this host has no network \"%s\"", vif->mac,
                          vif->destination_network);
        if (if_nametoindex(bridge) == 0)
            return refuse(err, ERROR_NOT_FOUND, BLOCKER_NETWORK_UNKNOWN,
                          "VIF %s: this host has no bridge \"%s\" of network \"%s\"", vif->mac,
                          bridge, vif->destination_network);
    }
    return true;
}

static bool check_domain(struct step_environment *environment, const struct migration_spec *spec,
                         struct error *err)
{
    struct host_facts facts = {0};
    bool is_here = false;
    enum domain_state state;
    if (!environment->handoff.driver->facts(environment->handoff.hypervisor, &facts, err) ||
        !step_find_domain(environment, spec->domain, &is_here, &state, err))
        return false;
    if (is_here)
        return refuse(err, ERROR_CONFLICT, BLOCKER_DOMAIN_EXISTS,
                      "a domain %s is at this host already", spec->domain);
    if (facts.memory_free_bytes < spec->memory_bytes)
        return refuse(err, ERROR_NO_SPACE, BLOCKER_MEMORY,
                      "the domain needs %" PRIu64 " bytes of memory, the host has %" PRIu64 " free",
                      spec->memory_bytes, facts.memory_free_bytes);
    return true;
}

static const struct inventory_sr *find_sr(const struct inventory *inventory, const char *id)
{
    const struct inventory_sr *srs = inventory->srs.items;
    for (size_t i = 0; i < inventory->srs.count; i++)
        if (strcmp(srs[i].id, id) == 0)
            return &srs[i];
    return NULL;
}

static bool has_vdi(const struct inventory_sr *sr, const char *vdi)
{
    const struct inventory_vdi *vdis = sr->vdis.items;
    for (size_t i = 0; i < sr->vdis.count; i++)
        if (strcmp(vdis[i].id, vdi) == 0)
            return true;
    return false;
}

/* A VDI that is there already must be of this migration's making. *needed grows by what is not. */
static bool check_vdi(const struct inventory_sr *sr, const struct spec_disk *disk,
                      const struct vdi_ledger *ledger, uint64_t *needed, struct error *err)
{
    if (!has_vdi(sr, disk->destination.vdi)) {
        *needed += disk->size_bytes;
        return true;
    }
    if (vdi_ledger_has(ledger, &disk->destination))
        return true;
    return error_set(err, ERROR_CONFLICT, "SR %s holds a VDI %s that this migration did not make",
                     sr->name, disk->destination.vdi);
}

/* Room for all disks of the migration that come to this SR. */
static bool check_room(const struct inventory_sr *sr, const struct migration_spec *spec,
                       const struct vdi_ledger *ledger, struct error *err)
{
    uint64_t needed = 0;
    for (size_t i = 0; i < spec->disks.count; i++) {
        const struct spec_disk *disk = spec_disk_at(spec, i);
        if (strcmp(disk->destination.sr, sr->id) == 0 && !check_vdi(sr, disk, ledger, &needed, err))
            return false;
    }
    if (needed <= sr->free_bytes)
        return true;
    return refuse(err, ERROR_NO_SPACE, BLOCKER_SR_ROOM,
                  "SR %s: the disks need %" PRIu64 " bytes, %" PRIu64 " are free", sr->name, needed,
                  sr->free_bytes);
}

static bool check_disks(struct step_environment *environment, const struct migration_spec *spec,
                        const struct vdi_ledger *ledger, struct error *err)
{
    struct inventory inventory = {0};
    bool is_fine = sr_set_scan(environment->handoff.srs, &inventory, err);
    for (size_t i = 0; i < spec->disks.count && is_fine; i++) {
        const struct spec_disk *disk = spec_disk_at(spec, i);
        const struct inventory_sr *sr = find_sr(&inventory, disk->destination.sr);
        is_fine =
            sr ? check_room(sr, spec, ledger, err)
               : refuse(err, ERROR_NOT_FOUND, BLOCKER_SR_UNKNOWN, "disk %s: this host has no SR %s",
                        disk->device, disk->destination.sr);
    }
    json_release(inventory_fields, &inventory);
    return is_fine;
}

static bool create(struct step_run *run, const struct migration_spec *spec, struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    for (size_t i = 0; i < spec->disks.count; i++) {
        const struct spec_disk *disk = spec_disk_at(spec, i);
        const struct spec_vdi *vdi = &disk->destination;
        if (!step_run_check(run, err) ||
            !vdi_ledger_add(environment->handoff.journal, spec->migration, vdi->sr, vdi->vdi,
                            err) ||
            !failpoint("prepare.vdi-written-down", err) ||
            !sr_set_create(environment->handoff.srs, vdi->sr, vdi->vdi, vdi->format,
                           disk->size_bytes, err) ||
            !failpoint("prepare.vdi-created", err))
            return error_prefix(err, "disk %s", disk->device);
    }
    return true;
}

bool step_prepare(struct step_run *run, const struct step *step, struct step_result *result,
                  struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    const struct migration_spec *spec = &step->spec;
    (void)result;
    __attribute__((cleanup(vdi_ledger_done))) struct vdi_ledger ledger = {0};
    return vdi_ledger_read(&ledger, environment->handoff.journal, spec->migration, err) &&
           check_networks(environment, spec, err) && check_domain(environment, spec, err) &&
           check_disks(environment, spec, &ledger, err) && create(run, spec, err) &&
           receiver_admit(environment->handoff.receivers, spec, err);
}
