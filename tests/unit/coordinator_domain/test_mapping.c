/* Maps: strict decoding, overlay, lookups. */
#include "coordinator/domain/mapping.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct mapping decode(const char *text)
{
    struct mapping map = {0};
    struct error err;
    cr_assert(mapping_decode(text, &map, NULL, &err), "%s", err.text);
    return map;
}

static void refuses(const char *text, const char *reason)
{
    struct mapping map = {0};
    struct error err;
    cr_assert_not(mapping_decode(text, &map, NULL, &err), "%s", text);
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, reason), "\"%s\" does not say \"%s\"", err.text, reason);
}

static const char *network_of(const struct mapping *map, const char *mac, const char *name)
{
    const struct mapping_network network = {.id = "", .name = name};
    return mapping_network_of(map, mac, &network);
}

Test(mapping, a_network_is_found_by_id_then_name_then_vlan)
{
    struct mapping map = {0};
    struct error err;
    cr_assert(mapping_decode("{\"networks\": {\"id-1\": \"by-id\", \"lan\": \"by-name\","
                             " \"vlan:7\": \"by-vlan\"}}",
                             &map, NULL, &err));
    struct mapping_network network = {.id = "id-1", .name = "lan", .vlan = 7};
    cr_assert_str_eq(mapping_network_of(&map, "", &network), "by-id");
    network.id = "id-2";
    cr_assert_str_eq(mapping_network_of(&map, "", &network), "by-name");
    network.name = "dmz";
    cr_assert_str_eq(mapping_network_of(&map, "", &network), "by-vlan");
    network.vlan = 0;
    cr_assert_null(mapping_network_of(&map, "", &network));
    mapping_done(&map);
}

Test(mapping, says_nothing_that_was_not_written)
{
    struct mapping map = decode("{}");
    cr_assert_null(network_of(&map, "52:54:00:00:00:01", "lan"));
    cr_assert_null(mapping_sr_of(&map, "vda", "11111111-2222-4333-8444-555555555555", "local"));
    cr_assert_eq(mapping_format_of(&map, "vda", IMAGE_VHD), IMAGE_VHD);
    mapping_done(&map);
}

Test(mapping, single_disks_and_vifs_come_before_srs_and_networks)
{
    struct mapping map =
        decode("{\"networks\": {\"lan\": \"far\"}, \"srs\": {\"local\": \"store\"},"
               " \"disks\": {\"vdb\": {\"sr\": \"fast\"}, \"vdc\": {\"format\": \"qcow2\"}},"
               " \"vifs\": {\"52:54:00:00:00:02\": \"dmz\"}}");
    cr_assert_str_eq(network_of(&map, "52:54:00:00:00:01", "lan"), "far");
    cr_assert_str_eq(network_of(&map, "52:54:00:00:00:02", "lan"), "dmz");
    cr_assert_str_eq(mapping_sr_of(&map, "vda", "id", "local"), "store");
    cr_assert_str_eq(mapping_sr_of(&map, "vdb", "id", "local"), "fast");
    cr_assert_str_eq(mapping_sr_of(&map, "vdc", "id", "local"), "store");
    cr_assert_eq(mapping_format_of(&map, "vdc", IMAGE_RAW), IMAGE_QCOW2);
    cr_assert_eq(mapping_format_of(&map, "vdb", IMAGE_RAW), IMAGE_RAW);
    mapping_done(&map);
}

Test(mapping, an_sr_is_found_by_id_before_its_name)
{
    struct mapping map = decode("{\"srs\": {\"local\": \"by-name\", \"the-id\": \"by-id\"}}");
    cr_assert_str_eq(mapping_sr_of(&map, "vda", "the-id", "local"), "by-id");
    mapping_done(&map);
}

Test(mapping, the_request_overrides_the_set_key_by_key)
{
    struct mapping set = decode("{\"networks\": {\"a\": \"1\", \"b\": \"2\"},"
                                " \"disks\": {\"vda\": {\"sr\": \"x\", \"format\": \"vhd\"},"
                                " \"vdb\": {\"sr\": \"y\"}}}");
    struct mapping request = decode("{\"networks\": {\"b\": \"3\"}, \"srs\": {\"s\": \"t\"},"
                                    " \"disks\": {\"vda\": {\"sr\": \"z\"}}}");
    struct mapping map;
    mapping_overlay(&set, &request, &map);
    mapping_done(&set);
    mapping_done(&request);
    cr_assert_str_eq(network_of(&map, "", "a"), "1");
    cr_assert_str_eq(network_of(&map, "", "b"), "3");
    cr_assert_str_eq(mapping_sr_of(&map, "vda", "", "s"), "z");
    cr_assert_eq(mapping_format_of(&map, "vda", IMAGE_RAW), IMAGE_RAW);
    cr_assert_str_eq(mapping_sr_of(&map, "vdb", "", "s"), "y");
    cr_assert_str_eq(mapping_sr_of(&map, "vdc", "", "s"), "t");
    mapping_done(&map);
}

Test(mapping, encoding_gives_back_what_was_decoded)
{
    const char *text = "{\"networks\":{\"lan\":\"far\"},\"srs\":{\"local\":\"store\"},"
                       "\"disks\":{\"vda\":{\"sr\":\"s\",\"format\":\"qcow2\"}},"
                       "\"vifs\":{\"52:54:00:00:00:01\":\"dmz\"}}";
    struct mapping map = decode(text);
    char *encoded = mapping_encode(&map);
    cr_assert_str_eq(encoded, text);
    free(encoded);
    mapping_done(&map);
}

Test(mapping, refuses_what_it_does_not_know)
{
    refuses("[]", "expected an object");
    refuses("{\"network\": {}}", "/network: unknown key");
    refuses("{\"networks\": {\"lan\": 1}}", "/networks/lan");
    refuses("{\"networks\": {\"lan\": \"\"}}", "/networks/lan");
    refuses("{\"networks\": {\"\": \"lan\"}}", "expected names of 1 to");
    refuses("{\"srs\": \"local\"}", "/srs");
    refuses("{\"disks\": []}", "/disks");
    refuses("{\"disks\": {\"vda\": {}}}", "/disks/vda");
    refuses("{\"disks\": {\"vda\": {\"size\": 1}}}", "/disks/vda: /size: unknown key");
    refuses("{\"disks\": {\"vda\": {\"format\": \"vmdk\"}}}", "/format: expected one of \"raw\"");
    refuses("{\"disks\": {\"\": {\"sr\": \"x\"}}}", "expected a device name");
    refuses("{\"networks\": {}, \"networks\": {}}", "duplicate");
}
