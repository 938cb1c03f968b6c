/* Preflight: each blocker alone, ten of them together, the choice of a host, and the plan. */
#include "coordinator/domain/preflight.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define GIB    (UINT64_C(1) << 30)
#define SR_A   "aaaaaaaa-0000-4000-8000-000000000001"
#define SR_B   "bbbbbbbb-0000-4000-8000-000000000001"
#define HOST_A "aaaaaaaa-0000-4000-8000-00000000000a"
#define HOST_B "bbbbbbbb-0000-4000-8000-00000000000b"
#define HOST_C "cccccccc-0000-4000-8000-00000000000c"

/* A VM that can move: everything on the stack, so only the maps are released. */
struct world {
    struct preflight_input in;
    struct preflight_disk disks[3];
    struct preflight_vif vifs[2];
    struct preflight_host hosts[2];
    struct preflight_sr srs[2][2];
    struct preflight_network networks[2][2];
};

static struct preflight_host make_host(const char *id, const char *name)
{
    struct preflight_host host = {.is_enabled = true,
                                  .hypervisor = "qemu",
                                  .accelerator = "kvm",
                                  .cpu_vendor = "GenuineIntel",
                                  .link_address = "10.0.0.1",
                                  .link_port = 7801,
                                  .memory_free_bytes = 8 * GIB};
    snprintf(host.id, sizeof host.id, "%s", id);
    snprintf(host.name, sizeof host.name, "%s", name);
    return host;
}

static void set_map(struct world *world, const char *text)
{
    struct error err;
    mapping_done(&world->in.mapping);
    cr_assert(mapping_decode(text, &world->in.mapping, NULL, &err), "%s", err.text);
}

static void set_request(struct world *world, const char *text)
{
    struct error err;
    cr_assert(mapping_decode(text, &world->in.request, NULL, &err), "%s", err.text);
}

static void add_disk(struct world *world, const char *device)
{
    struct preflight_disk *disk = &world->disks[world->in.disk_count++];
    *disk = (struct preflight_disk){.sr = SR_A,
                                    .sr_name = "local",
                                    .vdi = "dddddddd-0000-4000-8000-000000000001",
                                    .size_bytes = 10 * GIB,
                                    .allocated_bytes = 3 * GIB,
                                    .is_movable = true};
    snprintf(disk->device, sizeof disk->device, "%s", device);
}

static void make_destination(struct world *world, int i, const char *id, const char *name)
{
    struct preflight_host *host = &world->hosts[i];
    *host = make_host(id, name);
    world->srs[i][0] = (struct preflight_sr){.name = "store", .free_bytes = 100 * GIB};
    memcpy(world->srs[i][0].id, SR_B, UUID_SIZE);
    world->networks[i][0] = (struct preflight_network){.name = "far"};
    host->srs = world->srs[i];
    host->sr_count = 1;
    host->networks = world->networks[i];
    host->network_count = 1;
}

static void make_world(struct world *world)
{
    *world = (struct world){.in = {.vm_exists = true,
                                   .vm = "11111111-0000-4000-8000-000000000001",
                                   .domain = "22222222-0000-4000-8000-000000000001",
                                   .vm_name = "g1",
                                   .state = DOMAIN_RUNNING,
                                   .memory_bytes = 2 * GIB,
                                   .source = make_host(HOST_A, "a1"),
                                   .pool_name = "B",
                                   .is_host_named = true,
                                   .host_count = 1}};
    add_disk(world, "vda");
    world->vifs[0] = (struct preflight_vif){.mac = "52:54:00:00:00:01", .network = "lan"};
    make_destination(world, 0, HOST_B, "b1");
    world->in.disks = world->disks;
    world->in.vifs = world->vifs;
    world->in.vif_count = 1;
    world->in.hosts = world->hosts;
    set_map(world, "{\"networks\": {\"lan\": \"far\"}, \"srs\": {\"local\": \"store\"}}");
}

static void end_world(struct world *world)
{
    mapping_done(&world->in.mapping);
    mapping_done(&world->in.request);
}

