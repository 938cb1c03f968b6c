/* Where the parts of a domain are: <run_directory>/domains/<uuid>/, its memory file, its taps. All
 * names follow from the run directory and the UUID alone, so that each can be removed whatever is
 * left of the others. */
#pragma once

#include "agent/hypervisor/qemu/qemu_host.h"
#include "protocol/vocabulary.h"

enum { QEMU_FOLDER_PATH = 108 }; /* what fits a unix socket's address */

/* Longest run directory with which all sockets have addressable paths. */
enum { QEMU_RUN_DIRECTORY_LIMIT = 40 };

enum { QEMU_TAP_PREFIX = 14 }; /* with NUL; an interface name has 15 characters */

/* "<folder>/<name>", or the folder itself when name is NULL. */
void qemu_folder_path(const struct hypervisor *hv, const char *uuid, const char *name,
                      char out[QEMU_FOLDER_PATH]);
bool qemu_folder_exists(const struct hypervisor *hv, const char *uuid);
/* File that holds the guest's RAM. Caller frees. */
char *qemu_folder_memory_path(const struct hypervisor *hv, const char *uuid);
/* Common beginning of the domain's tap devices; the VIF's number as one hexadecimal digit follows.
 */
void qemu_folder_tap_prefix(const struct hypervisor *hv, const char *uuid,
                            char out[QEMU_TAP_PREFIX]);
