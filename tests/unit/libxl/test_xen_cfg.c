/* xl's own words for a domain: what is read of them, and the block that says where it is now. */
#include "agent/hypervisor/libxl/xen_cfg.h"
#include "agent/hypervisor/libxl/xen_config.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define UUID  "2f4dbb7e-63a1-4d4b-a31c-0b6a43c6f3a1"
#define BEGIN "# crosspool: where the domain is at this host\n"
#define END   "# crosspool: end\n"

static struct error err;

static char *fixture(const char *name)
{
    char *text = NULL;
    auto_free char *path = memory_format("%s/%s", FIXTURES, name);
    cr_assert(file_read(path, 1 << 20, &text, NULL, &err), "%s", err.text);
    return text;
}

static char *compose(const char *text, const char *config)
{
    char *out = NULL;
    cr_assert(xen_cfg_compose(text, config, &out, &err), "%s", err.text);
    return out;
}

static const char pvh_block[] =
    BEGIN "name = \"g1\"\n"
          "uuid = \"" UUID "\"\n"
          "disk = [\n"
          "    \"vdev=xvda,format=qcow2,backendtype=qdisk,access=rw,target=/srv/vm/a.qcow2\",\n"
          "    \"vdev=xvdb,format=raw,backendtype=phy,access=rw,target=/dev/vg/b\",\n"
          "    \"vdev=hdc,format=empty,access=ro,devtype=cdrom,target=\",\n"
          "]\n"
          "vif = [\n"
          "    \"mac=00:16:3e:01:02:03,bridge=xenbr0,\",\n"
          "]\n" END;

Test(xen_cfg, the_block_says_what_the_domain_has)
{
    auto_free char *config = fixture("pvh.json");
    auto_free char *text = compose("# g1\nname = \"old\"\nmemory = 128", config);
    auto_free char *expected = memory_format("# g1\nname = \"old\"\nmemory = 128\n%s", pvh_block);
    cr_assert_str_eq(text, expected);
    cr_assert(xen_cfg_is_ours(text) && !xen_cfg_is_ours("name = \"g1\""));
    char value[64];
    cr_assert(xen_cfg_value(text, "name", value, sizeof value));
    cr_assert_str_eq(value, "g1");
    cr_assert(xen_cfg_value(text, "uuid", value, sizeof value));
    cr_assert_str_eq(value, UUID);
}

Test(xen_cfg, an_earlier_block_goes_and_all_else_stays)
{
    auto_free char *config = fixture("pvh.json");
    auto_free char *once = compose("memory = 128\n", config);
    auto_free char *edited = memory_format("%svcpus = 2\n", once);
    auto_free char *twice = compose(edited, config);
    auto_free char *expected = memory_format("memory = 128\nvcpus = 2\n%s", pvh_block);
    cr_assert_str_eq(twice, expected);
    auto_free char *cut = compose("memory = 128\n" BEGIN "disk = [\n", config);
    cr_assert_str_eq(cut, once);
}

Test(xen_cfg, what_only_some_disks_and_vifs_have)
{
    static const char config[] =
        "{\"c_info\": {\"type\": \"hvm\", \"name\": \"a \\\"b\\\" \\\\c\", \"uuid\": \"" UUID
        "\"}, \"b_info\": {}, \"disks\": [{\"pdev_path\": \"/a,b=c d\", \"vdev\": \"hda\","
        " \"backend\": \"qdisk\", \"format\": \"raw\", \"script\": \"block-x\","
        " \"discard_enable\": \"False\", \"direct_io_safe\": true}], \"nics\": [{\"mac\":"
        " \"00:16:3e:01:02:03\", \"model\": \"e1000\", \"bridge\": \"b0\", \"ip\": \"10.0.0.1\","
        " \"nictype\": \"vif_ioemu\", \"script\": \"/etc/xen/scripts/vif-route\", \"mtu\": 9000,"
        " \"gatewaydev\": \"eth0\", \"rate_bytes_per_interval\": 50000,"
        " \"rate_interval_usecs\": 50000}]}";
    auto_free char *text = compose("", config);
    cr_assert(strstr(text, "name = \"a \\\"b\\\" \\\\c\"\n"), "%s", text);
    cr_assert(strstr(text, "\"vdev=hda,format=raw,backendtype=qdisk,script=block-x,access=ro,"
                           "no-discard,direct-io-safe,target=/a,b=c d\",\n"),
              "%s", text);
    cr_assert(strstr(text, "\"mac=00:16:3e:01:02:03,bridge=b0,model=e1000,type=ioemu,ip=10.0.0.1,"
                           "gatewaydev=eth0,script=/etc/xen/scripts/vif-route,mtu=9000,"
                           "rate=1000000B/s@50000us,\",\n"),
              "%s", text);
}

Test(xen_cfg, a_domain_without_disks_and_vifs_says_so)
{
    auto_free char *text = compose("disk = [\"/old,raw,xvda\"]\n",
                                   "{\"c_info\": {\"type\": \"pv\", \"uuid\": \"" UUID "\"}}");
    cr_assert(strstr(text, "disk = [\n]\nvif = [\n]\n"), "%s", text);
}

static void expect_unfit(const char *name, const char *bridge)
{
    char *out = NULL;
    auto_free char *config = memory_format("{\"c_info\": {\"type\": \"pv\", \"uuid\": \"%s\","
                                           " \"name\": \"%s\"}, \"nics\": [{\"mac\":"
                                           " \"00:16:3e:01:02:03\", \"bridge\": \"%s\"}]}",
                                           UUID, name, bridge);
    cr_assert_not(xen_cfg_compose("", config, &out, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, "xl.cfg cannot express"), "%s", err.text);
    cr_assert_null(out);
}

Test(xen_cfg, what_xl_cannot_express_is_refused)
{
    expect_unfit("two\\nlines", "b0");
    expect_unfit("g1", "b0,script=x");
}