static const struct blocker *only(const struct preflight_result *result, enum blocker_code code)
{
    for (size_t i = 0; i < result->count; i++)
        cr_assert_eq(result->blockers[i].code, code, "also %s: %s",
                     blocker_code_names[result->blockers[i].code], result->blockers[i].message);
    cr_assert_eq(result->count, 1, "%zu blockers instead of %s", result->count,
                 blocker_code_names[code]);
    cr_assert(result->blockers[0].fix[0] && result->blockers[0].message[0]);
    return &result->blockers[0];
}

static bool has(const struct preflight_result *result, enum blocker_code code)
{
    for (size_t i = 0; i < result->count; i++) {
        if (result->blockers[i].code == code)
            return true;
    }
    return false;
}

/* Changes one thing and expects this blocker alone, about this object. */
#define BLOCKED(symbol, about, change)                                                             \
    do {                                                                                           \
        struct world world;                                                                        \
        make_world(&world);                                                                        \
        struct preflight_input *in = &world.in;                                                    \
        struct preflight_host *b1 = &world.hosts[0];                                               \
        struct preflight_disk *vda = &world.disks[0];                                              \
        struct preflight_vif *vif = &world.vifs[0];                                                \
        (void)in, (void)b1, (void)vda, (void)vif;                                                  \
        change;                                                                                    \
        struct preflight_result result;                                                            \
        preflight_check(in, &result);                                                              \
        const struct blocker *blocker = only(&result, BLOCKER_##symbol);                           \
        cr_assert_str_eq(blocker->object, about);                                                  \
        cr_assert_null(result.disks, "blocked, and still a plan");                                 \
        preflight_result_done(&result);                                                            \
        end_world(&world);                                                                         \
    } while (0)

Test(preflight, a_vm_that_can_move_has_no_blockers_and_a_plan)
{
    struct world world;
    make_world(&world);
    add_disk(&world, "vdb");
    set_map(&world, "{\"networks\": {\"lan\": \"far\"}, \"srs\": {\"local\": \"store\"},"
                    " \"disks\": {\"vdb\": {\"format\": \"qcow2\"}}}");
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0, "%s", result.count ? result.blockers[0].message : "");
    cr_assert_str_eq(result.host->name, "b1");
    cr_assert_str_eq(result.disks[0].device, "vda");
    cr_assert_str_eq(result.disks[0].source.sr, SR_A);
    cr_assert_str_eq(result.disks[0].destination.sr, SR_B);
    cr_assert_eq(result.disks[0].destination.format, IMAGE_RAW);
    cr_assert_eq(result.disks[1].destination.format, IMAGE_QCOW2);
    cr_assert_str_eq(result.disks[0].destination.vdi, "");
    cr_assert_str_eq(result.vifs[0].destination_network, "far");
    cr_assert_eq(result.disk_bytes, 20 * GIB);
    cr_assert_eq(result.allocated_bytes, 6 * GIB);
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, the_vm_itself)
{
    BLOCKED(VM_NOT_FOUND, "vm 11111111-0000-4000-8000-000000000001",
            (in->vm_exists = false, in->disk_count = in->vif_count = 0));
    BLOCKED(VM_NOT_RUNNING, "vm g1", in->state = DOMAIN_HALTED);
    BLOCKED(VM_NOT_RUNNING, "vm g1", in->state = DOMAIN_PAUSED);
    BLOCKED(VM_NOT_RUNNING, "vm g1", in->state = DOMAIN_CRASHED);
    BLOCKED(VM_MIGRATING, "vm g1", memcpy(in->active_migration, SR_A, UUID_SIZE));
}

Test(preflight, disks)
{
    BLOCKED(DISK_NOT_MOVABLE, "disk vda", vda->is_movable = false);
    BLOCKED(DISK_WITHOUT_SR, "disk vda", vda->sr[0] = '\0');
    BLOCKED(SR_NOT_MAPPED, "disk vda", set_map(&world, "{\"networks\": {\"lan\": \"far\"}}"));
    BLOCKED(SR_UNKNOWN, "disk vda",
            set_map(&world, "{\"networks\": {\"lan\": \"far\"}, \"srs\": {\"local\": \"no\"}}"));
    BLOCKED(UNKNOWN_DISK, "disk vdz",
            set_request(&world, "{\"disks\": {\"vdz\": {\"sr\": \"x\"}}}"));
}

