/* Owner of the input; see plan_input.h. */
#include "plan/plan_input.h"

#include <stdlib.h>

void plan_input_done(struct plan_input *input)
{
    for (size_t i = 0; i < input->host_count; i++) {
        free(input->hosts[i].networks.items);
        free(input->hosts[i].srs.items);
    }
    for (size_t i = 0; i < input->vm_count; i++) {
        free(input->vms[i].disks);
        free(input->vms[i].networks.items);
    }
    for (size_t i = 0; i < input->group_count; i++)
        free(input->groups[i].vms.items);
    free(input->pools);
    free(input->hosts);
    free(input->srs);
    free(input->links);
    free(input->vms);
    free(input->networks);
    free(input->groups);
    free(input->network_map);
    free(input->sr_map);
    *input = (struct plan_input){0};
}

bool plan_numbers_have(const struct plan_numbers *numbers, int item)
{
    for (size_t i = 0; i < numbers->count; i++) {
        if (numbers->items[i] == item)
            return true;
    }
    return false;
}
