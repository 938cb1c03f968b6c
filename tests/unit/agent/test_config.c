/* agent.json: what is accepted, and that every mistake is named with its place. */
#include "agent/config.h"

#include "agent/coordinator_client/enrolment.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <string.h>

static char folder[64];
static char path[96];
static struct error err;

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/crosspool-config-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/agent.json", folder);
}
static void teardown(void)
{
    cr_assert(file_remove_tree(folder, &err));
}
TestSuite(config, .init = setup, .fini = teardown);

/* A good configuration in which one member is replaced (NULL: left out) or added. */
static char *make_text(const char *name, const char *value)
{
    static const char *const members[][2] = {
        {"name", "\"a1\""},
        {"state_directory", "\"/var/lib/crosspool\""},
        {"run_directory", "\"/run/crosspool\""},
        {"coordinators",
         "[{\"api\":\"https://10.0.0.1:8443\",\"agent\":\"https://10.0.0.1:8444\"}]"},
        {"link", "{\"address\":\"10.0.1.11\",\"port\":7801}"},
        {"hypervisor", "\"qemu\""},
        {"qemu", "{\"memory_directory\":\"/dev/shm\"}"},
        {"networks", "[{\"name\":\"lan\",\"bridge\":\"br0\"}]"},
        {"srs", "[{\"name\":\"local\",\"type\":\"ext\",\"location\":\"/srv/vm\"}]"},
    };
    char *text = memory_copy_text("{");
    bool was_replaced = false;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        bool is_it = strcmp(members[i][0], name) == 0;
        was_replaced = was_replaced || is_it;
        const char *content = is_it ? value : members[i][1];
        if (!content)
            continue;
        auto_free char *before = text;
        text = memory_format("%s%s\"%s\":%s", before, before[1] ? "," : "", members[i][0], content);
    }
    auto_free char *before = text;
    return was_replaced ? memory_format("%s}", before)
                        : memory_format("%s,\"%s\":%s}", before, name, value);
}

static bool load(const char *name, const char *value, struct agent_config *out)
{
    auto_free char *text = make_text(name, value);
    cr_assert(file_write(path, 0600, text, strlen(text), &err), "%s", err.text);
    return config_load(path, out, &err);
}

static void check_refused(const char *name, const char *value, const char *expected)
{
    struct agent_config config = {0};
    cr_assert_not(load(name, value, &config), "%s: %s was accepted", name, value ? value : "-");
    cr_expect_eq(err.code, ERROR_INVALID);
    cr_expect_not_null(strstr(err.text, expected), "%s: %s", name, err.text);
    cr_expect_eq(strncmp(err.text, path, strlen(path)), 0, "%s", err.text);
}

Test(config, good_one_is_read_with_defaults)
{
    struct agent_config config = {0};
    cr_assert(load("name", "\"a1\"", &config), "%s", err.text);
    cr_expect_str_eq(config.name, "a1");
    cr_expect_str_eq(config.link.address, "10.0.1.11");
    cr_expect_eq(config.link.port, 7801);
    cr_assert_eq(config.srs.count, 1);
    cr_expect_str_eq(((struct sr_config *)config.srs.items)->location, "/srv/vm");
    cr_expect_str_eq(((struct coordinator_address *)config.coordinators.items)->agent,
                     "https://10.0.0.1:8444");
    cr_expect_str_eq(config.nbdkit_plugin, "/usr/lib/crosspool/nbdkit-crosspool-plugin.so");
    cr_expect_eq(config.peer_retry_limit_s, 300);
    config_done(&config);
}

