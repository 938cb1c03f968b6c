/* The table of transitions: each row, each refusal, what must be true of all rows, and that the
 * document shows exactly this table. */
#include "coordinator/domain/migration.h"

#include "base/file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FACT_SETS = 64 };

/* state: event -> state [steps] (effects), said once more by hand. A '+fact' needs it, a '-fact'
 * must not have it. */
static const char *const expected[] = {
    "queued: start -> preparing [prepare] (plan)",
    "queued: refuse -> failed [] ()",
    "queued: cancel -> cancelled [] ()",
    "preparing: prepared -> transferring [transfer] ()",
    "preparing: prepare failed -> aborting [abort-source abort-destination] (supersede)",
    "preparing: cancel -> aborting [abort-source abort-destination] (supersede)",
    "preparing: destination lost -> aborting [abort-source abort-destination] (supersede)",
    "queued: switch over -> queued [] (let-switch)",
    "preparing: switch over -> preparing [] (let-switch)",
    "transferring: switch over -> transferring [] (let-switch)",
    "transferring: transferred +may_switch -> handing_off [receive handoff] (epoch)",
    "transferring: transferred -may_switch -> ready [transfer] ()",
    "transferring: mirrored -> ready [] ()",
    "transferring: stalled -> aborting [abort-source abort-destination] (supersede)",
    "transferring: transfer failed -> aborting [abort-source abort-destination] (supersede)",
    "transferring: cancel -> aborting [abort-source abort-destination] (supersede)",
    "transferring: destination lost -> aborting [abort-source abort-destination] (supersede)",
    "ready: transferred +may_switch -> handing_off [receive handoff] (epoch)",
    "ready: transferred -may_switch -> ready [transfer] ()",
    "ready: mirror lost -> transferring [] ()",
    "ready: switch over -> ready [] (let-switch)",
    "ready: transfer failed -> aborting [abort-source abort-destination] (supersede)",
    "ready: cancel -> aborting [abort-source abort-destination] (supersede)",
    "ready: destination lost -> aborting [abort-source abort-destination] (supersede)",
    "handing_off: source says owned -> cleaning [clean-source=owned] (commit)",
    "handing_off: destination says owned -> cleaning [conclude=owned] (commit)",
    "handing_off: source says abandoned +repeat -> transferring [transfer] (supersede)",
    "handing_off: source says abandoned -repeat -> aborting [abort-source abort-destination] "
    "(supersede)",
    "handing_off: handoff failed +repeat -> transferring [transfer] (supersede)",
    "handing_off: handoff failed -repeat -> aborting [abort-source abort-destination] (supersede)",
    "handing_off: destination says abandoned -> handing_off [conclude=abandoned] ()",
    "handing_off: receive failed -> handing_off [] (cancel-handoff)",
    "handing_off: cancel -> handing_off [] (cancel-handoff)",
    "cleaning: source says owned -> cleaning [clean-source=owned] ()",
    "cleaning: handoff failed -> cleaning [clean-source=owned] ()",
    "cleaning: source says abandoned -> cleaning [] (alarm)",
    "cleaning: destination says owned -> cleaning [] ()",
    "cleaning: destination says abandoned -> cleaning [] (alarm)",
    "cleaning: receive failed -> cleaning [] ()",
    "cleaning: source clean -> cleaning [clean-destination] ()",
    "cleaning: destination clean -> succeeded [] (supersede)",
    "aborting: source aborted -destination_aborted -> aborting [] ()",
    "aborting: source aborted +destination_aborted +can_retry -> queued [] (retry)",
    "aborting: source aborted +destination_aborted -can_retry -cancelled -> failed [] ()",
    "aborting: source aborted +destination_aborted -can_retry +cancelled -> cancelled [] ()",
    "aborting: destination aborted -source_aborted -> aborting [] ()",
    "aborting: destination aborted +source_aborted +can_retry -> queued [] (retry)",
    "aborting: destination aborted +source_aborted -can_retry -cancelled -> failed [] ()",
    "aborting: destination aborted +source_aborted -can_retry +cancelled -> cancelled [] ()",
    "aborting: destination lost +source_aborted +can_retry -> aborting [] ()",
    "aborting: destination lost +source_aborted -can_retry -cancelled -> failed [] ()",
    "aborting: destination lost +source_aborted -can_retry +cancelled -> cancelled [] ()",
    "aborting: cancel -> aborting [] (no-retry)",
    "cancelled: cancel -> cancelled [] ()",
    "cancelled: destination aborted -> cancelled [] ()",
    "failed: destination aborted -> failed [] ()",
};
enum { EXPECTED = sizeof expected / sizeof expected[0] };

