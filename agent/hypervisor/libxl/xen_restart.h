/* The durable record of a guest that is being started, for the first time or again, kept from
 * before its old domain is destroyed until the new one runs: whatever dies in between, the start
 * can be finished. One file for each domain, <state_directory>/restarts/<uuid>. No Xen is needed
 * here. */
#pragma once

#include "agent/hypervisor/libxl/xen_ending.h"

enum { XEN_BOOT_SIZE = 37, XEN_ID_LAST = 0x7fef /* Xen's last number of a guest */ };

struct xen_restart {
    char uuid[UUID_SIZE];
    char boot[XEN_BOOT_SIZE]; /* the run of the host in which the numbers below mean something */
    int old_id;               /* the domain whose guest ended; 0: there was none */
    int new_id;               /* chosen before it is created; 0: not yet */
    bool is_built;            /* the new domain is whole: it is only to be unpaused */
    bool keeps_old;           /* under another name and UUID */
    uint64_t memory_bytes;    /* of the domain */
    char *config;             /* libxl's JSON */
};

bool xen_restart_write(const char *folder, const struct xen_restart *restart,
                       struct error *err) must_check;
/* ERROR_NOT_FOUND when there is none; ERROR_INVALID when it is damaged. */
bool xen_restart_read(const char *folder, const char *uuid, struct xen_restart *out,
                      struct error *err) must_check;
bool xen_restart_remove(const char *folder, const char *uuid, struct error *err) must_check;
void xen_restart_done(struct xen_restart *restart);
#define auto_xen_restart __attribute__((cleanup(xen_restart_done)))
/* The UUIDs of all records; the caller frees the array. */
bool xen_restart_list(const char *folder, char (**uuids)[UUID_SIZE], size_t *count,
                      struct error *err) must_check;
/* The configuration for the new domain, with its number. Owned by the caller. */
bool xen_restart_config(const struct xen_restart *restart, char **text,
                        struct error *err) must_check;

/* Whoever works by the records of a folder holds its lock, a file beside it: one process at a time.
 * It goes with the process, and not to its children. */
struct xen_restart_lock {
    int fd;
};
#define XEN_RESTART_UNLOCKED ((struct xen_restart_lock){-1})
/* ERROR_CONFLICT: another process holds it. */
bool xen_restart_lock(const char *folder, struct xen_restart_lock *lock,
                      struct error *err) must_check;
void xen_restart_unlock(struct xen_restart_lock *lock); /* one that is not held is fine */
#define auto_xen_restart_lock __attribute__((cleanup(xen_restart_unlock)))
