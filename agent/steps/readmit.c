/* Receivers after a restart; see readmit.h. */
#include "agent/steps/readmit.h"

#include "agent/steps/vdi_ledger.h"
#include "base/log.h"

#include <string.h>

struct search {
    const char *migration;
    bool was_found;
};

static bool see_unfinished(void *context, const struct step *step, struct error *err)
{
    struct search *search = context;
    (void)err;
    search->was_found = search->was_found || (step->kind == STEP_RECEIVE &&
                                              strcmp(step->spec.migration, search->migration) == 0);
    return true;
}

/* The images must be nobody else's: neither of a domain that is owned here, nor of one that an
 * undecided epoch has built. */
static bool prepare_images(struct step_environment *environment, const struct migration_spec *spec,
                           bool *is_ready, struct error *err)
{
    __attribute__((cleanup(vdi_ledger_done))) struct vdi_ledger ledger = {0};
    struct journal *journal = environment->handoff.journal;
    struct handoff_record record;
    if (!vdi_ledger_read(&ledger, journal, spec->migration, err) ||
        !journal_get_handoff(journal, spec->migration, ROLE_DESTINATION, &record, err))
        return false;
    *is_ready = ledger.count > 0 && record.state != HANDOFF_OWNED;
    bool is_undecided = record.state == HANDOFF_STREAMING || record.state == HANDOFF_PREPARED;
    return !is_undecided || handoff_abandon(&environment->handoff, spec, err);
}

/* One that cannot be admitted must not keep the others and the agent from working; its streams are
 * refused and its migration fails. */
static bool readmit(void *context, const struct step *step, struct error *err)
{
    struct step_environment *environment = context;
    struct search search = {.migration = step->spec.migration};
    struct error why;
    bool is_ready = false;
    if (step->kind != STEP_PREPARE)
        return true;
    if (!journal_unfinished(environment->handoff.journal, see_unfinished, &search, err))
        return false;
    if (search.was_found)
        return true;
    bool is_done = prepare_images(environment, &step->spec, &is_ready, &why) &&
                   (!is_ready || receiver_admit(environment->handoff.receivers, &step->spec, &why));
    if (!is_done)
        log_error("migration %s cannot be received again: %s", step->spec.migration, why.text);
    return true;
}

bool readmit_receivers(struct step_environment *environment, struct error *err)
{
    return journal_each_step(environment->handoff.journal, readmit, environment, err);
}