Test(preflight, a_disk_that_cannot_move_says_why)
{
    struct world world;
    make_world(&world);
    world.disks[0].is_movable = false;
    snprintf(world.disks[0].why_not, sizeof world.disks[0].why_not, "it is a CD-ROM");
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert(strstr(only(&result, BLOCKER_DISK_NOT_MOVABLE)->message, "it is a CD-ROM"));
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, vifs)
{
    BLOCKED(VIF_WITHOUT_NETWORK, "vif 52:54:00:00:00:01", vif->network[0] = '\0');
    BLOCKED(NETWORK_NOT_MAPPED, "vif 52:54:00:00:00:01",
            set_map(&world, "{\"srs\": {\"local\": \"store\"}}"));
    BLOCKED(NETWORK_UNKNOWN, "vif 52:54:00:00:00:01",
            set_map(&world, "{\"networks\": {\"lan\": \"no\"}, \"srs\": {\"local\": \"store\"}}"));
    BLOCKED(NETWORK_NOT_USABLE, "vif 52:54:00:00:00:01",
            strcpy(world.networks[0][0].why_not, "the host has no bridge br1"));
    BLOCKED(UNKNOWN_VIF, "vif 52:54:00:00:00:99",
            set_request(&world, "{\"vifs\": {\"52:54:00:00:00:99\": \"far\"}}"));
    BLOCKED(NETWORK_AMBIGUOUS, "vif 52:54:00:00:00:01",
            (world.networks[0][0].vlan = world.networks[0][1].vlan = 7, b1->network_count = 2,
             set_map(&world,
                     "{\"networks\": {\"lan\": \"vlan:7\"}, \"srs\": {\"local\": \"store\"}}")));
}

/* The destination network that the plan names, for a map of networks. */
static void assert_network(const char *networks, const char *expected)
{
    struct world world;
    char map[256];
    make_world(&world);
    world.vifs[0].vlan = 5;
    memcpy(world.vifs[0].network_id, HOST_A, UUID_SIZE);
    memcpy(world.networks[0][0].id, HOST_B, UUID_SIZE);
    world.networks[0][0].vlan = 7;
    world.networks[0][1] = (struct preflight_network){.name = "other"};
    world.hosts[0].network_count = 2;
    snprintf(map, sizeof map, "{\"networks\": {%s}, \"srs\": {\"local\": \"store\"}}", networks);
    set_map(&world, map);
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0, "%s", result.count ? result.blockers[0].message : "");
    cr_assert_str_eq(result.vifs[0].destination_network, expected);
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, networks_are_mapped_by_id_name_and_vlan)
{
    assert_network("\"vlan:5\": \"vlan:7\"", "far");
    assert_network("\"lan\": \"" HOST_B "\"", "far");
    assert_network("\"" HOST_A "\": \"other\"", "other");
}

