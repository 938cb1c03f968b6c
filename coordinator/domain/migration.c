/* The table of transitions; see migration.h. */
#include "coordinator/domain/migration.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

const char *const migration_state_names[] = {
#define STATE(symbol, word) [MIGRATION_##symbol] = word,
    MIGRATION_STATE_LIST(STATE)
#undef STATE
        NULL,
};

const char *const migration_event_names[] = {
#define EVENT(symbol, word) [EVENT_##symbol] = word,
    MIGRATION_EVENT_LIST(EVENT)
#undef EVENT
        NULL,
};

bool migration_takes_settings(enum migration_state state)
{
    return state == MIGRATION_QUEUED || state == MIGRATION_PREPARING ||
           state == MIGRATION_TRANSFERRING || state == MIGRATION_READY;
}

bool migration_state_parse(const char *word, enum migration_state *state)
{
    for (int i = 0; i < MIGRATION_STATE_COUNT; i++) {
        if (strcmp(word, migration_state_names[i]) == 0) {
            *state = (enum migration_state)i;
            return true;
        }
    }
    return false;
}

/* What is true in each state:
 *
 *   state         VM belongs to          VM object    live steps
 *   queued        source                 source       none
 *   preparing     source                 source       prepare
 *   transferring  source                 source       transfer
 *   ready         source                 source       transfer, which keeps the mirrors up
 *   handing_off   the source's journal   source       handoff, receive, perhaps conclude
 *   cleaning      destination            destination  until the source knows it: handoff, conclude;
 *                                                     then clean-source; then clean-destination
 *   aborting      source                 source       abort-source and/or abort-destination
 *   succeeded     destination            destination  none
 *   failed,       source                 source       at most abort-destination, for a host that is
 *   cancelled                                         away
 *
 * The point of no return is the way into `cleaning`: nothing leads back from there. It is entered
 * only by a verdict `owned`, which either end reports from its journal; what the coordinator
 * believes about hosts (lost, slow) never decides it.
 *
 * clean-destination forgets the verdict that a released source may still ask for, so it comes after
 * clean-source, and clean-source only after the handoff step of the source has ended.
 *
 * A handoff step that ends without a verdict ended before its source was released: a released
 * source goes on asking until it has one.
 *
 * The first row that fits state, event and facts applies. Rows without steps and effects that stay
 * in their state accept an event that changes nothing; what is in no row is refused. */
struct transition {
    enum migration_state from;
    enum migration_event event;
    unsigned needs; /* all of these facts */
    int to;         /* enum migration_state or ENDED */
    unsigned steps; /* set of STEPS() */
    unsigned effects;
};

/* `to`: cancelled when somebody asked for it, else failed. */
#define ENDED  MIGRATION_STATE_COUNT
#define RUN(a) (1U << STEP_##a)
#define ABORT  (RUN(ABORT_SOURCE) | RUN(ABORT_DESTINATION))

/* A transfer that ends while the switch-over is held (its agent does not know how to hold it, or a
 * window has just closed) is run again, so that the mirrors of a `ready` VM are always looked
 * after. */