Test(config, mistakes_are_named_with_their_place)
{
    check_refused("name", NULL, "/name");
    check_refused("name", "\"\"", "/name");
    check_refused("nmae", "1", "/nmae");
    check_refused("state_directory", "\"state\"", "/state_directory: expected an absolute path");
    check_refused("run_directory", "\"./run\"", "/run_directory: expected an absolute path");
    check_refused("link", "{\"address\":\"10.0.1.11\",\"port\":0}", "/link/port");
    check_refused("link", "{\"address\":\"10.0.1.11\"}", "/link/port");
    check_refused("link", "{\"address\":\"10.0.1.11\",\"port\":\"7801\"}", "/link/port");
    check_refused("hypervisor", "\"vmware\"", "/hypervisor: expected");
    check_refused("coordinators", "[]", "/coordinators: expected at least one");
    check_refused("coordinators", "[{\"api\":\"http://a:1\",\"agent\":\"https://a:2\"}]",
                  "/coordinators/0/api: expected https://");
    check_refused("coordinators", "[{\"api\":\"https://a:1\",\"agent\":\"https://a:2/path\"}]",
                  "/coordinators/0/agent: expected https://");
    check_refused("coordinators",
                  "[{\"api\":\"https://a:1\",\"agent\":\"https://a:2\",\"ca_sha256\":\"ab\"}]",
                  "/coordinators/0/ca_sha256");
    check_refused("networks",
                  "[{\"name\":\"lan\",\"bridge\":\"br0\"},{\"name\":\"lan\",\"bridge\":\"br1\"}]",
                  "/networks/1/name: \"lan\" is there twice");
    check_refused("networks", "[{\"name\":\"lan\",\"bridge\":\"br0\",\"vlan\":4095}]",
                  "/networks/0/vlan");
    check_refused("links", "[{\"name\":\"storage\",\"address\":\"10.9.0.1\"}]", "/links/0/port");
    check_refused("links",
                  "[{\"name\":\"storage\",\"address\":\"10.9.0.1\",\"port\":7801},"
                  "{\"name\":\"storage\",\"address\":\"10.9.0.2\",\"port\":7801}]",
                  "/links/1/name: \"storage\" is there twice");
    check_refused("srs", "[{\"name\":\"local\",\"type\":\"ext\"}]", "/srs/0/location");
    check_refused("memory_bytes", "-1", "/memory_bytes");
    check_refused("nbdkit_plugin", "\"plugin.so\"", "/nbdkit_plugin: expected an absolute path");
}

Test(config, text_that_is_no_json_is_named_with_line_and_column)
{
    struct agent_config config = {0};
    cr_assert(file_write(path, 0600, "{\n\"name\": }", 11, &err));
    cr_expect_not(config_load(path, &config, &err));
    cr_expect_not_null(strstr(err.text, "line 2"), "%s", err.text);
}

Test(config, missing_file_is_named)
{
    struct agent_config config = {0};
    cr_expect_not(config_load("/nonexistent/agent.json", &config, &err));
    cr_expect_not_null(strstr(err.text, "/nonexistent/agent.json"), "%s", err.text);
}

Test(config, driver_is_told_the_run_directory_and_memory)
{
    struct agent_config config = {0};
    json_t *options = NULL;
    cr_assert(load("memory_bytes", "4096", &config), "%s", err.text);
    cr_assert(config_driver_options(&config, &options, &err), "%s", err.text);
    cr_expect_str_eq(json_string_value(json_object_get(options, "memory_directory")), "/dev/shm");
    cr_expect_str_eq(json_string_value(json_object_get(options, "run_directory")),
                     "/run/crosspool");
    cr_expect_eq(json_integer_value(json_object_get(options, "memory_bytes")), 4096);
    json_decref(options);
    config_done(&config);
}

Test(config, driver_options_must_be_an_object_of_their_own)
{
    static const char *const wrong[] = {"[]", "{\"run_directory\":\"/x\"}"};
    for (size_t i = 0; i < 2; i++) {
        struct agent_config config = {0};
        json_t *options = NULL;
        cr_assert(load("qemu", wrong[i], &config), "%s", err.text);
        cr_expect_not(config_driver_options(&config, &options, &err));
        cr_expect_not_null(strstr(err.text, "/qemu"), "%s", err.text);
        config_done(&config);
    }
}