Test(preflight, a_vif_of_no_network_can_be_mapped_by_its_mac)
{
    struct world world;
    make_world(&world);
    world.vifs[0].network[0] = '\0';
    set_map(&world,
            "{\"srs\": {\"local\": \"store\"}, \"vifs\": {\"52:54:00:00:00:01\": \"far\"}}");
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0);
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, hosts)
{
    BLOCKED(SAME_HOST, "host b1", memcpy(b1->id, HOST_A, UUID_SIZE));
    BLOCKED(HOST_NOT_ENABLED, "host b1", b1->is_enabled = false);
    BLOCKED(HOST_IN_MAINTENANCE, "host b1", b1->in_maintenance = true);
    BLOCKED(POOL_IN_MAINTENANCE, "pool B", b1->is_pool_in_maintenance = true);
    BLOCKED(HOST_LOST, "host b1", b1->is_lost = true);
    BLOCKED(HOST_LOST, "host b1", b1->hypervisor[0] = '\0');
    BLOCKED(HOST_LOST, "host a1", in->source.is_lost = true);
    BLOCKED(LINK_UNKNOWN, "host b1", b1->link_address[0] = '\0');
    BLOCKED(LINK_UNKNOWN, "host a1", in->source.link_address[0] = '\0');
    BLOCKED(TRANSFER_NETWORK_UNKNOWN, "host b1",
            (strcpy(in->network, "storage"), b1->link_address[0] = '\0'));
    BLOCKED(TRANSFER_NETWORK_UNKNOWN, "host a1",
            (strcpy(in->network, "storage"), in->source.link_address[0] = '\0'));
    BLOCKED(VCPUS, "host b1", (in->vcpus = 5, b1->cpus = 4));
    BLOCKED(HYPERVISOR_DIFFERS, "host b1", strcpy(b1->hypervisor, "libxl"));
    BLOCKED(HYPERVISOR_DIFFERS, "host b1", strcpy(b1->accelerator, "tcg"));
    BLOCKED(CPU_VENDOR_DIFFERS, "host b1", strcpy(b1->cpu_vendor, "AuthenticAMD"));
    BLOCKED(HOST_NOT_CLEAN, "host b1", b1->is_not_clean = true);
    BLOCKED(DOMAIN_EXISTS, "host b1", b1->has_domain = true);
    BLOCKED(NO_HOST_FITS, "pool B", (in->is_host_named = false, in->host_count = 0));
}

Test(preflight, an_emulated_cpu_may_change_its_vendor)
{
    struct world world;
    make_world(&world);
    strcpy(world.in.source.accelerator, "tcg");
    strcpy(world.hosts[0].accelerator, "tcg");
    strcpy(world.hosts[0].cpu_vendor, "AuthenticAMD");
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0);
    preflight_result_done(&result);
    end_world(&world);
}

/* A PVH guest between two Xen hosts; what each host can do is in `types`. */
enum { XEN_PV, XEN_PVH };
struct xen_world {
    struct world world;
    struct inventory_guest_type types[2][2]; /* of source and destination */
};

static void make_xen(struct xen_world *xen)
{
    make_world(&xen->world);
    struct preflight_host *hosts[] = {&xen->world.in.source, &xen->world.hosts[0]};
    for (size_t i = 0; i < 2; i++) {
        xen->types[i][XEN_PV] = (struct inventory_guest_type){
            .type = "pv", .why_not_live = "no shadow paging", .features = "1c=00002001"};
        xen->types[i][XEN_PVH] = (struct inventory_guest_type){
            .type = "pvh", .is_live = true, .features = "1c=00002001"};
        strcpy(hosts[i]->hypervisor, "libxl");
        strcpy(hosts[i]->accelerator, "xen");
        strcpy(hosts[i]->version, "4.17.7");
        hosts[i]->guest_types = xen->types[i];
        hosts[i]->guest_type_count = 2;
    }
    strcpy(xen->world.in.type, "pvh");
    strcpy(xen->world.in.features, "1c=00002001");
}

/* The one blocker after a change of a Xen world that can move, or NULL. */
#define XEN_BLOCKER(result, change)                                                                \
    __extension__({                                                                                \
        struct xen_world xen;                                                                      \
        make_xen(&xen);                                                                            \
        struct preflight_input *in = &xen.world.in;                                                \
        struct preflight_host *b1 = &xen.world.hosts[0];                                           \
        (void)in, (void)b1;                                                                        \
        change;                                                                                    \
        preflight_check(in, result);                                                               \
        end_world(&xen.world);                                                                     \
        cr_assert((result)->count <= 1, "also %s", (result)->blockers[1].message);                 \
        (result)->count ? &(result)->blockers[0] : NULL;                                           \
    })
#define XEN_MOVES(change)                                                                          \
    do {                                                                                           \
        struct preflight_result moves;                                                             \
        const struct blocker *none = XEN_BLOCKER(&moves, change);                                  \
        cr_assert_null(none, "%s", none->message);                                                 \
        preflight_result_done(&moves);                                                             \
    } while (0)
