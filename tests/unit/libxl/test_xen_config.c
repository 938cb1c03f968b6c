/* libxl's JSON, written by libxl 4.17 (fixtures/): what is read of it, and what changes for another
 * host. */
#include "agent/hypervisor/libxl/xen_config.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *fixture(const char *name)
{
    struct error err;
    char *text = NULL;
    auto_free char *path = memory_format("%s/%s", FIXTURES, name);
    cr_assert(file_read(path, 1 << 20, &text, NULL, &err), "%s", err.text);
    return text;
}

static struct restore_disk at(const char *device, const char *path, enum image_format format)
{
    struct restore_disk disk = {.format = format};
    snprintf(disk.device, sizeof disk.device, "%s", device);
    snprintf(disk.path, sizeof disk.path, "%s", path);
    return disk;
}

static const struct restore_vif lan = {.mac = "00:16:3e:01:02:03", .bridge = "br-lan"};

Test(xen_config, a_pvh_domain_is_read)
{
    struct error err;
    auto_free char *text = fixture("pvh.json");
    auto_xen_config struct xen_config config = {0};
    cr_assert(xen_config_parse(text, &config, &err), "%s", err.text);
    cr_assert_str_eq(config.uuid, "2f4dbb7e-63a1-4d4b-a31c-0b6a43c6f3a1");
    cr_assert_str_eq(config.name, "g1");
    cr_assert_eq(config.type, XEN_PVH);
    cr_assert_eq(config.vcpus, 2);
    cr_assert_eq(config.disk_count, 3);
    cr_assert_str_eq(config.disks[0].device, "xvda");
    cr_assert_str_eq(config.disks[0].path, "/srv/vm/a.qcow2");
    cr_assert_str_eq(config.disks[0].backend, "qdisk");
    cr_assert_str_eq(config.disks[1].backend, "phy");
    cr_assert_null(config.disks[2].path, "an empty drive has no image");
    cr_assert_eq(config.vif_count, 1);
    cr_assert_str_eq(config.vifs[0].mac, "00:16:3e:01:02:03");
    cr_assert_str_eq(config.vifs[0].bridge, "xenbr0");
}

static const char *why_not(const char *changes)
{
    struct error err;
    struct xen_config config = {0};
    auto_free char *text = fixture("pvh_running.json");
    json_auto_t *root = json_loads(text, 0, NULL);
    json_auto_t *more = json_loads(changes, 0, NULL);
    cr_assert(root && more, "%s", changes);
    cr_assert_eq(json_object_update_recursive(root, more), 0);
    auto_free char *changed = json_dumps(root, 0);
    cr_assert(xen_config_parse(changed, &config, &err), "%s", err.text);
    const char *found = config.why_not;
    xen_config_done(&config);
    return found;
}

