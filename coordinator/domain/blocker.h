/* What keeps a VM from moving: a closed list of codes, and for each case a sentence, the numbers
 * and what to do about it. */
#pragma once

#include "base/json.h"

#include <stdint.h>

/*   BLOCKER(symbol, code) */
#define BLOCKER_LIST(BLOCKER)                                                                      \
    BLOCKER(VM_NOT_FOUND, "vm-not-found")                                                          \
    BLOCKER(VM_NOT_RUNNING, "vm-not-running")                                                      \
    BLOCKER(VM_MIGRATING, "vm-migrating")                                                          \
    BLOCKER(VM_NOT_MOVABLE, "vm-not-movable")                                                      \
    BLOCKER(VM_NOT_LIVE, "vm-not-live")                                                            \
    BLOCKER(DISK_NOT_MOVABLE, "disk-not-movable")                                                  \
    BLOCKER(DISK_WITHOUT_SR, "disk-without-sr")                                                    \
    BLOCKER(VIF_WITHOUT_NETWORK, "vif-without-network")                                            \
    BLOCKER(SR_NOT_MAPPED, "sr-not-mapped")                                                        \
    BLOCKER(NETWORK_NOT_MAPPED, "network-not-mapped")                                              \
    BLOCKER(UNKNOWN_DISK, "unknown-disk")                                                          \
    BLOCKER(UNKNOWN_VIF, "unknown-vif")                                                            \
    BLOCKER(NO_HOST_FITS, "no-host-fits")                                                          \
    BLOCKER(SAME_HOST, "same-host")                                                                \
    BLOCKER(HOST_NOT_ENABLED, "host-not-enabled")                                                  \
    BLOCKER(HOST_IN_MAINTENANCE, "host-in-maintenance")                                            \
    BLOCKER(HOST_LOST, "host-lost")                                                                \
    BLOCKER(LINK_UNKNOWN, "link-unknown")                                                          \
    BLOCKER(HYPERVISOR_DIFFERS, "hypervisor-differs")                                              \
    BLOCKER(VERSION_OLDER, "version-older")                                                        \
    BLOCKER(GUEST_TYPE, "guest-type")                                                              \
    BLOCKER(CPU_VENDOR_DIFFERS, "cpu-vendor-differs")                                              \
    BLOCKER(CPU_FEATURES, "cpu-features")                                                          \
    BLOCKER(DOMAIN_EXISTS, "domain-exists")                                                        \
    BLOCKER(HOST_NOT_CLEAN, "host-not-clean")                                                      \
    BLOCKER(MEMORY, "memory")                                                                      \
    BLOCKER(SR_UNKNOWN, "sr-unknown")                                                              \
    BLOCKER(NETWORK_UNKNOWN, "network-unknown")                                                    \
    BLOCKER(NETWORK_NOT_USABLE, "network-not-usable")                                              \
    BLOCKER(SR_ROOM, "sr-room")

enum blocker_code {
#define BLOCKER(symbol, code) BLOCKER_##symbol,
    BLOCKER_LIST(BLOCKER)
#undef BLOCKER
        BLOCKER_CODE_COUNT
};
extern const char *const blocker_code_names[]; /* NULL-terminated */

struct blocker {
    enum blocker_code code;
    char object[176];   /* "disk vda", "host b1" */
    char message[256];  /* one sentence */
    char needed[96];    /* "" or what it takes: "4294967296 bytes", "GenuineIntel" */
    char available[96]; /* "" or what is there */
    char fix[192];      /* what to do about it */
};
extern const struct json_field blocker_fields[];

struct blocker_list {
    struct blocker *items; /* owned: free() */
    size_t count;
};

/* Appends one about the object "<kind> <name>"; the calls below fill it before the next is added.
 */
struct blocker *blocker_add(struct blocker_list *list, enum blocker_code code, const char *kind,
                            const char *name);
void blocker_say(struct blocker *blocker, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void blocker_fix(struct blocker *blocker, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void blocker_compare(struct blocker *blocker, const char *needed, const char *available);
void blocker_compare_bytes(struct blocker *blocker, uint64_t needed, uint64_t available);
void blocker_append(struct blocker_list *list, const struct blocker_list *more);