#define XEN_BLOCKED(symbol, about, words, remedy, change)                                          \
    do {                                                                                           \
        struct preflight_result stays;                                                             \
        const struct blocker *found = XEN_BLOCKER(&stays, change);                                 \
        cr_assert_not_null(found, "nothing instead of " #symbol);                                  \
        cr_assert_eq(found->code, BLOCKER_##symbol, "%s", found->message);                         \
        cr_assert_str_eq(found->object, about);                                                    \
        cr_assert(strstr(found->message, words), "%s", found->message);                            \
        cr_assert(strstr(found->fix, remedy), "%s", found->fix);                                   \
        cr_assert_not(preflight_may_wait(&stays), "waiting cannot remove it");                     \
        preflight_result_done(&stays);                                                             \
    } while (0)

Test(preflight, a_guest_type_that_the_destination_lacks)
{
    XEN_MOVES((void)0);
    XEN_BLOCKED(GUEST_TYPE, "host b1", "cannot run pvh guests", "runs pvh guests",
                b1->guest_type_count = 1);
}

Test(preflight, a_guest_whose_writes_the_source_cannot_see_moves_suspended)
{
    XEN_BLOCKED(VM_NOT_LIVE, "vm g1", "no shadow paging", "\"mode\": \"suspend\"",
                strcpy(in->type, "pv"));
    XEN_MOVES((strcpy(in->type, "pv"), in->mode = MODE_SUSPEND));
    XEN_MOVES((strcpy(in->type, "pv"), xen.types[0][XEN_PV].is_live = true));
    XEN_MOVES(in->mode = MODE_SUSPEND);
}

Test(preflight, cpu_features_that_are_missing_have_names)
{
    XEN_BLOCKED(CPU_FEATURES, "host b1", "told it has: sse3, cx16", "cpuid",
                strcpy(xen.types[1][XEN_PVH].features, "1c=00000200"));
    XEN_BLOCKED(CPU_FEATURES, "host b1", "told it has: cx16", "cpuid",
                strcpy(xen.types[1][XEN_PVH].features, "1c=00000001"));
    XEN_BLOCKED(CPU_FEATURES, "host b1", "cannot be compared", "upgrade the coordinator",
                strcpy(in->features, "1c=00002001 9q9=1"));
    XEN_MOVES(strcpy(in->features, "1c=00000001"));
    XEN_MOVES(strcpy(xen.types[1][XEN_PV].features, "1c=00000001")); /* not the guest's type */
    XEN_BLOCKED(CPU_VENDOR_DIFFERS, "host b1", "AuthenticAMD", "GenuineIntel",
                (strcpy(b1->cpu_vendor, "AuthenticAMD"),
                 strcpy(xen.types[1][XEN_PVH].features, "1c=00000001")));
}

Test(preflight, what_an_older_agent_does_not_tell_is_not_judged)
{
    XEN_MOVES(b1->guest_type_count = 0);
    XEN_MOVES((in->source.guest_type_count = 0, in->type[0] = '\0', in->features[0] = '\0'));
    XEN_MOVES(xen.types[1][XEN_PVH].features[0] = '\0');
}

Test(preflight, xen_does_not_go_back_to_an_older_version)
{
    XEN_MOVES(strcpy(b1->version, "4.17.0"));
    XEN_MOVES(strcpy(b1->version, "4.18.1"));
    XEN_MOVES((strcpy(in->source.version, "4.9.4"), strcpy(b1->version, "4.17.7")));
    XEN_MOVES((strcpy(in->source.version, "4.20.0"), strcpy(b1->version, "5.0")));
    XEN_BLOCKED(VERSION_OLDER, "host b1", "has Xen 4.16.5", "Xen 4.17 or newer",
                strcpy(b1->version, "4.16.5"));
    XEN_BLOCKED(VERSION_OLDER, "host b1", "has Xen 4.9.4", "Xen 4.17 or newer",
                strcpy(b1->version, "4.9.4"));
    XEN_BLOCKED(VERSION_OLDER, "host b1", "has Xen 3.99", "Xen 4.17 or newer",
                strcpy(b1->version, "3.99"));
    struct world world; /* QEMU keeps the machine types of its past */
    struct preflight_result result;
    make_world(&world);
    strcpy(world.in.source.version, "8.2.0");
    strcpy(world.hosts[0].version, "7.2.22");
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0);
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, a_vm_that_holds_on_to_its_host_says_by_what)
{
    XEN_BLOCKED(VM_NOT_MOVABLE, "vm g1", "it has a PCI device of its host", "host a1",
                strcpy(in->why_not, "it has a PCI device of its host"));
}

Test(preflight, room)
{
    BLOCKED(MEMORY, "host b1", b1->memory_free_bytes = 2 * GIB - 1);
    BLOCKED(MEMORY, "host b1", b1->memory_reserved_bytes = 6 * GIB + 1);
    BLOCKED(SR_ROOM, "sr store", b1->srs[0].free_bytes = 10 * GIB - 1);
    BLOCKED(SR_ROOM, "sr store", b1->srs[0].reserved_bytes = 90 * GIB + 1);
    BLOCKED(SR_ROOM, "sr store", b1->srs[0].reserved_bytes = 200 * GIB);
    BLOCKED(SR_ROOM, "sr store",
            (b1->srs[0].free_bytes = 10 * GIB,
             set_map(&world, "{\"networks\": {\"lan\": \"far\"}, \"srs\": {\"local\": \"store\"},"
                             " \"disks\": {\"vda\": {\"format\": \"qcow2\"}}}")));
}

Test(preflight, room_that_is_just_enough_is_enough)
{
    struct world world;
    make_world(&world);
    world.hosts[0].memory_free_bytes = 3 * GIB;
    world.hosts[0].memory_reserved_bytes = GIB;
    world.srs[0][0].free_bytes = 15 * GIB;
    world.srs[0][0].reserved_bytes = 5 * GIB;
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0);
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, the_disks_of_one_sr_are_counted_together)
{
    struct world world;
    make_world(&world);
    add_disk(&world, "vdb");
    world.srs[0][0].free_bytes = 15 * GIB;
    struct preflight_result result;
    preflight_check(&world.in, &result);
    const struct blocker *blocker = only(&result, BLOCKER_SR_ROOM);
    cr_assert_str_eq(blocker->needed, "21474836480 bytes");
    cr_assert_str_eq(blocker->available, "16106127360 bytes");
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, tables_of_thin_formats_need_room_too)
{
    cr_assert_eq(preflight_room(IMAGE_RAW, 4 * GIB), 4 * GIB);
    cr_assert_gt(preflight_room(IMAGE_QCOW2, 4 * GIB), 4 * GIB);
    cr_assert_gt(preflight_room(IMAGE_VHD, 4 * GIB), 4 * GIB);
}

