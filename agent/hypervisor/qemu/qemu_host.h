/* The driver's object and what it knows about this host's QEMU. */
#pragma once

#include "base/error.h"

#include <pthread.h>
#include <stdint.h>

#define QEMU_BINARY "qemu-system-x86_64"

struct qemu_facts {
    char accelerator[16]; /* "kvm" or "tcg" */
    char version[64];     /* of QEMU */
    char machine[64];     /* the versioned name behind q35 */
};

struct hypervisor {
    char *run_directory;
    char *memory_directory;
    uint64_t memory_limit_bytes; /* for all guests together; 0: none */
    struct qemu_facts facts;
    /* of the state monitors, each of which serves one client at a time */
    pthread_mutex_t state_lock;
};

/* Asks QEMU itself. KVM counts only when a guest really runs with it. The answer is kept in
 * run_directory until QEMU's version changes. `wanted`: "kvm", "tcg" or NULL for the best. */
bool qemu_host_probe(const char *run_directory, const char *wanted, struct qemu_facts *facts,
                     struct error *err) must_check;

/* The -cpu of guests of this accelerator. */
const char *qemu_host_cpu(const char *accelerator);
