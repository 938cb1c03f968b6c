/* A domain that is to be started for the first time: what xl's reading of its file leaves open, and
 * what its host must have. No Xen is needed here. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* libxl's configuration with an address for each VIF that has none, so that a start that is tried
 * again makes the same domain. Owned by the caller. */
bool xen_new_complete(const char *config, char **out, struct error *err) must_check;
/* ERROR_NOT_FOUND with the first image or bridge that is not here. */
bool xen_new_check(const char *config, struct error *err) must_check;
/* Of its memory; 0 where the configuration does not say. */
uint64_t xen_new_memory_bytes(const char *config);
