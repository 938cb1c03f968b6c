/* The console; README.md lists the commands. */
#include "guest.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <unistd.h>

static int console_fd;

int console_open_serial(const char *path)
{
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    struct termios mode;
    tcgetattr(fd, &mode);
    cfmakeraw(&mode);
    mode.c_cflag |= CLOCAL;
    cfsetspeed(&mode, B115200);
    tcsetattr(fd, TCSANOW, &mode);
    return fd;
}

void console_open(void)
{
    char path[32];
    snprintf(path, sizeof path, "/dev/%s", options.console);
    console_fd = console_open_serial(path);
}

void console_say(const char *fmt, ...)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    char line[512];
    va_list arguments;
    va_start(arguments, fmt);
    int size = vsnprintf(line, sizeof line - 1, fmt, arguments);
    va_end(arguments);
    if (size > (int)sizeof line - 2)
        size = (int)sizeof line - 2;
    line[size++] = '\n';
    pthread_mutex_lock(&lock);
    (void)!write(console_fd, line, (size_t)size);
    pthread_mutex_unlock(&lock);
}

static void say_status(void)
{
    struct stats stats;
    struct sysinfo memory = {0};
    stats_read(&stats);
    sysinfo(&memory);
    console_say(
        "STATUS running=%d disks=%d writes=%llu bytes=%llu errors=%llu gap_ms=%llu p50_us=%llu "
        "p99_us=%llu max_us=%llu free_kb=%llu",
        writer_is_running(), disk_count, (unsigned long long)stats.writes,
        (unsigned long long)stats.bytes, (unsigned long long)stats.errors,
        (unsigned long long)stats.gap_us / 1000, (unsigned long long)stats.p50_us,
        (unsigned long long)stats.p99_us, (unsigned long long)stats.max_us,
        (unsigned long long)memory.freeram * memory.mem_unit / 1024);
}

static void verify(void)
{
    bool was_running = writer_is_running();
    writer_stop();
    uint64_t checked = 0, bad = 0;
    for (int i = 0; i < disk_count; i++)
        bad += disk_verify(&disks[i], &checked);
    uint64_t bad_pages = memory_verify();
    struct stats stats;
    stats_read(&stats);
    bool is_good = bad == 0 && bad_pages == 0 && stats.errors == 0;
    console_say("VERIFY %s checked=%llu bad=%llu bad_pages=%llu errors=%llu",
                is_good ? "ok" : "bad", (unsigned long long)checked, (unsigned long long)bad,
                (unsigned long long)bad_pages, (unsigned long long)stats.errors);
    if (was_running)
        writer_run();
}

/* A panic of the kernel, in the middle of whatever the writers do. */
static void crash(void)
{
    int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "c", 1) != 1)
        console_say("UNKNOWN crash: no sysrq");
}

static void obey(const char *line)
{
    int number;
    if (strcmp(line, "verify") == 0) {
        verify();
    } else if (strcmp(line, "status") == 0) {
        say_status();
    } else if (strcmp(line, "stop") == 0) {
        writer_stop();
        console_say("OK stop");
    } else if (strcmp(line, "run") == 0) {
        writer_run();
        console_say("OK run");
    } else if (strcmp(line, "reset") == 0) {
        stats_reset();
        console_say("OK reset");
    } else if (sscanf(line, "rate %d", &number) == 1 && number >= 0) {
        writer_set_rate(number);
        console_say("OK rate %d", number);
    } else if (sscanf(line, "discards %d", &number) == 1 && number >= 0 && number <= 100) {
        writer_set_discards(number);
        console_say("OK discards %d", number);
    } else if (strcmp(line, "poweroff") == 0) {
        writer_stop();
        reboot(RB_POWER_OFF);
    } else if (strcmp(line, "reboot") == 0) {
        writer_stop();
        reboot(RB_AUTOBOOT);
    } else if (strcmp(line, "crash") == 0) {
        crash();
    } else {
        console_say("UNKNOWN %s", line);
    }
}

void console_serve(void)
{
    char line[128];
    size_t used = 0;
    for (;;) {
        char c;
        if (read(console_fd, &c, 1) != 1) {
            usleep(10000);
            continue;
        }
        if (c != '\n' && c != '\r' && used < sizeof line - 1) {
            line[used++] = c;
            continue;
        }
        line[used] = '\0';
        if (used)
            obey(line);
        used = 0;
    }
}
