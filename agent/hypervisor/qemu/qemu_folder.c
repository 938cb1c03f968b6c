/* Names of a domain's parts; see qemu_folder.h. */
#include "agent/hypervisor/qemu/qemu_folder.h"

#include "base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

void qemu_folder_path(const struct hypervisor *hv, const char *uuid, const char *name,
                      char out[QEMU_FOLDER_PATH])
{
    int length = snprintf(out, QEMU_FOLDER_PATH, "%s/domains/%s%s%s", hv->run_directory, uuid,
                          name ? "/" : "", name ? name : "");
    assert(length < QEMU_FOLDER_PATH); /* names are short, the run directory was checked */
    (void)length;
}

bool qemu_folder_exists(const struct hypervisor *hv, const char *uuid)
{
    char path[QEMU_FOLDER_PATH];
    qemu_folder_path(hv, uuid, NULL, path);
    return access(path, F_OK) == 0;
}

/* Two agents on one machine share the memory directory and the network: what they make there
 * carries a digest of their run directory. */
static uint64_t digest(const struct hypervisor *hv, const char *uuid)
{
    return XXH3_64bits_withSeed(uuid, strlen(uuid),
                                XXH3_64bits(hv->run_directory, strlen(hv->run_directory)));
}

char *qemu_folder_memory_path(const struct hypervisor *hv, const char *uuid)
{
    return memory_format("%s/crosspool-%s-%08" PRIx64, hv->memory_directory, uuid,
                         digest(hv, uuid) >> 32);
}

void qemu_folder_tap_prefix(const struct hypervisor *hv, const char *uuid,
                            char out[QEMU_TAP_PREFIX])
{
    snprintf(out, QEMU_TAP_PREFIX, "xp%011" PRIx64, digest(hv, uuid) >> 20);
}
