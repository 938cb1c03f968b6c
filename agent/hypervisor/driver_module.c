/* dlopen of the libxl driver; see driver_module.h. The module has no copy of base/ of its own: it
 * uses the program's, so that there is one log and one spawner of children. What it may use stands
 * in driver_module.symbols. */
#include "agent/hypervisor/driver_module.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#define MODULE "crosspool-libxl.so"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char why_not[200];

static bool refuse(const json_t *options, struct hypervisor **out, struct error *err)
{
    (void)options;
    (void)out;
    return error_set(err, ERROR_UNSUPPORTED, "driver %s cannot be loaded: %s", MODULE, why_not);
}
static const struct hypervisor_driver missing_driver = {.name = "libxl", .open = refuse};
static const struct hypervisor_driver *libxl_driver = &missing_driver;

static bool try_path(const char *path)
{
    if (access(path, F_OK) != 0)
        return false;
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct hypervisor_driver *found = module ? dlsym(module, "libxl_driver") : NULL;
    if (found)
        libxl_driver = found;
    else
        snprintf(why_not, sizeof why_not, "%s", dlerror());
    return true;
}

static void load(void)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        *slash = '\0';
    auto_free char *beside = memory_format("%s/%s", program, MODULE);
    auto_free char *installed = memory_format("%s/../lib/crosspool/%s", program, MODULE);
    if (!try_path(beside) && !try_path(installed))
        snprintf(why_not, sizeof why_not, "neither in %.70s nor in ../lib/crosspool", program);
}

const struct hypervisor_driver *driver_module_libxl(void)
{
    pthread_once(&once, load);
    return libxl_driver;
}