Test(preflight, finds_ten_blockers_at_once)
{
    struct world world;
    make_world(&world);
    struct preflight_host *b1 = &world.hosts[0];
    add_disk(&world, "vdb");
    add_disk(&world, "vdc");
    world.in.state = DOMAIN_PAUSED;
    memcpy(world.in.active_migration, SR_A, UUID_SIZE);
    world.disks[1].is_movable = false;
    strcpy(world.disks[2].sr_name, "other");
    strcpy(world.disks[2].sr, SR_B);
    world.vifs[1] = (struct preflight_vif){.mac = "52:54:00:00:00:02", .network = "dmz"};
    world.in.vif_count = 2;
    b1->in_maintenance = true;
    b1->memory_free_bytes = 0;
    b1->link_address[0] = '\0';
    b1->srs[0].free_bytes = GIB;
    strcpy(b1->cpu_vendor, "AuthenticAMD");
    strcpy(b1->networks[0].name, "elsewhere");
    static const enum blocker_code codes[] = {BLOCKER_VM_NOT_RUNNING,
                                              BLOCKER_VM_MIGRATING,
                                              BLOCKER_DISK_NOT_MOVABLE,
                                              BLOCKER_SR_NOT_MAPPED,
                                              BLOCKER_NETWORK_NOT_MAPPED,
                                              BLOCKER_HOST_IN_MAINTENANCE,
                                              BLOCKER_MEMORY,
                                              BLOCKER_LINK_UNKNOWN,
                                              BLOCKER_SR_ROOM,
                                              BLOCKER_CPU_VENDOR_DIFFERS,
                                              BLOCKER_NETWORK_UNKNOWN};
    struct preflight_result result;
    preflight_check(&world.in, &result);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        cr_assert(has(&result, codes[i]), "no %s", blocker_code_names[codes[i]]);
    cr_assert_eq(result.count, sizeof codes / sizeof codes[0]);
    cr_assert_null(result.disks);
    preflight_result_done(&result);
    end_world(&world);
}

