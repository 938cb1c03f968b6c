/* Ticks on the second serial port and as datagrams: what stops them is a pause of the guest. */
#include "guest.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int serial_fd = -1, datagram_fd = -1;

static void *run_ticks(void *unused)
{
    (void)unused;
    char line[32];
    for (unsigned long number = 0;; number++) {
        size_t size = (size_t)snprintf(line, sizeof line, "%lu\n", number);
        if (serial_fd >= 0)
            (void)!write(serial_fd, line, size);
        if (datagram_fd >= 0)
            (void)!write(datagram_fd, line, size); /* one that is lost is as good as a pause */
        usleep((useconds_t)options.tick_ms * 1000);
    }
    return NULL;
}

/* -1 when `to` is no ADDRESS:PORT. */
static int open_datagrams(const char *to)
{
    char address[32];
    snprintf(address, sizeof address, "%s", to);
    char *colon = strchr(address, ':');
    struct sockaddr_in where = {.sin_family = AF_INET};
    if (!colon)
        return -1;
    *colon = '\0';
    where.sin_port = htons((uint16_t)atoi(colon + 1));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && inet_aton(address, &where.sin_addr) &&
        connect(fd, (struct sockaddr *)&where, sizeof where) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

void tick_start(void)
{
    pthread_t thread;
    if (options.tick_ms <= 0)
        return;
    /* a Xen console has no second port */
    if (strcmp(options.console, "ttyS0") == 0)
        serial_fd = console_open_serial("/dev/ttyS1");
    if (options.tick_to[0])
        datagram_fd = open_datagrams(options.tick_to);
    if (options.tick_to[0] && datagram_fd < 0)
        console_say("ERROR ticks to %s: expected ADDRESS:PORT that can be reached",
                    options.tick_to);
    if (serial_fd >= 0 || datagram_fd >= 0)
        pthread_create(&thread, NULL, run_ticks, NULL);
}
