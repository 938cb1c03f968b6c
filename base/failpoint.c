/* Named fault points of test builds; see failpoint.h. */
#include "base/failpoint.h"

#ifdef CROSSPOOL_FAILPOINTS

#include "base/clock.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads the control file of a point; false when there is none. */
static bool read_control(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    if (got < 0)
        return false;
    text[got] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return true;
}

static void leave_mark(const char *path)
{
    char mark[600];
    snprintf(mark, sizeof mark, "%s.hit", path);
    int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0)
        close(fd);
}

bool failpoint(const char *name, struct error *err)
{
    const char *directory = getenv("CROSSPOOL_FAILPOINTS");
    if (!directory)
        return true;
    char path[512], control[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (!read_control(path, control, sizeof control))
        return true;
    leave_mark(path);
    if (strcmp(control, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(control, "wait") == 0) {
        while (access(path, F_OK) == 0)
            clock_sleep_ms(2);
    }
    if (strncmp(control, "delay ", 6) == 0)
        clock_sleep_ms(atoll(control + 6));
    if (strncmp(control, "error ", 6) == 0)
        return error_set(err, ERROR_INTERNAL, "%s", control + 6);
    return true;
}

void failpoint_pass(const char *name)
{
    struct error ignored;
    if (!failpoint(name, &ignored))
        return;
}

#else
typedef int failpoint_is_compiled_out; /* ISO C wants a declaration */
#endif