/* clang-format off */
#define IN(state)                                        MIGRATION_##state
#define ROW(from, event, needs, to, steps, effects)      {from, EVENT_##event, needs, to, steps, effects}
static const struct transition transitions[] = {
    /*  in                event                       needs                    goes to            inserts                       effects */
    ROW(IN(QUEUED),       START,                      0,                       IN(PREPARING),     RUN(PREPARE),                 EFFECT_PLAN),
    ROW(IN(QUEUED),       REFUSE,                     0,                       IN(FAILED),        0,                            0),
    ROW(IN(QUEUED),       CANCEL,                     0,                       IN(CANCELLED),     0,                            0),

    ROW(IN(PREPARING),    PREPARED,                   0,                       IN(TRANSFERRING),  RUN(TRANSFER),                0),
    ROW(IN(PREPARING),    PREPARE_FAILED,             0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(PREPARING),    CANCEL,                     0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(PREPARING),    DESTINATION_LOST,           0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),

    ROW(IN(TRANSFERRING), TRANSFERRED,                FACT_MAY_SWITCH,         IN(HANDING_OFF),   RUN(RECEIVE) | RUN(HANDOFF),  EFFECT_NEW_EPOCH),
    ROW(IN(TRANSFERRING), TRANSFERRED,                0,                       IN(READY),         RUN(TRANSFER),                0),
    ROW(IN(TRANSFERRING), MIRRORED,                   0,                       IN(READY),         0,                            0),
    ROW(IN(TRANSFERRING), STALLED,                    0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(TRANSFERRING), TRANSFER_FAILED,            0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(TRANSFERRING), CANCEL,                     0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(TRANSFERRING), DESTINATION_LOST,           0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),

    ROW(IN(READY),        TRANSFERRED,                FACT_MAY_SWITCH,         IN(HANDING_OFF),   RUN(RECEIVE) | RUN(HANDOFF),  EFFECT_NEW_EPOCH),
    ROW(IN(READY),        TRANSFERRED,                0,                       IN(READY),         RUN(TRANSFER),                0),
    ROW(IN(READY),        MIRROR_LOST,                0,                       IN(TRANSFERRING),  0,                            0),
    ROW(IN(READY),        TRANSFER_FAILED,            0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(READY),        CANCEL,                     0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(READY),        DESTINATION_LOST,           0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),

    ROW(IN(QUEUED),       SWITCH_OVER,                0,                       IN(QUEUED),        0,                            EFFECT_LET_SWITCH),
    ROW(IN(PREPARING),    SWITCH_OVER,                0,                       IN(PREPARING),     0,                            EFFECT_LET_SWITCH),
    ROW(IN(TRANSFERRING), SWITCH_OVER,                0,                       IN(TRANSFERRING),  0,                            EFFECT_LET_SWITCH),
    ROW(IN(READY),        SWITCH_OVER,                0,                       IN(READY),         0,                            EFFECT_LET_SWITCH),

    ROW(IN(HANDING_OFF),  SOURCE_SAYS_OWNED,          0,                       IN(CLEANING),      RUN(CLEAN_SOURCE),            EFFECT_COMMIT),
    ROW(IN(HANDING_OFF),  DESTINATION_SAYS_OWNED,     0,                       IN(CLEANING),      RUN(CONCLUDE),                EFFECT_COMMIT),
    ROW(IN(HANDING_OFF),  SOURCE_SAYS_ABANDONED,      FACT_CAN_REPEAT,         IN(TRANSFERRING),  RUN(TRANSFER),                EFFECT_SUPERSEDE),
    ROW(IN(HANDING_OFF),  SOURCE_SAYS_ABANDONED,      0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(HANDING_OFF),  HANDOFF_FAILED,             FACT_CAN_REPEAT,         IN(TRANSFERRING),  RUN(TRANSFER),                EFFECT_SUPERSEDE),
    ROW(IN(HANDING_OFF),  HANDOFF_FAILED,             0,                       IN(ABORTING),      ABORT,                        EFFECT_SUPERSEDE),
    ROW(IN(HANDING_OFF),  DESTINATION_SAYS_ABANDONED, 0,                       IN(HANDING_OFF),   RUN(CONCLUDE),                0),
    ROW(IN(HANDING_OFF),  RECEIVE_FAILED,             0,                       IN(HANDING_OFF),   0,                            EFFECT_CANCEL_HANDOFF),
    ROW(IN(HANDING_OFF),  CANCEL,                     0,                       IN(HANDING_OFF),   0,                            EFFECT_CANCEL_HANDOFF),

    ROW(IN(CLEANING),     SOURCE_SAYS_OWNED,          0,                       IN(CLEANING),      RUN(CLEAN_SOURCE),            0),
    ROW(IN(CLEANING),     HANDOFF_FAILED,             0,                       IN(CLEANING),      RUN(CLEAN_SOURCE),            0),
    ROW(IN(CLEANING),     SOURCE_SAYS_ABANDONED,      0,                       IN(CLEANING),      0,                            EFFECT_ALARM),
    ROW(IN(CLEANING),     DESTINATION_SAYS_OWNED,     0,                       IN(CLEANING),      0,                            0),
    ROW(IN(CLEANING),     DESTINATION_SAYS_ABANDONED, 0,                       IN(CLEANING),      0,                            EFFECT_ALARM),
    ROW(IN(CLEANING),     RECEIVE_FAILED,             0,                       IN(CLEANING),      0,                            0),
    ROW(IN(CLEANING),     SOURCE_CLEAN,               0,                       IN(CLEANING),      RUN(CLEAN_DESTINATION),       0),
    ROW(IN(CLEANING),     DESTINATION_CLEAN,          0,                       IN(SUCCEEDED),     0,                            EFFECT_SUPERSEDE),

    ROW(IN(ABORTING),     SOURCE_ABORTED,             FACT_DESTINATION_ABORTED | FACT_CAN_RETRY, IN(QUEUED), 0,                 EFFECT_RETRY),
    ROW(IN(ABORTING),     SOURCE_ABORTED,             FACT_DESTINATION_ABORTED, ENDED,            0,                            0),
    ROW(IN(ABORTING),     SOURCE_ABORTED,             0,                       IN(ABORTING),      0,                            0),
    ROW(IN(ABORTING),     DESTINATION_ABORTED,        FACT_SOURCE_ABORTED | FACT_CAN_RETRY, IN(QUEUED), 0,                      EFFECT_RETRY),
    ROW(IN(ABORTING),     DESTINATION_ABORTED,        FACT_SOURCE_ABORTED,     ENDED,             0,                            0),
    ROW(IN(ABORTING),     DESTINATION_ABORTED,        0,                       IN(ABORTING),      0,                            0),
    ROW(IN(ABORTING),     DESTINATION_LOST,           FACT_SOURCE_ABORTED | FACT_CAN_RETRY, IN(ABORTING), 0,                    0),
    ROW(IN(ABORTING),     DESTINATION_LOST,           FACT_SOURCE_ABORTED,     ENDED,             0,                            0),
    ROW(IN(ABORTING),     CANCEL,                     0,                       IN(ABORTING),      0,                            EFFECT_NO_RETRY),

    ROW(IN(CANCELLED),    CANCEL,                     0,                       IN(CANCELLED),     0,                            0),
    ROW(IN(CANCELLED),    DESTINATION_ABORTED,        0,                       IN(CANCELLED),     0,                            0),
    ROW(IN(FAILED),       DESTINATION_ABORTED,        0,                       IN(FAILED),        0,                            0),
};
/* clang-format on */
enum { TRANSITION_COUNT = sizeof transitions / sizeof transitions[0] };

