/* Checks of URLs and addresses; see webhook_url.h. */
#include "coordinator/webhook/webhook_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct range {
    unsigned char prefix[16];
    int bits;
    const char *name;
};

/* RFC 6890; the addresses of single hosts are metadata services that are not link-local. */
static const struct range ranges4[] = {
    {{0}, 8, "not an address of a host"},
    {{127}, 8, "loopback"},
    {{169, 254}, 16, "link-local"},
    {{100, 100, 100, 200}, 32, "a cloud's metadata"},
    {{192, 0, 0, 192}, 32, "a cloud's metadata"},
    {{224}, 3, "not an address of a host"},
};
static const struct range ranges6[] = {
    {{0}, 127, "loopback"}, /* ::1, and :: which is it too when connected to */
    {{0xfe, 0x80}, 10, "link-local"},
    {{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, 128, "a cloud's metadata"},
    {{0xff}, 8, "not an address of a host"},
};
/* What follows the first 96 bits is an IPv4 address: mapped, compatible, NAT64. */
static const struct range embedded[] = {
    {{[10] = 0xff, [11] = 0xff}, 96, ""},
    {{0}, 96, ""},
    {{0x00, 0x64, 0xff, 0x9b}, 96, ""},
};

static bool is_in(const unsigned char *address, const struct range *range)
{
    int bytes = range->bits / 8, rest = range->bits % 8;
    if (memcmp(address, range->prefix, (size_t)bytes) != 0)
        return false;
    unsigned mask = 0xff00U >> rest & 0xffU;
    return rest == 0 || ((address[bytes] ^ range->prefix[bytes]) & mask) == 0;
}

static const struct range *find(const unsigned char *address, const struct range *ranges,
                                size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_in(address, &ranges[i]))
            return &ranges[i];
    }
    return NULL;
}

static const struct range *find4(const unsigned char *address)
{
    return find(address, ranges4, sizeof ranges4 / sizeof *ranges4);
}

static const struct range *find6(const unsigned char *address)
{
    const struct range *found = find(address, ranges6, sizeof ranges6 / sizeof *ranges6);
    if (!found && find(address, embedded, sizeof embedded / sizeof *embedded))
        found = find4(address + 12);
    return found;
}

static bool is_loopback(const struct range *range)
{
    return range && strcmp(range->name, "loopback") == 0;
}

bool webhook_address_check(const struct sockaddr *address, bool is_loopback_allowed,
                           struct error *err)
{
    const struct range *found = NULL;
    if (address->sa_family == AF_INET)
        found = find4((const unsigned char *)&((const struct sockaddr_in *)address)->sin_addr);
    else if (address->sa_family == AF_INET6)
        found = find6((const unsigned char *)&((const struct sockaddr_in6 *)address)->sin6_addr);
    else
        return error_set(err, ERROR_REFUSED, "the receiver's address is neither IPv4 nor IPv6");
    if (!found || (is_loopback_allowed && is_loopback(found)))
        return true;
    return error_set(err, ERROR_REFUSED, "the receiver's address is %s", found->name);
}

/* *is_literal false: the host is a name. */
static bool check_host(const char *host, bool is_loopback_allowed, bool *is_local,
                       struct error *err)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    char bare[64];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(host + 1, "]"), host + 1);
    if (host[0] == '[' && inet_pton(AF_INET6, bare, &in6.sin6_addr) == 1) {
        *is_local = is_loopback(find6((const unsigned char *)&in6.sin6_addr));
        return webhook_address_check((const struct sockaddr *)&in6, is_loopback_allowed, err);
    }
    if (inet_pton(AF_INET, host, &in4.sin_addr) == 1) {
        *is_local = is_loopback(find4((const unsigned char *)&in4.sin_addr));
        return webhook_address_check((const struct sockaddr *)&in4, is_loopback_allowed, err);
    }
    *is_local = strcasecmp(host, "localhost") == 0;
    return !*is_local || is_loopback_allowed ||
           error_set(err, ERROR_REFUSED, "the receiver's address is loopback");
}

static bool has_part(CURLU *parsed, CURLUPart part)
{
    char *text = NULL;
    bool is_there = curl_url_get(parsed, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return is_there;
}

static bool check_parts(CURLU *parsed, const char *scheme, const char *host,
                        bool is_loopback_allowed, struct error *err)
{
    bool is_local = false;
    if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD))
        return error_set(err, ERROR_INVALID, "expected no user and password in the URL");
    if (has_part(parsed, CURLUPART_FRAGMENT))
        return error_set(err, ERROR_INVALID, "expected no fragment in the URL");
    if (!check_host(host, is_loopback_allowed, &is_local, err)) {
        err->code = ERROR_INVALID;
        return false;
    }
    if (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && is_local))
        return true;
    return error_set(err, ERROR_INVALID,
                     is_loopback_allowed ? "expected https, or http to loopback"
                                         : "expected https");
}

bool webhook_url_check(const char *url, bool is_loopback_allowed, struct error *err)
{
    char *scheme = NULL, *host = NULL;
    CURLU *parsed = curl_url();
    bool is_url = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                  curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                  curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK;
    bool is_good = is_url ? check_parts(parsed, scheme, host, is_loopback_allowed, err)
                          : error_set(err, ERROR_INVALID, "expected a URL: https://host/path");
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parsed);
    return is_good;
}
