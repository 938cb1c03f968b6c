/* domain.json: what is accepted, what is refused with which words, and how it is mapped. */
#include "agent/hypervisor/qemu/qemu_command.h"
#include "agent/hypervisor/qemu/qemu_config.h"
#include "agent/hypervisor/qemu/qemu_process.h"
#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char GOOD[] =
    "{\"uuid\":\"6f1c2a34-5b6d-4e7f-8a9b-0c1d2e3f4a5b\",\"name\":\"a,b\",\"memory_bytes\":"
    "134217728,"
    "\"vcpus\":2,\"kernel\":\"/k\",\"initrd\":\"/i\",\"cmdline\":\"a b\",\"disks\":["
    "{\"device\":\"vda\",\"path\":\"/d,0\",\"format\":\"raw\",\"iothread\":true},"
    "{\"device\":\"vdb\",\"path\":\"/d1\",\"format\":\"vhd\"}],"
    "\"vifs\":[{\"mac\":\"52:54:00:00:00:01\",\"bridge\":\"br0\"}],"
    "\"console\":\"console.sock\",\"tick\":\"tick.sock\"}";

/* GOOD with one text replaced. Caller frees. */
static char *with(const char *old, const char *new)
{
    const char *at = strstr(GOOD, old);
    cr_assert_not_null(at, "%s", old);
    return memory_format("%.*s%s%s", (int)(at - GOOD), GOOD, new, at + strlen(old));
}

static void expect_refusal(const char *old, const char *new, const char *expected)
{
    struct error err;
    struct qemu_config config;
    auto_free char *text = with(old, new);
    cr_assert_not(qemu_config_parse(text, &config, &err), "%s", text);
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, expected), "%s", err.text);
}

Test(qemu_config, survives_a_round_trip)
{
    struct error err;
    auto_config struct qemu_config config = {0}, again = {0};
    cr_assert(qemu_config_parse(GOOD, &config, &err), "%s", err.text);
    qemu_config_disks(&config)[0].size_bytes = 4096;
    strcpy(config.machine, "pc-q35-7.2");
    auto_free char *text = qemu_config_text(&config);
    cr_assert(qemu_config_parse(text, &again, &err), "%s", err.text);
    auto_free char *second = qemu_config_text(&again);
    cr_assert_str_eq(text, second);
    cr_assert_eq(qemu_config_disks(&again)[0].size_bytes, 4096);
    cr_assert(qemu_config_disks(&again)[0].has_iothread);
    cr_assert_eq(qemu_config_disks(&again)[1].format, IMAGE_VHD);
}

Test(qemu_config, refuses_what_qemu_or_the_folder_could_take_amiss)
{
    expect_refusal("\"vda\"", "\"../a\"", "/disks/0/device: expected letters");
    expect_refusal("\"vda\"", "\"a,b\"", "/disks/0/device: expected letters");
    expect_refusal("\"vdb\"", "\"vda\"", "/disks/1/device: \"vda\" is there twice");
    expect_refusal("\"/d1\"", "\"d1\"", "/disks/1/path: expected an absolute path");
    expect_refusal("\"vhd\"", "\"vmdk\"",
                   "/disks/1/format: expected one of \"raw\", \"qcow2\", \"vhd\"");
    expect_refusal("52:54:00:00:00:01", "52:54:00:00:00:0g", "/vifs/0/mac: expected six");
    expect_refusal("\"br0\"", "\"a/b\"", "/vifs/0/bridge: expected the name");
    expect_refusal("console.sock", "../console", "/console: expected a name that begins");
    expect_refusal("tick.sock", "qmp.sock", "/tick: expected a name that begins");
    expect_refusal("134217728", "134217729", "/memory_bytes: expected a multiple of 1 MiB");
    expect_refusal("134217728", "1048576", "/memory_bytes: expected an integer of 16777216");
    expect_refusal("\"vcpus\":2", "\"vcpus\":65", "/vcpus: expected an integer of 1 to 64");
    expect_refusal("\"vcpus\":2", "\"vcpus\":2,\"cpu\":1", "/cpu");
}

