/* This end's handoff record and the domain that the destination builds; see record.h. */
#include "agent/handoff/record.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum { RETRY_INTERVAL_MS = 200 };
static const char kind_domain[] = "domain";

bool record_get(const struct handoff_environment *environment, const struct migration_spec *spec,
                enum migration_role role, struct handoff_record *out, struct error *err)
{
    return journal_get_handoff(environment->journal, spec->migration, role, out, err);
}

bool record_put(const struct handoff_environment *environment, const struct migration_spec *spec,
                enum migration_role role, int64_t epoch, enum handoff_state state,
                struct error *err)
{
    struct handoff_record record = {.role = role, .epoch = epoch, .state = state};
    memcpy(record.migration, spec->migration, sizeof record.migration);
    memcpy(record.domain, spec->domain, sizeof record.domain);
    return journal_put_handoff(environment->journal, &record, err);
}

enum handoff_verdict record_verdict(const struct handoff_record *record)
{
    if (record->state == HANDOFF_OWNED)
        return VERDICT_OWNED;
    return record->state == HANDOFF_ABANDONED ? VERDICT_ABANDONED : VERDICT_NONE;
}

/* What the door let in before us. An epoch below the record's was abandoned: nothing follows OWNED.
 */
static bool verdict_of_record(const struct handoff_environment *environment,
                              const struct migration_spec *spec, int64_t epoch,
                              enum handoff_verdict *verdict, struct error *err)
{
    struct handoff_record record;
    if (!record_get(environment, spec, ROLE_DESTINATION, &record, err))
        return false;
    *verdict = record.epoch > epoch ? VERDICT_ABANDONED : record_verdict(&record);
    if (*verdict != VERDICT_NONE)
        return true;
    return error_set(err, ERROR_INTERNAL, "the journal refuses to abandon an open epoch");
}

bool record_settle(const struct handoff_environment *environment, const struct migration_spec *spec,
                   int64_t epoch, int limit_ms, enum handoff_verdict *verdict, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + limit_ms;
    for (;;) {
        if (record_put(environment, spec, ROLE_DESTINATION, epoch, HANDOFF_ABANDONED, err)) {
            *verdict = VERDICT_ABANDONED;
            return true;
        }
        if (err->code == ERROR_REFUSED)
            return verdict_of_record(environment, spec, epoch, verdict, err);
        if (clock_monotonic_ms() >= deadline)
            return error_prefix(err, "the epoch cannot be settled");
        clock_sleep_ms(RETRY_INTERVAL_MS);
    }
}

bool built_begin(const struct handoff_environment *environment, const struct migration_spec *spec,
                 struct error *err)
{
    return journal_ledger_add(environment->journal, spec->migration, kind_domain, spec->domain,
                              err);
}

struct search {
    const char *domain;
    bool is_found;
};

static bool see_entry(void *context, const struct ledger_entry *entry, struct error *err)
{
    struct search *search = context;
    (void)err;
    if (strcmp(entry->kind, kind_domain) == 0 && strcmp(entry->reference, search->domain) == 0)
        search->is_found = true;
    return true;
}

bool built_destroy(const struct handoff_environment *environment, const struct migration_spec *spec,
                   struct error *err)
{
    struct search search = {.domain = spec->domain};
    if (!journal_each_ledger(environment->journal, spec->migration, see_entry, &search, err))
        return false;
    if (!search.is_found)
        return true;
    return environment->driver->destroy(environment->hypervisor, spec->domain, err) &&
           built_keep(environment, spec, err);
}

bool built_keep(const struct handoff_environment *environment, const struct migration_spec *spec,
                struct error *err)
{
    return journal_ledger_remove(environment->journal, spec->migration, kind_domain, spec->domain,
                                 err);
}