static const struct {
    unsigned bit;
    const char *word;
} facts_words[] = {{FACT_CAN_REPEAT, "repeat"},
                   {FACT_SOURCE_ABORTED, "source_aborted"},
                   {FACT_DESTINATION_ABORTED, "destination_aborted"},
                   {FACT_CANCELLED, "cancelled"},
                   {FACT_MAY_SWITCH, "may_switch"},
                   {FACT_CAN_RETRY, "can_retry"}},
  effect_words[] = {{EFFECT_PLAN, "plan"},
                    {EFFECT_NEW_EPOCH, "epoch"},
                    {EFFECT_SUPERSEDE, "supersede"},
                    {EFFECT_CANCEL_HANDOFF, "cancel-handoff"},
                    {EFFECT_COMMIT, "commit"},
                    {EFFECT_ALARM, "alarm"},
                    {EFFECT_LET_SWITCH, "let-switch"},
                    {EFFECT_RETRY, "retry"},
                    {EFFECT_NO_RETRY, "no-retry"}};

/* The right side of a line, as the function answers. */
static void describe(const struct migration_next *next, char out[256])
{
    int used = snprintf(out, 256, "%s [", migration_state_names[next->state]);
    for (size_t i = 0; i < next->step_count; i++) {
        bool has_verdict = next->steps[i] == STEP_CONCLUDE || next->steps[i] == STEP_CLEAN_SOURCE;
        used += snprintf(out + used, 256 - (size_t)used, "%s%s%s%s", i ? " " : "",
                         step_kind_names[next->steps[i]], has_verdict ? "=" : "",
                         has_verdict ? handoff_verdict_names[next->verdict] : "");
    }
    used += snprintf(out + used, 256 - (size_t)used, "] (");
    const char *space = "";
    for (size_t i = 0; i < sizeof effect_words / sizeof effect_words[0]; i++) {
        if (!(next->effects & effect_words[i].bit))
            continue;
        used += snprintf(out + used, 256 - (size_t)used, "%s%s", space, effect_words[i].word);
        space = " ";
    }
    snprintf(out + used, 256 - (size_t)used, ")");
}

/* Is this line about the state, event and facts? `right` is then what it expects. */
static bool applies(const char *line, int state, int event, unsigned facts, const char **right)
{
    char head[128];
    int length = snprintf(head, sizeof head, "%s: %s", migration_state_names[state],
                          migration_event_names[event]);
    if (strncmp(line, head, (size_t)length) != 0 || line[length] != ' ')
        return false;
    const char *arrow = strstr(line, " -> ");
    if (strchr("+-", line[length + 1]) == NULL)
        return false;
    char conditions[128];
    snprintf(conditions, sizeof conditions, "%.*s ", (int)(arrow - (line + length)), line + length);
    for (size_t i = 0; i < sizeof facts_words / sizeof facts_words[0]; i++) {
        char with[64];
        char without[64];
        snprintf(with, sizeof with, " +%s ", facts_words[i].word);
        snprintf(without, sizeof without, " -%s ", facts_words[i].word);
        bool is_there = facts & facts_words[i].bit;
        if ((strstr(conditions, with) && !is_there) || (strstr(conditions, without) && is_there))
            return false;
    }
    *right = arrow + 4;
    return true;
}

static const char *expectation(int state, int event, unsigned facts)
{
    for (int i = 0; i < EXPECTED; i++) {
        const char *right = NULL;
        if (applies(expected[i], state, event, facts, &right))
            return right;
    }
    return NULL;
}

Test(migration, each_state_event_and_fact_does_what_is_written_or_is_refused)
{
    int accepted = 0;
    int refused = 0;
    for (int state = 0; state < MIGRATION_STATE_COUNT; state++) {
        for (int event = 0; event < EVENT_COUNT; event++) {
            for (unsigned facts = 0; facts < FACT_SETS; facts++) {
                struct migration_next next;
                struct error err;
                const char *right = expectation(state, event, facts);
                bool is_taken = migration_next((enum migration_state)state,
                                               (enum migration_event)event, facts, &next, &err);
                cr_assert_eq(is_taken, right != NULL, "%s: %s with facts %x",
                             migration_state_names[state], migration_event_names[event], facts);
                if (!is_taken) {
                    refused++;
                    cr_assert_eq(err.code, ERROR_CONFLICT);
                    cr_assert(strstr(err.text, migration_state_names[state]));
                    cr_assert(strstr(err.text, migration_event_names[event]));
                    continue;
                }
                char found[256];
                describe(&next, found);
                cr_assert_str_eq(found, right, "%s: %s with facts %x", migration_state_names[state],
                                 migration_event_names[event], facts);
                accepted++;
            }
        }
    }
    cr_assert_gt(accepted, 300);
    cr_assert_gt(refused, 1500);
}