/* ---- warnings and what is foretold */

/* Changes one thing and expects no blocker and this warning alone. */
#define WARNED(symbol, about, change)                                                              \
    do {                                                                                           \
        struct world world;                                                                        \
        make_world(&world);                                                                        \
        struct preflight_input *in = &world.in;                                                    \
        struct preflight_host *b1 = &world.hosts[0];                                               \
        struct preflight_sr *sr = &world.srs[0][0];                                                \
        (void)in, (void)b1, (void)sr;                                                              \
        change;                                                                                    \
        struct preflight_result result;                                                            \
        preflight_check(in, &result);                                                              \
        cr_assert_eq(result.count, 0, "%s", result.count ? result.blockers[0].message : "");       \
        cr_assert_eq(result.warnings.count, 1, "%zu warnings", result.warnings.count);             \
        cr_assert_eq(result.warnings.items[0].code, WARNING_##symbol);                             \
        cr_assert_str_eq(result.warnings.items[0].object, about);                                  \
        cr_assert(result.warnings.items[0].fix[0]);                                                \
        cr_assert_not_null(result.disks, "a warning keeps nothing from moving");                   \
        preflight_result_done(&result);                                                            \
        end_world(&world);                                                                         \
    } while (0)

static const struct preflight_rates fast = {.samples = 3,
                                            .copy_bytes_per_s = UINT64_C(100) << 20,
                                            .memory_bytes_per_s = UINT64_C(200) << 20,
                                            .pause_us = 80500};

Test(preflight, warnings)
{
    WARNED(VCPUS_OVERCOMMITTED, "host b1", (in->vcpus = 4, b1->cpus = 4, b1->vcpus_used = 1));
    WARNED(SR_NEARLY_FULL, "sr store", (sr->size_bytes = 100 * GIB, sr->free_bytes = 19 * GIB));
    WARNED(LINK_SLOW, "host b1", (b1->rates = fast, b1->rates.copy_bytes_per_s = 9 << 20));
    WARNED(PAUSE_LONG, "vm g1", (b1->rates = fast, b1->rates.pause_us = 1000001));
    WARNED(PAUSE_LONG, "vm g1", (b1->rates = fast, in->mode = MODE_SUSPEND));
}

Test(preflight, what_is_in_order_warns_of_nothing)
{
    struct world world;
    make_world(&world);
    world.in.vcpus = 4;
    world.hosts[0].cpus = 5;
    world.hosts[0].vcpus_used = 1;
    world.hosts[0].rates = fast;
    world.srs[0][0].size_bytes = 100 * GIB;
    world.srs[0][0].free_bytes = 20 * GIB;
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0);
    cr_assert_eq(result.warnings.count, 0);
    preflight_result_done(&result);
    end_world(&world);
}

static struct prediction predict(const struct preflight_rates *rates, uint64_t bandwidth,
                                 enum migration_mode mode)
{
    struct prediction made;
    prediction_make(&made, rates,
                    &(struct prediction_load){.disk_bytes = 3 * GIB,
                                              .memory_bytes = 2 * GIB,
                                              .bandwidth_bytes_per_s = bandwidth,
                                              .mode = mode});
    cr_assert_eq(made.send_bytes, 5 * GIB);
    return made;
}

