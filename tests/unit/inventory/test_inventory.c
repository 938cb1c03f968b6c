/* The inventory: which domains and disks the host reports, on real SRs and a real journal. */
#include "agent/inventory/inventory_builder.h"
#include "agent/inventory/inventory_watch.h"

#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#define DOMAIN_1  "11111111-1111-4111-8111-111111111111"
#define DOMAIN_2  "22222222-2222-4222-8222-222222222222"
#define MIGRATION "33333333-3333-4333-8333-333333333333"
#define LATER     "44444444-4444-4444-8444-444444444444"
#define VDI       "55555555-5555-4555-8555-555555555555"
#define NIL       "00000000-0000-0000-0000-000000000000"

static char folder[64];
static struct error err;
static struct journal *journal;
static struct sr_set *srs;
static char sr_id[UUID_SIZE];
static char vdi_path[LIMIT_PATH + 1];

/* What the host runs, as the test wishes. */
static size_t domain_count;
static const char *disk_paths[2];
static const char *disk_why_not;
static const char *domain_name, *domain_why_not;
static const char *second_device, *second_mac; /* of domain 1; NULL: as they are */
static void (*while_listing)(void);
static const struct inventory_network lan = {.name = "lan", .bridge = "br0"};
static const struct inventory_network *networks;
static size_t network_count;

static bool give_facts(struct hypervisor *hv, struct host_facts *out, struct error *error)
{
    (void)hv, (void)error;
    *out = (struct host_facts){
        .accelerator = "tcg",
        .version = "7.2",
        .cpus = 2,
        .memory_bytes = UINT64_C(4) << 30,
        .memory_free_bytes = UINT64_C(1) << 30,
        .guest_type_count = 2,
        .guest_types = {{.type = "pv", .why_not_live = "no shadow paging"},
                        {.type = "pvh", .is_live = true, .features = "1c=00002001"}}};
    return true;
}

static void add_second(struct domain *domain)
{
    struct domain_disk *disk = &domain->disks[domain->disk_count++];
    *disk = (struct domain_disk){.path = memory_copy_text(vdi_path)};
    strcpy(disk->device, second_device);
    strcpy(domain->vifs[0].mac, "52:54:00:00:0a:01");
    strcpy(domain->vifs[1].mac, second_mac);
}

static void make_domain(struct domain *domain, size_t i)
{
    *domain = (struct domain){.name = memory_copy_text(i == 0 ? domain_name : "g2"),
                              .state = DOMAIN_RUNNING,
                              .memory_bytes = 128 << 20,
                              .vcpus = 1,
                              .type = "pvh",
                              .features = "1c=00000001",
                              .disk_count = 1,
                              .vif_count = 2};
    strcpy(domain->why_not, domain_why_not);
    memcpy(domain->uuid, i == 0 ? DOMAIN_1 : DOMAIN_2, UUID_SIZE);
    domain->disks = memory_array(2, sizeof *domain->disks);
    domain->disks[0] = (struct domain_disk){
        .device = "vda", .path = memory_copy_text(disk_paths[i]), .size_bytes = 1 << 20};
    strcpy(domain->disks[0].why_not, disk_why_not);
    domain->vifs = memory_array(2, sizeof *domain->vifs);
    domain->vifs[0] =
        (struct domain_vif){.mac = "52:54:00:00:00:01", .bridge = memory_copy_text("br0")};
    domain->vifs[1] =
        (struct domain_vif){.mac = "52:54:00:00:00:02", .bridge = memory_copy_text("br9")};
    if (i == 0 && second_device)
        add_second(domain);
}

static bool give_list(struct hypervisor *hv, struct domain_list *out, struct error *error)
{
    (void)hv, (void)error;
    out->items = memory_array(domain_count + 1, sizeof *out->items);
    out->count = domain_count;
    for (size_t i = 0; i < domain_count; i++)
        make_domain(&out->items[i], i);
    if (while_listing)
        while_listing();
    return true;
}