static enum migration_state resolve(int to, unsigned facts)
{
    if (to != ENDED)
        return (enum migration_state)to;
    return facts & FACT_CANCELLED ? MIGRATION_CANCELLED : MIGRATION_FAILED;
}

static void fill(struct migration_next *next, const struct transition *row, unsigned facts)
{
    *next = (struct migration_next){.state = resolve(row->to, facts), .effects = row->effects};
    for (int kind = 0; step_kind_names[kind]; kind++) {
        if (row->steps & 1U << kind)
            next->steps[next->step_count++] = (enum step_kind)kind;
    }
    if (row->event == EVENT_DESTINATION_SAYS_ABANDONED)
        next->verdict = VERDICT_ABANDONED;
    else if (next->state == MIGRATION_CLEANING)
        next->verdict = VERDICT_OWNED;
}

bool migration_next(enum migration_state state, enum migration_event event, unsigned facts,
                    struct migration_next *next, struct error *err)
{
    for (int i = 0; i < TRANSITION_COUNT; i++) {
        const struct transition *row = &transitions[i];
        if (row->from == state && row->event == event && (row->needs & ~facts) == 0) {
            fill(next, row, facts);
            return true;
        }
    }
    return error_set(err, ERROR_CONFLICT, "a migration that is %s does not take \"%s\"",
                     migration_state_names[state], migration_event_names[event]);
}

/* " [transient]", " [source aborted, can retry]", "" */
static bool draw_needs(struct buffer *out, unsigned needs, struct error *err)
{
    static const struct {
        unsigned fact;
        const char *words;
    } all[] = {
        {FACT_CAN_REPEAT, "transient"},
        {FACT_SOURCE_ABORTED, "source aborted"},
        {FACT_DESTINATION_ABORTED, "destination aborted"},
        {FACT_MAY_SWITCH, "may switch over"},
        {FACT_CAN_RETRY, "retries left"},
    };
    const char *mark = " [";
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!(needs & all[i].fact))
            continue;
        if (!buffer_printf(out, err, "%s%s", mark, all[i].words))
            return false;
        mark = ", ";
    }
    return needs == 0 || buffer_append(out, "]", 1, err);
}

/* One arrow: "preparing --> transferring: prepared / transfer". */
static bool draw_arrow(struct buffer *out, const struct transition *row, int to, struct error *err)
{
    if (!buffer_printf(out, err, "    %s --> %s: %s", migration_state_names[row->from],
                       migration_state_names[to], migration_event_names[row->event]) ||
        !draw_needs(out, row->needs, err))
        return false;
    const char *mark = " / ";
    for (int kind = 0; step_kind_names[kind]; kind++) {
        if (!(row->steps & 1U << kind))
            continue;
        if (!buffer_printf(out, err, "%s%s", mark, step_kind_names[kind]))
            return false;
        mark = ", ";
    }
    return buffer_append(out, "\n", 1, err);
}

static bool draw(struct buffer *out, struct error *err)
{
    if (!buffer_printf(out, err, "stateDiagram-v2\n    [*] --> queued\n"))
        return false;
    for (int i = 0; i < TRANSITION_COUNT; i++) {
        const struct transition *row = &transitions[i];
        bool is_end = row->to == ENDED;
        if (!draw_arrow(out, row, is_end ? MIGRATION_FAILED : row->to, err))
            return false;
        if (is_end && !draw_arrow(out, row, MIGRATION_CANCELLED, err))
            return false;
    }
    for (int state = MIGRATION_SUCCEEDED; state < MIGRATION_STATE_COUNT; state++) {
        if (!buffer_printf(out, err, "    %s --> [*]\n", migration_state_names[state]))
            return false;
    }
    return true;
}

char *migration_diagram(void)
{
    struct buffer out;
    struct error err;
    buffer_init(&out, 64 << 10);
    if (!draw(&out, &err))
        abort(); /* the table is as large as it was written: only its writer can exceed the limit */
    return buffer_take(&out);
}
