/* Entry of the test guest: mounts, modules, options, then the console. */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct options options = {.writers = 4, .has_base = true, .tick_ms = 5, .console = "ttyS0"};

uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

/* In the order of their dependencies; the build script puts the same list into /modules. */
static void load_modules(void)
{
    FILE *list = fopen("/modules/order", "r");
    char name[64], path[96];
    while (list && fscanf(list, "%63s", name) == 1) {
        snprintf(path, sizeof path, "/modules/%s.ko", name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        /* ENODEV: a driver of the other hypervisor */
        bool is_fine = fd >= 0 && (syscall(SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST ||
                                   errno == ENODEV);
        if (!is_fine)
            console_say("ERROR module %s: %s", name, strerror(errno));
        if (fd >= 0)
            close(fd);
    }
    if (list)
        fclose(list);
}

static char addresses[256];

static void read_options(void)
{
    char line[2048] = "";
    FILE *file = fopen("/proc/cmdline", "r");
    if (file && !fgets(line, sizeof line, file))
        line[0] = '\0';
    if (file)
        fclose(file);
    char *save = NULL;
    for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
        int number;
        if (sscanf(word, "guest.writers=%d", &number) == 1)
            options.writers = number < 1 ? 1 : number > MAX_WRITERS ? MAX_WRITERS : number;
        else if (sscanf(word, "guest.rate=%d", &number) == 1)
            options.rate = number;
        else if (sscanf(word, "guest.discards=%d", &number) == 1)
            options.discards = number;
        else if (sscanf(word, "guest.memory=%d", &number) == 1)
            options.memory_mb = number;
        else if (sscanf(word, "guest.stopped=%d", &number) == 1)
            options.is_stopped = number;
        else if (sscanf(word, "guest.tick=%d", &number) == 1)
            options.tick_ms = number;
        else if (sscanf(word, "guest.base=%d", &number) == 1)
            options.has_base = number;
        else if (sscanf(word, "console=%15[a-zA-Z0-9]", options.console) == 1)
            continue;
        else if (sscanf(word, "guest.tick_to=%31s", options.tick_to) == 1)
            continue;
        else
            sscanf(word, "guest.ip=%255s", addresses);
    }
}

int main(void)
{
    mkdir("/dev", 0755);
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    read_options();
    console_open();
    load_modules();
    network_start(addresses);
    tick_start();
    disk_open_all();
    memory_start();
    writer_start_all();
    console_say("READY disks=%d writers=%d uptime_ms=%llu", disk_count, options.writers,
                (unsigned long long)now_us() / 1000);
    console_serve();
}