Test(qemu_config, is_mapped_whole_or_not_at_all)
{
    struct error err;
    auto_config struct qemu_config config = {0};
    cr_assert(qemu_config_parse(GOOD, &config, &err));
    struct restore_disk disks[] = {{.device = "vdb", .path = "/new1", .format = IMAGE_RAW},
                                   {.device = "vda", .path = "/new0", .format = IMAGE_QCOW2}};
    struct restore_vif vif = {.mac = "52:54:00:00:00:01", .bridge = "lan-b"};
    struct restore_map map = {.disk_count = 2, .disks = disks, .vif_count = 1, .vifs = &vif};
    cr_assert(qemu_config_map(&config, &map, &err), "%s", err.text);
    cr_assert_str_eq(qemu_config_disks(&config)[0].path, "/new0");
    cr_assert_eq(qemu_config_disks(&config)[0].format, IMAGE_QCOW2);
    cr_assert_str_eq(qemu_config_disks(&config)[1].path, "/new1");
    cr_assert_str_eq(qemu_config_vifs(&config)[0].bridge, "lan-b");
    strcpy(disks[0].device, "vdc");
    cr_assert_not(qemu_config_map(&config, &map, &err));
    cr_assert_str_eq(err.text, "disk vdb is not mapped");
    map.disk_count = 1;
    cr_assert_not(qemu_config_map(&config, &map, &err));
    cr_assert_str_eq(err.text, "the map has 1 disks and 1 VIFs, the domain 2 and 1");
}

static const char *word_after(const char *const *argv, const char *option, int nth)
{
    for (; argv[0] && argv[1]; argv++) {
        if (strcmp(argv[0], option) == 0 && nth-- == 0)
            return argv[1];
    }
    return "";
}

Test(qemu_command, names_nodes_and_escapes_commas)
{
    struct error err;
    auto_config struct qemu_config config = {0};
    cr_assert(qemu_config_parse(GOOD, &config, &err));
    struct hypervisor hv = {.run_directory = (char *)"/run/x", .memory_directory = (char *)"/shm"};
    struct qemu_command *command = qemu_command_new(&hv, &config, true);
    const char *const *argv = qemu_command_argv(command);
    cr_assert_str_eq(word_after(argv, "-name", 0), "guest=a,,b");
    cr_assert(strstr(word_after(argv, "-blockdev", 0), "\"node-name\":\"disk-vda\""));
    cr_assert(strstr(word_after(argv, "-blockdev", 0), "\"filename\":\"/d,0\""));
    cr_assert(strstr(word_after(argv, "-blockdev", 1), "\"driver\":\"nbd\""), "a VHD is served");
    cr_assert(strstr(word_after(argv, "-object", 0), "\"share\":true"));
    cr_assert_str_eq(word_after(argv, "-incoming", 0), "defer");
    qemu_command_free(command);
}

static char *make_pid_file(void)
{
    char path[] = "/tmp/qemu-process-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    return memory_copy_text(path);
}

/* A process that holds the lock, as QEMU does. */
static pid_t hold_lock(const char *path)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(path, O_RDWR);
        if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0 || write(ends[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    char byte;
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

Test(qemu_process, is_found_by_its_lock_and_ended, .timeout = 30)
{
    struct error err;
    auto_free char *path = make_pid_file();
    cr_assert_eq(qemu_process_find(path), 0, "a pid file alone is no process");
    pid_t pid = hold_lock(path);
    cr_assert_eq(qemu_process_find(path), pid);
    cr_assert(qemu_process_end(path, 1000, &err), "%s", err.text);
    cr_assert_eq(qemu_process_find(path), 0);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status));
    cr_assert(qemu_process_end(path, 1000, &err), "none is fine");
    unlink(path);
    cr_assert_eq(qemu_process_find(path), 0);
}

Test(qemu_process, that_has_not_written_its_pid_file_is_ended_too, .timeout = 30)
{
    struct error err;
    auto_free char *path = make_pid_file();
    const char *argv[] = {"sh", "-c", "sleep 60; :", "-pidfile", path, NULL};
    struct child *child;
    cr_assert(child_start(argv, "/dev/null", -1, &child, &err), "%s", err.text);
    cr_assert_eq(qemu_process_find(path), 0);
    cr_assert(qemu_process_end(path, 1000, &err), "%s", err.text);
    cr_assert_not(child_is_alive(child));
    child_stop(child, 100);
    unlink(path);
}