typedef void check_transition(enum migration_state from, enum migration_event event,
                              const struct migration_next *next);

static void for_each(check_transition *check)
{
    for (int state = 0; state < MIGRATION_STATE_COUNT; state++) {
        for (int event = 0; event < EVENT_COUNT; event++) {
            for (unsigned facts = 0; facts < FACT_SETS; facts++) {
                struct migration_next next;
                struct error err;
                if (migration_next((enum migration_state)state, (enum migration_event)event, facts,
                                   &next, &err))
                    check((enum migration_state)state, (enum migration_event)event, &next);
            }
        }
    }
}

static bool inserts(const struct migration_next *next, enum step_kind kind)
{
    for (size_t i = 0; i < next->step_count; i++) {
        if (next->steps[i] == kind)
            return true;
    }
    return false;
}

static void no_way_back(enum migration_state from, enum migration_event event,
                        const struct migration_next *next)
{
    (void)event;
    if (from == MIGRATION_CLEANING)
        cr_assert(next->state == MIGRATION_CLEANING || next->state == MIGRATION_SUCCEEDED);
    if (migration_is_ended(from))
        cr_assert(next->state == from && next->step_count == 0 && next->effects == 0);
}

Test(migration, nothing_leads_back_from_the_commit_or_from_an_end)
{
    for_each(no_way_back);
}

static void commits_by_verdict(enum migration_state from, enum migration_event event,
                               const struct migration_next *next)
{
    bool enters = from != MIGRATION_CLEANING && next->state == MIGRATION_CLEANING;
    cr_assert_eq(enters, (next->effects & EFFECT_COMMIT) != 0);
    if (enters)
        cr_assert(event == EVENT_SOURCE_SAYS_OWNED || event == EVENT_DESTINATION_SAYS_OWNED);
}

Test(migration, only_a_verdict_commits)
{
    for_each(commits_by_verdict);
}

static void cleans_in_order(enum migration_state from, enum migration_event event,
                            const struct migration_next *next)
{
    (void)from;
    if (inserts(next, STEP_CLEAN_DESTINATION))
        cr_assert_eq(event, EVENT_SOURCE_CLEAN);
    if (inserts(next, STEP_CLEAN_SOURCE))
        cr_assert(event == EVENT_SOURCE_SAYS_OWNED || event == EVENT_HANDOFF_FAILED);
}

Test(migration, the_destination_is_cleaned_after_the_source_and_that_after_its_handoff)
{
    for_each(cleans_in_order);
}

static void aborts_both(enum migration_state from, enum migration_event event,
                        const struct migration_next *next)
{
    (void)event;
    bool enters = from != MIGRATION_ABORTING && next->state == MIGRATION_ABORTING;
    cr_assert_eq(enters, inserts(next, STEP_ABORT_SOURCE));
    cr_assert_eq(enters, inserts(next, STEP_ABORT_DESTINATION));
    if (enters)
        cr_assert(next->effects & EFFECT_SUPERSEDE);
}

Test(migration, an_abort_stops_what_runs_and_cleans_both_ends)
{
    for_each(aborts_both);
}

static bool reaches_end[MIGRATION_STATE_COUNT];

static void mark_end(enum migration_state from, enum migration_event event,
                     const struct migration_next *next)
{
    (void)event;
    if (migration_is_ended(next->state) || reaches_end[next->state])
        reaches_end[from] = true;
}

Test(migration, every_state_can_end)
{
    for (int i = 0; i < MIGRATION_STATE_COUNT; i++)
        for_each(mark_end);
    for (int i = 0; i < MIGRATION_SUCCEEDED; i++)
        cr_assert(reaches_end[i], "%s", migration_state_names[i]);
}

Test(migration, words_of_states_parse_and_others_do_not)
{
    enum migration_state state;
    for (int i = 0; i < MIGRATION_STATE_COUNT; i++) {
        cr_assert(migration_state_parse(migration_state_names[i], &state));
        cr_assert_eq((int)state, i);
    }
    cr_assert_not(migration_state_parse("", &state));
    cr_assert_not(migration_state_parse("Queued", &state));
}

Test(migration, the_document_shows_this_table)
{
    char *document = NULL;
    struct error err;
    cr_assert(file_read(STATES_DOCUMENT, 1 << 20, &document, NULL, &err), "%s", err.text);
    char *diagram = migration_diagram();
    char *block = NULL;
    cr_assert(asprintf(&block, "```mermaid\n%s```\n", diagram) > 0);
    cr_assert(strstr(document, block), "docs/states.md must hold exactly this:\n%s", block);
    free(block);
    free(diagram);
    free(document);
}