static const struct hypervisor_driver driver = {
    .name = "qemu", .facts = give_facts, .list = give_list};

static void setup(void)
{
    struct inventory found = {0};
    struct sr_config config = {.name = "local", .type = "ext"};
    enum image_format format;
    char path[96];
    snprintf(folder, sizeof folder, "/tmp/crosspool-inventory-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/journal.db", folder);
    cr_assert(journal_open(&journal, path, &err), "%s", err.text);
    snprintf(config.location, sizeof config.location, "%s/sr", folder);
    cr_assert(file_make_directory(config.location, 0700, &err));
    cr_assert(sr_set_open(&config, 1, &srs, &err), "%s", err.text);
    cr_assert(sr_set_scan(srs, &found, &err));
    memcpy(sr_id, ((struct inventory_sr *)found.srs.items)->id, UUID_SIZE);
    json_release(inventory_fields, &found);
    cr_assert(sr_set_create(srs, sr_id, VDI, IMAGE_RAW, 1 << 20, &err), "%s", err.text);
    cr_assert(sr_set_locate(srs, sr_id, VDI, vdi_path, &format, &err));
    domain_count = 1;
    disk_paths[0] = vdi_path;
    disk_paths[1] = "/elsewhere/disk.raw";
    disk_why_not = "";
    domain_name = "g1";
    domain_why_not = "it has a PCI device of its host";
    networks = &lan;
    network_count = 1;
}

static void teardown(void)
{
    sr_set_close(srs);
    journal_close(journal);
    cr_assert(file_remove_tree(folder, &err));
}

TestSuite(inventory, .init = setup, .fini = teardown);

static struct inventory build(void)
{
    const struct inventory_source source = {.driver = &driver,
                                            .journal = journal,
                                            .srs = srs,
                                            .networks = networks,
                                            .network_count = network_count,
                                            .link_address = "10.0.0.1",
                                            .link_port = 7801};
    struct inventory inventory;
    cr_assert(inventory_build(&source, &inventory, &err), "%s", err.text);
    return inventory;
}

static const struct inventory_domain *domain_at(const struct inventory *inventory, size_t i)
{
    cr_assert_lt(i, inventory->domains.count);
    return (struct inventory_domain *)inventory->domains.items + i;
}

static const struct inventory_disk *first_disk(const struct inventory *inventory, size_t domain)
{
    return domain_at(inventory, domain)->disks.items;
}

static void put(const char *migration, const char *domain, enum migration_role role,
                enum handoff_state state)
{
    struct handoff_record record = {.role = role, .epoch = 1, .state = state};
    memcpy(record.migration, migration, UUID_SIZE);
    memcpy(record.domain, domain, UUID_SIZE);
    cr_assert(journal_put_handoff(journal, &record, &err), "%s", err.text);
}

static size_t count_domains(void)
{
    struct inventory inventory = build();
    size_t count = inventory.domains.count;
    json_release(inventory_fields, &inventory);
    return count;
}

Test(inventory, reports_what_is_there_and_passes_its_own_decoder)
{
    struct inventory inventory = build();
    struct inventory again = {0};
    const struct inventory_vif *vifs = domain_at(&inventory, 0)->vifs.items;
    cr_expect_str_eq(first_disk(&inventory, 0)->vdi, VDI);
    cr_expect(first_disk(&inventory, 0)->is_movable);
    cr_expect_str_eq(vifs[0].network, "lan");
    cr_expect_str_eq(vifs[1].network, "");
    cr_expect_eq(inventory.srs.count, 1);
    cr_expect_eq(inventory.networks.count, 1);
    char *text = json_encode_text(inventory_fields, &inventory);
    cr_expect(json_decode_text(text, strlen(text), inventory_fields, &again, &err), "%s", err.text);
    free(text);
    const struct inventory_guest_type *types = again.guest_types.items;
    cr_assert_eq(again.guest_types.count, 2);
    cr_expect_str_eq(types[0].type, "pv");
    cr_expect_not(types[0].is_live);
    cr_expect_str_eq(types[0].why_not_live, "no shadow paging");
    cr_expect(types[1].is_live);
    cr_expect_str_eq(types[1].features, "1c=00002001");
    cr_expect_str_eq(domain_at(&again, 0)->type, "pvh");
    cr_expect_str_eq(domain_at(&again, 0)->features, "1c=00000001");
    cr_expect_str_eq(domain_at(&again, 0)->why_not, "it has a PCI device of its host");
    json_release(inventory_fields, &again);
    json_release(inventory_fields, &inventory);
}