Test(xen_config, a_domain_with_a_part_of_its_host_says_why_it_stays)
{
    static const struct {
        const char *changes, *expected;
    } rows[] = {
        {"{\"pcidevs\": [{\"bus\": 3, \"func\": 0}]}", "PCI device"},
        {"{\"usbdevs\": [{\"type.hostdev\": {\"hostbus\": 1}}]}", "USB device"},
        {"{\"b_info\": {\"type.hvm\": {\"usbdevice\": \"host:1.2\"}}}", "USB device"},
        {"{\"b_info\": {\"type.hvm\": {\"usbdevice_list\": [\"tablet\", \"host:1.2\"]}}}",
         "USB device"},
        {"{\"vtpms\": [{\"devid\": 0}]}", "TPM"},
        {"{\"p9s\": [{\"path\": \"/srv\"}]}", "9pfs"},
        {"{\"nics\": [{\"mac\": \"00:16:3e:78:00:28\", \"backend_domid\": 2}]}", "another domain"},
        {"{\"b_info\": {\"device_model_stubdomain\": \"True\"}}", "domain of its own"},
        {"{\"b_info\": {\"disable_migrate\": \"True\"}}", "nomigrate"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *found = why_not(rows[i].changes);
        cr_assert(found && strstr(found, rows[i].expected), "%s: %s", rows[i].changes, found);
    }
    cr_assert_null(why_not("{}"));
    cr_assert_null(why_not("{\"pcidevs\": []}"));
    cr_assert_null(why_not("{\"b_info\": {\"disable_migrate\": \"False\"}}"));
    cr_assert_null(why_not("{\"b_info\": {\"type.hvm\": {\"usbdevice_list\": [\"tablet\"]}}}"));
}

Test(xen_config, a_running_domain_is_read_as_libxl_tells_it)
{
    struct error err;
    auto_free char *text = fixture("pvh_running.json");
    auto_xen_config struct xen_config config = {0};
    cr_assert(xen_config_parse(text, &config, &err), "%s", err.text);
    cr_assert_str_eq(config.uuid, "a34ed9ec-0209-4d4e-88fd-40fe8d5dd284");
    cr_assert_eq(config.type, XEN_PVH);
    cr_assert_eq(config.disk_count, 2);
    cr_assert_str_eq(config.disks[1].format, "qcow2");
    cr_assert_not(config.disks[1].is_foreign);
    cr_assert_str_eq(config.vifs[0].mac, "00:16:3e:78:00:28");
}

Test(xen_config, an_hvm_domain_is_read_and_what_libxl_leaves_out_has_its_default)
{
    struct error err;
    auto_free char *text = fixture("hvm.json");
    auto_xen_config struct xen_config config = {0};
    cr_assert(xen_config_parse(text, &config, &err), "%s", err.text);
    cr_assert_eq(config.type, XEN_HVM);
    cr_assert_eq(config.vcpus, 1);
    cr_assert_not(config.disks[0].is_foreign);
    cr_assert(config.disks[2].is_foreign, "served by domain 3");
    cr_assert_str_eq(config.vifs[1].bridge, "");
    cr_assert_eq(xen_config_disk(&config, "hdb"), &config.disks[1]);
    cr_assert_null(xen_config_disk(&config, "hd"));
}

static void expect_refusal(const char *text, const char *expected)
{
    struct error err;
    struct xen_config config = {0};
    cr_assert_not(xen_config_parse(text, &config, &err), "%s", text);
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, expected), "%s", err.text);
}

Test(xen_config, what_is_no_configuration_is_refused)
{
    expect_refusal("{", "configuration");
    expect_refusal("{}", "c_info/uuid");
    expect_refusal("{\"c_info\":{\"uuid\":\"2f4dbb7e-63a1-4d4b-a31c-0b6a43c6f3a1\"}}",
                   "expected pv, pvh or hvm");
    expect_refusal("{\"c_info\":{\"uuid\":\"2f4dbb7e-63a1-4d4b-a31c-0b6a43c6f3a1\","
                   "\"type\":\"pv\"},\"disks\":[{}]}",
                   "disks/0: vdev");
    expect_refusal("{\"c_info\":{\"uuid\":\"2f4dbb7e-63a1-4d4b-a31c-0b6a43c6f3a1\","
                   "\"type\":\"pv\"},\"nics\":[{\"mac\":\"00:16:3e:01:02:03:04\"}]}",
                   "nics/0: mac");
}

Test(xen_config, disks_and_vifs_are_put_where_the_map_says)
{
    struct error err;
    auto_free char *text = fixture("pvh.json");
    auto_free char *mapped = NULL;
    const struct restore_disk disks[] = {at("xvdb", "/store/b.qcow2", IMAGE_QCOW2),
                                         at("xvda", "/store/a.vhd", IMAGE_VHD)};
    const struct restore_map map = {.disk_count = 2, .disks = disks, .vif_count = 1, .vifs = &lan};
    cr_assert(xen_config_map(text, &map, &mapped, &err), "%s", err.text);
    auto_xen_config struct xen_config config = {0};
    cr_assert(xen_config_parse(mapped, &config, &err), "%s", err.text);
    cr_assert_str_eq(config.disks[0].path, "/store/a.vhd");
    cr_assert_str_eq(config.disks[0].format, "vhd");
    cr_assert_str_eq(config.disks[1].path, "/store/b.qcow2");
    cr_assert_str_eq(config.disks[1].format, "qcow2");
    cr_assert_str_eq(config.disks[1].backend, "qdisk", "it was blkback's");
    cr_assert_null(config.disks[2].path);
    cr_assert_str_eq(config.vifs[0].bridge, "br-lan");
}