Test(preflight, foretells_time_and_pause_from_measured_rates_alone)
{
    struct prediction made = predict(&fast, 0, MODE_LIVE);
    cr_assert_eq(made.seconds, 31 + 11, "%lld", (long long)made.seconds);
    cr_assert_eq(made.pause_ms, 81);
    made = predict(&fast, UINT64_C(50) << 20, MODE_LIVE);
    cr_assert_eq(made.seconds, 62 + 11, "the cap is slower");
    made = predict(&fast, UINT64_C(500) << 20, MODE_LIVE);
    cr_assert_eq(made.seconds, 31 + 11, "the cap is faster");
    made = predict(&fast, 0, MODE_SUSPEND);
    cr_assert_eq(made.pause_ms, 10241);
    const struct preflight_rates none = {0};
    made = predict(&none, 1 << 20, MODE_LIVE);
    cr_assert(made.seconds == -1 && made.pause_ms == -1);
    const struct preflight_rates only_pause = {.samples = 1, .pause_us = 1};
    made = predict(&only_pause, 0, MODE_LIVE);
    cr_assert(made.seconds == -1 && made.pause_ms == 1);
}

Test(preflight, chooses_the_fitting_host_with_the_most_free_memory)
{
    struct world world;
    make_world(&world);
    make_destination(&world, 1, HOST_C, "b2");
    world.in.is_host_named = false;
    world.in.host_count = 2;
    world.hosts[1].memory_free_bytes = 16 * GIB;
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0);
    cr_assert_str_eq(result.host->name, "b2");
    preflight_result_done(&result);

    world.hosts[1].memory_reserved_bytes = 10 * GIB;
    preflight_check(&world.in, &result);
    cr_assert_str_eq(result.host->name, "b1", "what others reserved is not free");
    preflight_result_done(&result);

    world.hosts[1].memory_reserved_bytes = 0;
    world.hosts[1].in_maintenance = true;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0);
    cr_assert_str_eq(result.host->name, "b1");
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, a_pool_without_a_fitting_host_shows_the_nearest_one)
{
    struct world world;
    make_world(&world);
    make_destination(&world, 1, HOST_C, "b2");
    world.in.is_host_named = false;
    world.in.host_count = 2;
    world.hosts[0].in_maintenance = true;
    world.hosts[0].is_lost = true;
    world.hosts[1].memory_free_bytes = GIB;
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 2);
    cr_assert(has(&result, BLOCKER_NO_HOST_FITS) && has(&result, BLOCKER_MEMORY));
    cr_assert_str_eq(result.host->name, "b2");
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, the_vms_own_host_is_no_candidate_of_its_pool)
{
    struct world world;
    make_world(&world);
    make_destination(&world, 1, HOST_A, "a1");
    world.in.is_host_named = false;
    world.in.host_count = 2;
    world.hosts[1].memory_free_bytes = 100 * GIB;
    struct preflight_result result;
    preflight_check(&world.in, &result);
    cr_assert_eq(result.count, 0);
    cr_assert_str_eq(result.host->name, "b1");
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, only_absence_is_worth_waiting_for)
{
    struct world world;
    make_world(&world);
    struct preflight_result result;
    world.hosts[0].is_lost = true;
    preflight_check(&world.in, &result);
    cr_assert(preflight_may_wait(&result));
    preflight_result_done(&result);
    world.hosts[0].in_maintenance = true;
    preflight_check(&world.in, &result);
    cr_assert_not(preflight_may_wait(&result));
    preflight_result_done(&result);
    end_world(&world);
}

Test(preflight, every_code_has_a_word_of_its_own)
{
    for (int i = 0; i < BLOCKER_CODE_COUNT; i++) {
        cr_assert(blocker_code_names[i] && blocker_code_names[i][0]);
        for (int k = 0; k < i; k++)
            cr_assert_str_neq(blocker_code_names[i], blocker_code_names[k]);
    }
}
