/* Ownership by handoff records; see domain_owners.h. */
#include "agent/inventory/domain_owners.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

struct domain_owners {
    size_t count;
    struct handoff_record *records; /* in order of their last change */
};

static bool add_record(void *context, const struct handoff_record *record, struct error *err)
{
    struct domain_owners *owners = context;
    (void)err;
    owners->records = memory_resize(owners->records, owners->count + 1, sizeof *owners->records);
    owners->records[owners->count++] = *record;
    return true;
}

bool domain_owners_read(struct domain_owners **out, struct journal *journal, struct error *err)
{
    struct domain_owners *owners = memory_alloc(sizeof *owners);
    if (!journal_each_handoff(journal, add_record, owners, err)) {
        domain_owners_free(owners);
        return false;
    }
    *out = owners;
    return true;
}

static bool says_ours(const struct handoff_record *record)
{
    if (record->role == ROLE_DESTINATION)
        return record->state == HANDOFF_OWNED;
    return record->state != HANDOFF_RELEASED && record->state != HANDOFF_OWNED;
}

bool domain_owners_is_ours(const struct domain_owners *owners, const char *domain)
{
    bool is_ours = true;
    for (size_t i = 0; i < owners->count; i++)
        if (strcmp(owners->records[i].domain, domain) == 0)
            is_ours = says_ours(&owners->records[i]);
    return is_ours;
}

void domain_owners_free(struct domain_owners *owners)
{
    if (!owners)
        return;
    free(owners->records);
    free(owners);
}