Test(xen_config, all_else_stays_as_it_was)
{
    struct error err;
    auto_free char *text = fixture("pvh.json");
    auto_free char *mapped = NULL;
    const struct restore_disk disks[] = {at("xvda", "/srv/vm/a.qcow2", IMAGE_QCOW2),
                                         at("xvdb", "/dev/vg/b", IMAGE_RAW)};
    const struct restore_vif same = {.mac = "00:16:3E:01:02:03", .bridge = "xenbr0"};
    const struct restore_map map = {.disk_count = 2, .disks = disks, .vif_count = 1, .vifs = &same};
    cr_assert(xen_config_map(text, &map, &mapped, &err), "%s", err.text);
    json_auto_t *before = json_loads(text, 0, NULL);
    json_auto_t *after = json_loads(mapped, 0, NULL);
    json_t *blkback = json_array_get(json_object_get(before, "disks"), 1);
    json_object_set_new(blkback, "backend", json_string("qdisk"));
    cr_assert(json_equal(before, after), "%s", mapped);
}

Test(xen_config, what_belongs_to_the_source_does_not_travel)
{
    struct error err;
    auto_free char *text = fixture("hvm.json");
    auto_free char *mapped = NULL;
    const struct restore_disk disks[] = {at("hda", "/store/1", IMAGE_VHD),
                                         at("hdb", "/store/2", IMAGE_RAW),
                                         at("xvdc", "/store/3", IMAGE_RAW)};
    const struct restore_vif vifs[] = {{.mac = "00:16:3e:aa:bb:00", .bridge = "b0"},
                                       {.mac = "00:16:3e:aa:bb:01", .bridge = "b1"}};
    const struct restore_map map = {.disk_count = 3, .disks = disks, .vif_count = 2, .vifs = vifs};
    cr_assert(xen_config_map(text, &map, &mapped, &err), "%s", err.text);
    cr_assert_null(strstr(mapped, "backend_domid"), "%s", mapped);
    cr_assert_null(strstr(mapped, "\"domid\""), "a number of that host: %s", mapped);
    cr_assert_null(strstr(mapped, "ifname"), "%s", mapped);
    cr_assert(strstr(mapped, "vif-bridge"));
    cr_assert(strstr(mapped, "\"b1\""), "a VIF without a bridge gets one");
}

static void expect_unmapped(const struct restore_map *map, const char *expected)
{
    struct error err;
    auto_free char *text = fixture("pvh.json");
    char *mapped = NULL;
    cr_assert_not(xen_config_map(text, map, &mapped, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, expected), "%s", err.text);
    cr_assert_null(mapped);
}

Test(xen_config, a_map_that_does_not_fit_is_refused)
{
    const struct restore_disk disks[] = {at("xvda", "/a", IMAGE_RAW), at("xvdb", "/b", IMAGE_RAW),
                                         at("xvdz", "/z", IMAGE_RAW)};
    struct restore_map map = {.disk_count = 1, .disks = disks, .vif_count = 1, .vifs = &lan};
    expect_unmapped(&map, "disk xvdb has no place");
    map.disk_count = 3;
    expect_unmapped(&map, "2 of the 3 mapped disks");
    map.disk_count = 2;
    map.vif_count = 0;
    expect_unmapped(&map, "VIF 00:16:3e:01:02:03 has no place");
}
