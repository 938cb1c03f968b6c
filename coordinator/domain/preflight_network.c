/* Networks as maps name them: by id, name or VLAN. */
#include "coordinator/domain/preflight_parts.h"

#include <string.h>

const char *preflight_network_word(const struct preflight_input *in,
                                   const struct preflight_vif *vif)
{
    const struct mapping_network network = {
        .id = vif->network_id, .name = vif->network, .vlan = vif->vlan};
    return mapping_network_of(&in->mapping, vif->mac, &network);
}

static const struct preflight_network *find_vlan(const struct preflight_host *host,
                                                 const char *word, bool *is_ambiguous)
{
    const struct preflight_network *found = NULL;
    for (size_t i = 0; i < host->network_count; i++) {
        char vlan[MAPPING_VLAN_SIZE];
        mapping_vlan_word(host->networks[i].vlan, vlan);
        if (host->networks[i].vlan == 0 || strcmp(vlan, word) != 0)
            continue;
        *is_ambiguous = found != NULL;
        found = &host->networks[i];
        if (*is_ambiguous)
            return NULL;
    }
    return found;
}

const struct preflight_network *preflight_find_network(const struct preflight_host *host,
                                                       const char *word, bool *is_ambiguous)
{
    *is_ambiguous = false;
    for (size_t i = 0; i < host->network_count; i++) {
        if (strcmp(host->networks[i].id, word) == 0)
            return &host->networks[i];
    }
    for (size_t i = 0; i < host->network_count; i++) {
        if (strcmp(host->networks[i].name, word) == 0)
            return &host->networks[i];
    }
    return find_vlan(host, word, is_ambiguous);
}
