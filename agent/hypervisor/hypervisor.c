/* The drivers that this agent has; see hypervisor.h. */
#include "agent/hypervisor/hypervisor.h"

#include "agent/hypervisor/driver_module.h"

#include <stdlib.h>
#include <string.h>

const struct hypervisor_driver *hypervisor_driver_find(const char *name)
{
    if (strcmp(name, qemu_driver.name) == 0)
        return &qemu_driver;
    return strcmp(name, "libxl") == 0 ? driver_module_libxl() : NULL;
}

static void domain_done(struct domain *domain)
{
    free(domain->name);
    for (size_t i = 0; i < domain->disk_count; i++)
        free(domain->disks[i].path);
    for (size_t i = 0; i < domain->vif_count; i++)
        free(domain->vifs[i].bridge);
    free(domain->disks);
    free(domain->vifs);
}

void domain_list_done(struct domain_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        domain_done(&list->items[i]);
    free(list->items);
    *list = (struct domain_list){0};
}
