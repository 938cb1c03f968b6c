/* QEMU's command line for one domain. */
#pragma once

#include "agent/hypervisor/qemu/qemu_config.h"
#include "agent/hypervisor/qemu/qemu_host.h"

struct qemu_command; /* owns its words */

struct qemu_command *qemu_command_new(const struct hypervisor *hv, const struct qemu_config *config,
                                      bool is_incoming);
const char *const *qemu_command_argv(const struct qemu_command *command);
void qemu_command_free(struct qemu_command *command);

/* Names that the block layer and the driver agree on. */
void qemu_command_node(const char *device, char out[64]);       /* "disk-vda" */
void qemu_command_vhd_socket(const char *device, char out[64]); /* in the folder */
