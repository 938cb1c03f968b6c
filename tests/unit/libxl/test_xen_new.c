/* Domains that are to be started for the first time: what xl left open, and what must be here. */
#include "agent/hypervisor/libxl/xen_config.h"
#include "agent/hypervisor/libxl/xen_new.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define HEAD                                                                                       \
    "{\"c_info\": {\"type\": \"pvh\", \"name\": \"g1\", \"uuid\":"                                 \
    " \"2f4dbb7e-63a1-4d4b-a31c-0b6a43c6f3a1\"}, \"b_info\": {\"max_memkb\": 131072}, "

static struct error err;

Test(xen_new, each_vif_gets_an_address_that_stays)
{
    auto_free char *first = NULL;
    auto_free char *second = NULL;
    auto_xen_config struct xen_config config = {0};
    cr_assert(xen_new_complete(HEAD "\"nics\": [{\"bridge\": \"b0\"}, {\"mac\":"
                                    " \"00:16:3e:01:02:03\"}, {\"mac\": \"00:00:00:00:00:00\"}]}",
                               &first, &err),
              "%s", err.text);
    cr_assert(xen_config_parse(first, &config, &err), "%s", err.text);
    cr_assert_eq(config.vif_count, 3);
    cr_assert_eq(strncmp(config.vifs[0].mac, "00:16:3e:", 9), 0);
    cr_assert_str_eq(config.vifs[0].bridge, "b0");
    cr_assert_str_eq(config.vifs[1].mac, "00:16:3e:01:02:03");
    cr_assert_eq(strncmp(config.vifs[2].mac, "00:16:3e:", 9), 0);
    cr_assert_str_neq(config.vifs[0].mac, config.vifs[2].mac);
    cr_assert(xen_new_complete(first, &second, &err));
    cr_assert_str_eq(first, second);
}

Test(xen_new, what_is_no_json_is_refused)
{
    char *out = NULL;
    cr_assert_not(xen_new_complete("(domain (domid -1))", &out, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, "configuration"), "%s", err.text);
    cr_assert_null(out);
}

Test(xen_new, memory_is_read)
{
    cr_assert_eq(xen_new_memory_bytes(HEAD "\"nics\": []}"), 128 << 20);
    cr_assert_eq(xen_new_memory_bytes("{}"), 0);
    cr_assert_eq(xen_new_memory_bytes("{\"b_info\": {\"max_memkb\": -4}}"), 0);
}

static void expect_fine(const char *parts)
{
    auto_free char *text = memory_format("%s%s}", HEAD, parts);
    cr_assert(xen_new_check(text, &err), "%s: %s", parts, err.text);
}

static void expect_missing(const char *parts, const char *expected)
{
    auto_free char *text = memory_format("%s%s}", HEAD, parts);
    cr_assert_not(xen_new_check(text, &err), "%s", parts);
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert(strstr(err.text, expected), "%s", err.text);
}

Test(xen_new, an_image_that_is_missing_is_named)
{
    expect_fine("\"disks\": [{\"vdev\": \"xvda\", \"pdev_path\": \"/etc/passwd\"}]");
    expect_fine("\"disks\": [{\"vdev\": \"xvda\", \"pdev_path\": \"null\"}]");
    expect_fine("\"disks\": [{\"vdev\": \"hdc\", \"format\": \"empty\", \"is_cdrom\": 1}]");
    expect_fine("\"disks\": [{\"vdev\": \"xvda\", \"pdev_path\": \"target:x\", \"script\":"
                " \"block-iscsi\"}]");
    expect_fine("\"disks\": [{\"vdev\": \"xvda\", \"pdev_path\": \"/far\", \"backend_domname\":"
                " \"storage\"}]");
    expect_missing("\"disks\": [{\"vdev\": \"xvdb\", \"pdev_path\": \"/nonexistent/b.raw\"}]",
                   "image /nonexistent/b.raw of disk xvdb: No such file");
    expect_missing("\"disks\": [{\"vdev\": \"xvdb\", \"pdev_path\": \"vg/none\"}]",
                   "image /dev/vg/none of disk xvdb");
}

Test(xen_new, a_bridge_that_is_missing_is_named)
{
    expect_fine("\"nics\": [{\"mac\": \"00:16:3e:01:02:03\", \"bridge\": \"lo\"}]");
    expect_fine("\"nics\": [{\"mac\": \"00:16:3e:01:02:03\", \"bridge\": \"none\", \"script\":"
                " \"/etc/xen/scripts/vif-openvswitch\"}]");
    expect_fine("\"nics\": [{\"mac\": \"00:16:3e:01:02:03\", \"bridge\": \"none\","
                " \"backend_domname\": \"net\"}]");
    expect_missing("\"nics\": [{\"mac\": \"00:16:3e:01:02:03\", \"bridge\": \"crosspool-no\"}]",
                   "VIF 00:16:3e:01:02:03: no bridge crosspool-no on this host");
    expect_missing("\"nics\": [{\"mac\": \"00:16:3e:01:02:03\", \"bridge\": \"crosspool-no\","
                   " \"script\": \"/etc/xen/scripts/vif-bridge\"}]",
                   "no bridge crosspool-no");
}
