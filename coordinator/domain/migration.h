/* The life of one migration as pure rules: states, events, and one table of transitions
 * (migration.c) that the scheduler, the tests and the diagram in docs/states.md all read. */
#pragma once

#include "base/error.h"
#include "protocol/step.h"

/*   STATE(symbol, word) */
#define MIGRATION_STATE_LIST(STATE)                                                                \
    STATE(QUEUED, "queued")                                                                        \
    STATE(PREPARING, "preparing")                                                                  \
    STATE(TRANSFERRING, "transferring")                                                            \
    STATE(READY, "ready")                                                                          \
    STATE(HANDING_OFF, "handing_off")                                                              \
    STATE(CLEANING, "cleaning")                                                                    \
    STATE(ABORTING, "aborting")                                                                    \
    STATE(SUCCEEDED, "succeeded")                                                                  \
    STATE(FAILED, "failed")                                                                        \
    STATE(CANCELLED, "cancelled")

enum migration_state {
#define STATE(symbol, word) MIGRATION_##symbol,
    MIGRATION_STATE_LIST(STATE)
#undef STATE
        MIGRATION_STATE_COUNT
};
extern const char *const migration_state_names[]; /* NULL-terminated */
bool migration_state_parse(const char *word, enum migration_state *state);
static inline bool migration_is_ended(enum migration_state state)
{
    return state >= MIGRATION_SUCCEEDED;
}

/*   EVENT(symbol, word) */
#define MIGRATION_EVENT_LIST(EVENT)                                                                \
    EVENT(START, "start")       /* its turn, preflight found nothing */                            \
    EVENT(REFUSE, "refuse")     /* its turn, preflight found blockers */                           \
    EVENT(CANCEL, "cancel")     /* somebody asked for it */                                        \
    EVENT(PREPARED, "prepared") /* prepare is done */                                              \
    EVENT(PREPARE_FAILED, "prepare failed")                                                        \
    EVENT(TRANSFERRED, "transferred") /* all disks mirrored and copied */                          \
    EVENT(TRANSFER_FAILED, "transfer failed")                                                      \
    EVENT(MIRRORED, "mirrored")       /* as transferred, but the switch-over is held */            \
    EVENT(MIRROR_LOST, "mirror lost") /* the source mends it */                                    \
    EVENT(SWITCH_OVER, "switch over") /* somebody asked for it */                                  \
    EVENT(STALLED, "stalled")         /* nothing was copied for too long */                        \
    EVENT(SOURCE_SAYS_OWNED, "source says owned")         /* handoff ended, committed */           \
    EVENT(SOURCE_SAYS_ABANDONED, "source says abandoned") /* handoff ended, the VM runs there */   \
    EVENT(HANDOFF_FAILED, "handoff failed")               /* it ended without a verdict */         \
    EVENT(DESTINATION_SAYS_OWNED, "destination says owned")                                        \
    EVENT(DESTINATION_SAYS_ABANDONED, "destination says abandoned")                                \
    EVENT(RECEIVE_FAILED, "receive failed") /* it ended without a verdict */                       \
    EVENT(SOURCE_CLEAN, "source clean")                                                            \
    EVENT(DESTINATION_CLEAN, "destination clean")                                                  \
    EVENT(SOURCE_ABORTED, "source aborted")                                                        \
    EVENT(DESTINATION_ABORTED, "destination aborted")                                              \
    EVENT(DESTINATION_LOST, "destination lost") /* its host is silent */

enum migration_event {
#define EVENT(symbol, word) EVENT_##symbol,
    MIGRATION_EVENT_LIST(EVENT)
#undef EVENT
        EVENT_COUNT
};
extern const char *const migration_event_names[]; /* NULL-terminated */

/* What a transition may depend on besides state and event; a set of bits. */
enum migration_fact {
    FACT_CAN_REPEAT = 1 << 0, /* the failure was transient, epochs are left, nobody cancelled */
    FACT_SOURCE_ABORTED = 1 << 1,
    FACT_DESTINATION_ABORTED = 1 << 2,
    FACT_CANCELLED = 1 << 3,  /* it is aborting because somebody asked for it */
    FACT_MAY_SWITCH = 1 << 4, /* automatic, or asked for, or inside its window */
    FACT_CAN_RETRY = 1 << 5,  /* the failure was transient, retries are left, nobody cancelled */
};

/* What the transaction of a transition does besides setting the state and inserting steps. */
enum migration_effect {
    EFFECT_PLAN = 1 << 0,           /* ledger entries of everything that prepare will create */
    EFFECT_NEW_EPOCH = 1 << 1,      /* epoch + 1, before the steps are inserted */
    EFFECT_SUPERSEDE = 1 << 2,      /* live steps no longer matter; their agents stop them */
    EFFECT_CANCEL_HANDOFF = 1 << 3, /* ask the handoff step to give up if it still can */
    EFFECT_COMMIT = 1 << 4,         /* the VM object moves to the destination */
    EFFECT_ALARM = 1 << 5,          /* the two sides contradict each other: a person must look */
    EFFECT_LET_SWITCH = 1 << 6,     /* from now on nothing holds the switch-over */
    EFFECT_RETRY = 1 << 7,          /* it begins again after a pause; one retry less */
    EFFECT_NO_RETRY = 1 << 8,       /* none is left */
};

/* May somebody pause, resume or change the copy of a migration in this state? */
bool migration_takes_settings(enum migration_state state);

/* Handoffs of one migration before it gives up. */
enum { MIGRATION_EPOCHS = 5 };

struct migration_next {
    enum migration_state state;
    size_t step_count;
    enum step_kind steps[2];      /* to insert */
    enum handoff_verdict verdict; /* of a CONCLUDE or CLEAN_SOURCE among them */
    unsigned effects;             /* enum migration_effect */
};

/* The transition for this event, `facts` a set of enum migration_fact. ERROR_CONFLICT when the
 * state does not take the event. */
bool migration_next(enum migration_state state, enum migration_event event, unsigned facts,
                    struct migration_next *next, struct error *err) must_check;

/* The table as a Mermaid state diagram; caller frees. */
char *migration_diagram(void);
