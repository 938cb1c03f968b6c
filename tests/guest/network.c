/* Static addresses by ioctl; the kernel answers pings by itself. */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool set_address(int sock, struct ifreq *request, unsigned long command, uint32_t address)
{
    struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    memcpy(&request->ifr_addr, &value, sizeof value);
    return ioctl(sock, command, request) == 0;
}

static bool bring_up(int sock, const char *name, uint32_t address, int bits)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    uint32_t mask = bits ? ~UINT32_C(0) << (32 - bits) : 0;
    if (!set_address(sock, &request, SIOCSIFADDR, address) ||
        !set_address(sock, &request, SIOCSIFNETMASK, mask) || ioctl(sock, SIOCGIFFLAGS, &request))
        return false;
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    return ioctl(sock, SIOCSIFFLAGS, &request) == 0;
}

/* The device appears some time after its module. */
static void await_interface(const char *name)
{
    for (int tries = 0; tries < 200 && !if_nametoindex(name); tries++)
        usleep(10000);
}

void network_start(const char *addresses)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", addresses);
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bring_up(sock, "lo", INADDR_LOOPBACK, 8);
    int index = 0;
    char *save = NULL;
    for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        char name[IFNAMSIZ], *bits = strchr(word, '/');
        snprintf(name, sizeof name, "eth%d", index++);
        if (bits)
            *bits++ = '\0';
        struct in_addr address;
        await_interface(name);
        if (!bits || atoi(bits) < 1 || atoi(bits) > 32 || inet_aton(word, &address) == 0 ||
            !bring_up(sock, name, ntohl(address.s_addr), atoi(bits)))
            console_say("ERROR network %s %s: %s", name, word, strerror(errno));
    }
    close(sock);
}
