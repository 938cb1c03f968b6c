/* The source's half of a memory move; hypervisor.h says what save and resume promise. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

bool qemu_save(struct hypervisor *hv, const char *uuid, bool is_live, int fd,
               const struct save_hooks *hooks, bool *is_suspended, struct error *err) must_check;
/* Brings a suspended domain back, whatever point of a save it reached. */
bool qemu_save_undo(struct hypervisor *hv, const char *uuid, struct error *err) must_check;
