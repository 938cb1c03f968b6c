/* The destination's half of a memory move; hypervisor.h says what restore promises. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

bool qemu_restore(struct hypervisor *hv, const char *uuid, const char *config,
                  const struct restore_map *map, int fd, struct error *err) must_check;
