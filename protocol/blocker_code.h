/* Codes of what keeps a VM from moving, and of warnings. The coordinator's preflight and the
 * destination agent, which looks again, say the same words. */
#pragma once

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
    BLOCKER(POOL_IN_MAINTENANCE, "pool-in-maintenance")                                            \
    BLOCKER(HOST_LOST, "host-lost")                                                                \
    BLOCKER(LINK_UNKNOWN, "link-unknown")                                                          \
    BLOCKER(TRANSFER_NETWORK_UNKNOWN, "transfer-network-unknown")                                  \
    BLOCKER(HYPERVISOR_DIFFERS, "hypervisor-differs")                                              \
    BLOCKER(VERSION_OLDER, "version-older")                                                        \
    BLOCKER(GUEST_TYPE, "guest-type")                                                              \
    BLOCKER(CPU_VENDOR_DIFFERS, "cpu-vendor-differs")                                              \
    BLOCKER(CPU_FEATURES, "cpu-features")                                                          \
    BLOCKER(DOMAIN_EXISTS, "domain-exists")                                                        \
    BLOCKER(HOST_NOT_CLEAN, "host-not-clean")                                                      \
    BLOCKER(MEMORY, "memory")                                                                      \
    BLOCKER(VCPUS, "vcpus")                                                                        \
    BLOCKER(SR_UNKNOWN, "sr-unknown")                                                              \
    BLOCKER(NETWORK_UNKNOWN, "network-unknown")                                                    \
    BLOCKER(NETWORK_AMBIGUOUS, "network-ambiguous")                                                \
    BLOCKER(NETWORK_NOT_USABLE, "network-not-usable")                                              \
    BLOCKER(SR_ROOM, "sr-room")

/*   WARNING(symbol, code) */
#define WARNING_LIST(WARNING)                                                                      \
    WARNING(VCPUS_OVERCOMMITTED, "vcpus-overcommitted")                                            \
    WARNING(SR_NEARLY_FULL, "sr-nearly-full")                                                      \
    WARNING(LINK_SLOW, "link-slow")                                                                \
    WARNING(PAUSE_LONG, "pause-long")

enum blocker_code {
#define BLOCKER(symbol, code) BLOCKER_##symbol,
    BLOCKER_LIST(BLOCKER)
#undef BLOCKER
#define WARNING(symbol, code) WARNING_##symbol,
        WARNING_LIST(WARNING)
#undef WARNING
            BLOCKER_CODE_COUNT
};
extern const char *const blocker_code_names[]; /* NULL-terminated */
