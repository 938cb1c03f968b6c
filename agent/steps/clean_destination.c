/* Step clean-destination: the receivers go; domain and VDIs are no longer of the migration but the
 * VM's own. */
#include "agent/steps/handlers.h"

#include "agent/steps/vdi_ledger.h"
#include "base/failpoint.h"

#include <string.h>

static bool check_owned(struct step_environment *environment, const char *migration,
                        const struct vdi_ledger *ledger, struct error *err)
{
    struct handoff_record record;
    if (!journal_get_handoff(environment->handoff.journal, migration, ROLE_DESTINATION, &record,
                             err))
        return false;
    bool was_forgotten = record.state == HANDOFF_NONE && ledger->count == 0;
    if (record.state == HANDOFF_OWNED || was_forgotten)
        return true;
    return error_set(err, ERROR_CONFLICT, "the destination's handoff record is %s, not owned",
                     handoff_state_names[record.state]);
}

/* The domain is written down by the handoff. */
static bool release_domain(void *context, const struct ledger_entry *entry, struct error *err)
{
    if (strcmp(entry->kind, "domain") != 0)
        return true;
    return journal_ledger_remove(context, entry->migration, entry->kind, entry->reference, err);
}

static bool release_objects(struct journal *journal, const char *migration,
                            const struct vdi_ledger *ledger, struct error *err)
{
    for (size_t i = 0; i < ledger->count; i++)
        if (!vdi_ledger_remove(journal, migration, ledger->items[i].sr, ledger->items[i].vdi, err))
            return false;
    return journal_each_ledger(journal, migration, release_domain, journal, err);
}

/* Again: the agent may have ended between the verdict and the first time. */
static void adopt_domain(struct step_environment *environment, const char *domain)
{
    const struct handoff_environment *handoff = &environment->handoff;
    if (handoff->driver->adopt)
        handoff->driver->adopt(handoff->hypervisor, domain);
}

bool step_clean_destination(struct step_run *run, const struct step *step,
                            struct step_result *result, struct error *err)
{
    struct step_environment *environment = step_run_environment(run);
    struct journal *journal = environment->handoff.journal;
    const char *migration = step->spec.migration;
    __attribute__((cleanup(vdi_ledger_done))) struct vdi_ledger ledger = {0};
    (void)result;
    if (!step_run_join_others(run, STEP_BIT(RECEIVE), NULL, NULL, err) ||
        !vdi_ledger_read(&ledger, journal, migration, err) ||
        !check_owned(environment, migration, &ledger, err))
        return false;
    adopt_domain(environment, step->spec.domain);
    return receiver_discard(environment->handoff.receivers, migration, err) &&
           failpoint("clean-destination.receivers-gone", err) &&
           release_objects(journal, migration, &ledger, err) &&
           journal_forget(journal, migration, err);
}