Test(inventory, disk_that_cannot_move_says_why)
{
    char elsewhere[96];
    snprintf(elsewhere, sizeof elsewhere, "%s/journal.db", folder);
    disk_paths[0] = elsewhere;
    struct inventory inventory = build();
    cr_expect_not(first_disk(&inventory, 0)->is_movable);
    cr_expect_str_eq(first_disk(&inventory, 0)->vdi, NIL);
    cr_expect_not_null(strstr(first_disk(&inventory, 0)->why_not, "none of the host's SRs"));
    json_release(inventory_fields, &inventory);
    disk_paths[0] = vdi_path;
    disk_why_not = "it is not served by QEMU";
    inventory = build();
    cr_expect_not(first_disk(&inventory, 0)->is_movable);
    cr_expect_str_eq(first_disk(&inventory, 0)->vdi, VDI);
    cr_expect_str_eq(first_disk(&inventory, 0)->why_not, disk_why_not);
    json_release(inventory_fields, &inventory);
}

Test(inventory, disk_whose_image_is_gone_cannot_move)
{
    cr_assert_eq(unlink(vdi_path), 0);
    struct inventory inventory = build();
    cr_expect_not(first_disk(&inventory, 0)->is_movable);
    cr_expect_str_eq(first_disk(&inventory, 0)->why_not, "its image is gone");
    json_release(inventory_fields, &inventory);
}

/* domain 1 is as it is made; the other one does not suffer */
static void expect_double(const char *device, const char *mac, const char *expected)
{
    domain_count = 2;
    domain_why_not = "";
    second_device = device;
    second_mac = mac;
    struct inventory inventory = build();
    cr_assert_eq(inventory.domains.count, 2);
    cr_expect_str_eq(domain_at(&inventory, 0)->why_not, expected);
    cr_expect_str_eq(domain_at(&inventory, 1)->why_not, "");
    json_release(inventory_fields, &inventory);
}

Test(inventory, domain_with_two_of_one_name_cannot_move_and_others_can)
{
    expect_double("vdb", "52:54:00:00:00:02", "");
    expect_double("vda", "52:54:00:00:00:02", "two of its disks are the device vda");
    expect_double("vdb", "52:54:00:00:0A:01", "two of its VIFs have the MAC 52:54:00:00:0A:01");
}

Test(inventory, network_whose_bridge_is_missing_says_so)
{
    const struct inventory_network two[] = {{.name = "lan", .bridge = "lo"},
                                            {.name = "gone", .bridge = "crosspool-none"}};
    networks = two;
    network_count = 2;
    struct inventory inventory = build();
    const struct inventory_network *found = inventory.networks.items;
    cr_assert_eq(inventory.networks.count, 2);
    cr_expect_str_eq(found[0].why_not, "");
    cr_expect_str_eq(found[1].why_not, "the host has no bridge crosspool-none");
    json_release(inventory_fields, &inventory);
}

Test(inventory, domain_without_a_name_has_its_uuid)
{
    domain_name = "";
    struct inventory inventory = build();
    cr_expect_str_eq(domain_at(&inventory, 0)->name, DOMAIN_1);
    json_release(inventory_fields, &inventory);
}

Test(inventory, shared_disk_cannot_move)
{
    domain_count = 2;
    disk_paths[1] = vdi_path;
    struct inventory inventory = build();
    cr_expect_not(first_disk(&inventory, 0)->is_movable);
    cr_expect_not(first_disk(&inventory, 1)->is_movable);
    json_release(inventory_fields, &inventory);
}

Test(inventory, domain_on_its_way_in_is_left_out_until_owned)
{
    put(MIGRATION, DOMAIN_1, ROLE_DESTINATION, HANDOFF_STREAMING);
    cr_expect_eq(count_domains(), 0);
    put(MIGRATION, DOMAIN_1, ROLE_DESTINATION, HANDOFF_PREPARED);
    cr_expect_eq(count_domains(), 0);
    put(MIGRATION, DOMAIN_1, ROLE_DESTINATION, HANDOFF_OWNED);
    cr_expect_eq(count_domains(), 1);
}

Test(inventory, abandoned_arrival_is_left_out)
{
    put(MIGRATION, DOMAIN_1, ROLE_DESTINATION, HANDOFF_STREAMING);
    put(MIGRATION, DOMAIN_1, ROLE_DESTINATION, HANDOFF_ABANDONED);
    cr_expect_eq(count_domains(), 0);
}

Test(inventory, domain_is_the_sources_until_released)
{
    domain_count = 2;
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_STREAMING);
    cr_expect_eq(count_domains(), 2);
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_RELEASED);
    struct inventory inventory = build();
    cr_assert_eq(inventory.domains.count, 1);
    cr_expect_str_eq(domain_at(&inventory, 0)->uuid, DOMAIN_2);
    json_release(inventory_fields, &inventory);
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_OWNED);
    cr_expect_eq(count_domains(), 1);
}

Test(inventory, released_domain_that_comes_to_nothing_is_ours_again)
{
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_STREAMING);
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_RELEASED);
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_ABANDONED);
    cr_expect_eq(count_domains(), 1);
}

Test(inventory, domain_that_came_back_is_ours)
{
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_STREAMING);
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_RELEASED);
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_OWNED);
    put(LATER, DOMAIN_1, ROLE_DESTINATION, HANDOFF_STREAMING);
    cr_expect_eq(count_domains(), 0);
    put(LATER, DOMAIN_1, ROLE_DESTINATION, HANDOFF_PREPARED);
    put(LATER, DOMAIN_1, ROLE_DESTINATION, HANDOFF_OWNED);
    cr_expect_eq(count_domains(), 1);
}

static void release_now(void)
{
    while_listing = NULL;
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_RELEASED);
}

Test(inventory, domain_released_during_the_look_is_left_out)
{
    put(MIGRATION, DOMAIN_1, ROLE_SOURCE, HANDOFF_STREAMING);
    while_listing = release_now;
    cr_expect_eq(count_domains(), 0);
}

Test(inventory, is_due_when_it_changed_or_a_minute_passed)
{
    struct inventory_watch watch = {0};
    struct inventory inventory = build();
    cr_expect(inventory_watch_is_due(&watch, &inventory, 1000));
    inventory_watch_sent(&watch, &inventory, 1000);
    cr_expect_not(inventory_watch_is_due(&watch, &inventory, 60000));
    cr_expect(inventory_watch_is_due(&watch, &inventory, 61000));
    inventory.memory_free_bytes += 4096;
    cr_expect_not(inventory_watch_is_due(&watch, &inventory, 2000));
    inventory.memory_free_bytes -= UINT64_C(256) << 20;
    cr_expect(inventory_watch_is_due(&watch, &inventory, 2000));
    inventory_watch_sent(&watch, &inventory, 2000);
    ((struct inventory_domain *)inventory.domains.items)->state = DOMAIN_PAUSED;
    cr_expect(inventory_watch_is_due(&watch, &inventory, 3000));
    inventory_watch_sent(&watch, &inventory, 3000);
    cr_expect_not(inventory_watch_is_due(&watch, &inventory, 4000));
    inventory_watch_forget(&watch);
    cr_expect(inventory_watch_is_due(&watch, &inventory, 4000));
    json_release(inventory_fields, &inventory);
}
