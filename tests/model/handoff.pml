/* The handoff protocol: two agents with durable journals and volatile state, the domain at both
 * ends, the disks, a coordinator and a network. tests/model/run explores it exhaustively.
 *
 * Messages and steps are sets that only grow: whatever was once sent may arrive at any later
 * moment, in any order, any number of times, or never (every wait has a timeout beside it). That is
 * weaker than TCP and than the coordinator's delivery, so what holds here holds there. Agents crash
 * at any step and come back with their journal; hosts lose power; the coordinator hands out epochs
 * whenever it likes. Only the number of faults and epochs is bounded, which also makes every run
 * finite: the judge looks at each place where nothing more can happen.
 *
 * Each CHECK_ is one rule of the protocol; -DCHECK_X=0 compiles it out, and then the model must
 * fail. docs/handoff.md says for each what goes wrong without it. */

#ifndef EPOCHS
#define EPOCHS 2
#endif
#ifndef SOURCE_CRASHES
#define SOURCE_CRASHES 1
#endif
#ifndef DESTINATION_CRASHES
#define DESTINATION_CRASHES 1
#endif
#ifndef MIRROR_CUTS
#define MIRROR_CUTS 1
#endif
#ifndef POWER_LOSSES
#define POWER_LOSSES 0
#endif

/* The rules of the source. */
#ifndef CHECK_SOURCE_FINISHES_BEFORE_NEXT_EPOCH
#define CHECK_SOURCE_FINISHES_BEFORE_NEXT_EPOCH 1
#endif
#ifndef CHECK_DRAIN_BEFORE_RELEASE
#define CHECK_DRAIN_BEFORE_RELEASE 1
#endif
#ifndef CHECK_FLUSHED_BEFORE_TAIL
#define CHECK_FLUSHED_BEFORE_TAIL 1
#endif
#ifndef CHECK_SOURCE_RELEASED_DURABLE_BEFORE_GO
#define CHECK_SOURCE_RELEASED_DURABLE_BEFORE_GO 1
#endif
#ifndef CHECK_CANCEL_ONLY_BEFORE_RELEASED
#define CHECK_CANCEL_ONLY_BEFORE_RELEASED 1
#endif
#ifndef CHECK_SOURCE_NEVER_RESUMES_IN_RELEASED
#define CHECK_SOURCE_NEVER_RESUMES_IN_RELEASED 1
#endif
#ifndef CHECK_SOURCE_ABANDONED_DURABLE_BEFORE_RESUME
#define CHECK_SOURCE_ABANDONED_DURABLE_BEFORE_RESUME 1
#endif
#ifndef CHECK_VERDICT_OF_THIS_EPOCH
#define CHECK_VERDICT_OF_THIS_EPOCH 1
#endif
#ifndef CHECK_RELEASED_LEARNS_VERDICT
#define CHECK_RELEASED_LEARNS_VERDICT 1
#endif
#ifndef CHECK_RESTART_RESUMES_STREAMING
#define CHECK_RESTART_RESUMES_STREAMING 1
#endif
/* The rules of the destination. */
#ifndef CHECK_EPOCH_MONOTONE
#define CHECK_EPOCH_MONOTONE 1
#endif
#ifndef CHECK_FINISHED_EPOCH_STAYS_FINISHED
#define CHECK_FINISHED_EPOCH_STAYS_FINISHED 1
#endif
#ifndef CHECK_OWNED_IS_FINAL
#define CHECK_OWNED_IS_FINAL 1
#endif
#ifndef CHECK_NEXT_EPOCH_ABANDONS_FIRST
#define CHECK_NEXT_EPOCH_ABANDONS_FIRST 1
#endif
#ifndef CHECK_GO_OF_THIS_EPOCH
#define CHECK_GO_OF_THIS_EPOCH 1
#endif
#ifndef CHECK_REFUSE_GO_AFTER_ABANDON
#define CHECK_REFUSE_GO_AFTER_ABANDON 1
#endif
#ifndef CHECK_DESTINATION_OWNED_BEFORE_UNPAUSE
#define CHECK_DESTINATION_OWNED_BEFORE_UNPAUSE 1
#endif
#ifndef CHECK_NEVER_ABANDON_OWNED
#define CHECK_NEVER_ABANDON_OWNED 1
#endif
#ifndef CHECK_ABANDON_DURABLE_BEFORE_ANSWER
#define CHECK_ABANDON_DURABLE_BEFORE_ANSWER 1
#endif
#ifndef CHECK_VERDICT_NEVER_FORGOTTEN
#define CHECK_VERDICT_NEVER_FORGOTTEN 1
#endif
#ifndef CHECK_RECEIVE_REFUSES_PRESENT_DOMAIN
#define CHECK_RECEIVE_REFUSES_PRESENT_DOMAIN 1
#endif
#ifndef CHECK_LEDGER_BEFORE_BUILD
#define CHECK_LEDGER_BEFORE_BUILD 1
#endif
#ifndef CHECK_DESTROY_BEFORE_REOPEN
#define CHECK_DESTROY_BEFORE_REOPEN 1
#endif
#ifndef CHECK_DESTROY_ONLY_WHAT_IT_BUILT
#define CHECK_DESTROY_ONLY_WHAT_IT_BUILT 1
#endif
#ifndef CHECK_RESTART_ABANDONS_UNDECIDED
#define CHECK_RESTART_ABANDONS_UNDECIDED 1
#endif
#ifndef CHECK_RESTART_UNPAUSES_OWNED
#define CHECK_RESTART_UNPAUSES_OWNED 1
#endif
/* The rule of the operator. */
#ifndef CHECK_FENCE_ONLY_A_DEAD_HOST
#define CHECK_FENCE_ONLY_A_DEAD_HOST 1
#endif

/* Journal states, in the order of agent/journal/journal.h. */
#define NONE      0
#define STREAMING 1
#define PREPARED  2
#define RELEASED  3
#define OWNED     4
#define ABANDONED 5

/* A domain at one end. */
#define ABSENT    0
#define RUNNING   1
#define SUSPENDED 2 /* source: after save */
#define BUILDING  3 /* destination: restore reads the stream */
#define PAUSED    4 /* destination: restored */

#define BIT(e)      (1 << (e))
#define HAS(set, e) (((set) & BIT(e)) != 0)
#define ADD(set, e) set = set | BIT(e)

/* ---- source ---- */
byte s_state = NONE, s_epoch = 0; /* journal */
byte s_domain = RUNNING;
bool s_up = true;
/* What the running handoff does next (volatile). */
#define S_IDLE     0
#define S_SAVING   1 /* memory passes; the domain runs */
#define S_STOPPED  2 /* suspended; drain the mirrors */
#define S_FLUSHING 3 /* FLUSH sent, the tail is held back */
#define S_TAIL     4 /* tail and END sent */
#define S_READY    5 /* PREPARED came */
#define S_GO       6 /* second half of "release and say GO" */
#define S_WAITING  7 /* RELEASED and GO said: only a verdict ends this */
#define S_GIVE_UP  8 /* before RELEASED: resume, record ABANDONED */
#define S_RESUME   9 /* verdict ABANDONED: second half of "record it and resume" */
byte s_phase = S_IDLE;
byte s_crashes = 0;

/* ---- destination ---- */
byte d_state = NONE, d_epoch = 0; /* journal */
bool d_built = false;             /* ledger: this migration may have built a domain here */
byte d_domain = ABSENT;
bool d_up = true;
#define D_IDLE    0
#define D_OPEN    1  /* STREAMING recorded, no stream yet */
#define D_BUILD   2  /* second half of "write the ledger and build" */
#define D_RESTORE 3  /* the stream feeds the restore */
#define D_LOADED  4  /* restored, paused */
#define D_WAITING 5  /* PREPARED said */
#define D_GO      6  /* GO came: record OWNED */
#define D_UNPAUSE 7  /* second half of "record OWNED and unpause" */
#define D_SAY     8  /* RUNNING is to be said */
#define D_RECOVER 9  /* bring domain and disks to what the record says */
#define D_REOPEN  10 /* abandoned and destroyed: let the mirrors in again */
byte d_phase = D_IDLE;
byte d_crashes = 0;
bool d_dead = false; /* host dead for good */

/* ---- disks ---- */
bool mirrored = false;  /* a synchronous mirror is up and the copy is done */
bool in_sync = false;   /* the mirror was drained and the source has not run since */
bool flushed = false;   /* the destination's images are durable as of the drain */
bool receiving = true;  /* the destination lets mirror streams in */
byte cuts = 0;

/* ---- messages: sets of epochs ---- */
byte m_stream = 0, m_flush = 0, m_flushed = 0, m_tail = 0, m_prepared = 0, m_go = 0, m_running = 0;
byte m_owned = 0, m_abandoned = 0; /* verdicts on their way to the source: FAILED, answers */

/* ---- coordinator (its database; a restart loses nothing, its messages are sets) ---- */
byte c_epoch = 0;                  /* highest epoch handed out */
byte c_owned = 0, c_abandoned = 0; /* verdicts that it knows, forwarded by CONCLUDE */
bool c_forgotten = false;          /* clean-destination or abort-destination ran */
bool c_late_abort = false;         /* abort-destination came again, to a host that was away */
bool c_moved = false;              /* a later migration brought the domain to the destination */
bool c_fenced = false;

/* ---- ghosts: for the properties alone ---- */
byte g_owned = 0, g_abandoned = 0; /* verdicts that were given for each epoch */
bool g_committed = false;          /* the destination has run */
byte power = 0;
bool s_lost = false, d_lost = false; /* the running or suspended domain went with its host's power */

inline give_owned(e)
{
    assert(!HAS(g_abandoned, e)); /* a verdict once given never changes */
    ADD(g_owned, e)
}
inline give_abandoned(e)
{
    assert(!HAS(g_owned, e) || c_fenced);
    ADD(g_abandoned, e)
}
inline source_runs()
{
    assert(d_domain != RUNNING); /* never two */
    assert(!g_committed || c_fenced); /* nor one that the other has overtaken */
    s_domain = RUNNING;
    in_sync = false
}
inline destination_runs()
{
    assert(s_domain != RUNNING);
    assert(d_domain == PAUSED || d_domain == RUNNING);
    assert(in_sync && flushed); /* no acknowledged write is lost */
    assert(!c_fenced);
    d_domain = RUNNING;
    g_committed = true
}
inline destroy()
{
    if
    :: d_built || !CHECK_DESTROY_ONLY_WHAT_IT_BUILT ->
        assert(d_domain != RUNNING); /* never destroys the domain that runs */
        d_domain = ABSENT;
        d_built = false
    :: else
    fi
}
inline put_abandoned(e)
{
    assert(e >= d_epoch); /* an older epoch never acts */
    d_state = ABANDONED;
    d_epoch = e
}

#define SOURCE_MAY_START(e) (c_epoch >= (e) && (e) > s_epoch)

active proctype source()
{
    byte e;
end:
    do
    /* Step HANDOFF(e), any that was ever handed out. STREAMING is durable before the stream. */
    :: atomic {
        s_up && s_domain != ABSENT &&
        ((s_phase == S_IDLE && (s_state == NONE || s_state == ABANDONED)) ||
         (s_phase == S_WAITING && !CHECK_SOURCE_FINISHES_BEFORE_NEXT_EPOCH)) &&
        (SOURCE_MAY_START(1) || SOURCE_MAY_START(2) || SOURCE_MAY_START(3)) ->
        if
        :: SOURCE_MAY_START(1) -> e = 1
        :: SOURCE_MAY_START(2) -> e = 2
        :: SOURCE_MAY_START(3) -> e = 3
        fi;
        s_state = STREAMING; s_epoch = e; s_phase = S_SAVING; ADD(m_stream, e); e = 0 }
    :: d_step { s_up && s_phase == S_SAVING -> s_domain = SUSPENDED; s_phase = S_STOPPED }
    /* The drain succeeds only when the mirror lived to the end. */
    :: d_step { s_up && s_phase == S_STOPPED && (mirrored || !CHECK_DRAIN_BEFORE_RELEASE) ->
        in_sync = mirrored; mirrored = false; ADD(m_flush, s_epoch); s_phase = S_FLUSHING }
    :: d_step { s_up && s_phase == S_FLUSHING &&
                (HAS(m_flushed, s_epoch) || !CHECK_FLUSHED_BEFORE_TAIL) ->
        ADD(m_tail, s_epoch); s_phase = S_TAIL }
    :: d_step { s_up && s_phase == S_TAIL && HAS(m_prepared, s_epoch) -> s_phase = S_READY }
    /* Point of no return: RELEASED durable, then GO. */
    :: d_step { s_up && s_phase == S_READY ->
        if
        :: CHECK_SOURCE_RELEASED_DURABLE_BEFORE_GO -> s_state = RELEASED
        :: else -> ADD(m_go, s_epoch)
        fi;
        s_phase = S_GO }
    :: d_step { s_up && s_phase == S_GO ->
        s_state = RELEASED; ADD(m_go, s_epoch); s_phase = S_WAITING }

    /* Cancel, a failure, a timeout, a lost link. */
    :: d_step { s_up && ((s_phase >= S_SAVING && s_phase <= S_READY) ||
                         (!CHECK_CANCEL_ONLY_BEFORE_RELEASED && s_phase == S_WAITING)) ->
        s_phase = S_GIVE_UP }
    :: d_step { s_up && s_phase == S_GIVE_UP && s_domain == SUSPENDED -> source_runs() }
    :: d_step { s_up && s_phase == S_GIVE_UP && s_domain != SUSPENDED ->
        s_state = ABANDONED; s_phase = S_IDLE }

    /* A verdict: RUNNING or FAILED on the stream, an answer, or CONCLUDE. */
    :: d_step { s_up && s_phase == S_WAITING && CHECK_RELEASED_LEARNS_VERDICT &&
                HAS(m_running | m_owned | c_owned, s_epoch) ->
        s_state = OWNED; s_phase = S_IDLE }
    :: d_step { s_up && s_phase == S_WAITING && CHECK_RELEASED_LEARNS_VERDICT &&
                (HAS(m_abandoned | c_abandoned, s_epoch) ||
                 (!CHECK_VERDICT_OF_THIS_EPOCH && (m_abandoned | c_abandoned) != 0)) ->
        if
        :: CHECK_SOURCE_ABANDONED_DURABLE_BEFORE_RESUME -> s_state = ABANDONED
        :: s_domain == SUSPENDED && !CHECK_SOURCE_ABANDONED_DURABLE_BEFORE_RESUME -> source_runs()
        :: else
        fi;
        s_phase = S_RESUME }
    :: d_step { s_up && s_phase == S_RESUME ->
        if
        :: s_domain == SUSPENDED -> source_runs()
        :: else
        fi;
        s_state = ABANDONED; s_phase = S_IDLE }
    /* clean-source. */
    :: d_step { s_up && s_phase == S_IDLE && s_state == OWNED && s_domain == SUSPENDED ->
        s_domain = ABSENT }

    /* Crash of the agent: the domain stays as it is, the mirrors end. */
    :: d_step { s_up && s_crashes < SOURCE_CRASHES ->
        s_crashes++; s_up = false; s_phase = S_IDLE; mirrored = false }
    /* Loss of power of the host. */
    :: d_step { power < POWER_LOSSES && s_domain != ABSENT ->
        power++; s_up = false; s_phase = S_IDLE; mirrored = false; s_domain = ABSENT;
        s_lost = true }
    /* Restart: the journal says how to go on. */
    :: d_step { !s_up ->
        s_up = true;
        /* A domain that runs here is never on record as given away. */
        assert(s_state != RELEASED || s_domain != RUNNING);
        if
        :: s_state == STREAMING && CHECK_RESTART_RESUMES_STREAMING -> s_phase = S_GIVE_UP
        :: s_state == RELEASED && CHECK_SOURCE_NEVER_RESUMES_IN_RELEASED -> s_phase = S_WAITING
        :: s_state == RELEASED && !CHECK_SOURCE_NEVER_RESUMES_IN_RELEASED -> s_phase = S_GIVE_UP
        :: s_state == ABANDONED -> s_phase = S_RESUME
        :: else
        fi }
    od
}

#define DESTINATION_MAY_OPEN(e)                                                                    \
    (c_epoch >= (e) && ((e) >= d_epoch || !CHECK_EPOCH_MONOTONE) &&                                \
     ((e) != d_epoch || !CHECK_FINISHED_EPOCH_STAYS_FINISHED))

active proctype destination()
{
    byte e;
end:
    do
    /* Step RECEIVE(e), any that was ever handed out. STREAMING is durable before the stream is let
     * in. An earlier epoch that is not finished here is finished first. */
    :: atomic {
        d_up && (d_phase == D_IDLE || (!CHECK_NEXT_EPOCH_ABANDONS_FIRST && d_phase == D_RECOVER)) &&
        (d_state != OWNED || !CHECK_OWNED_IS_FINAL) &&
        (d_domain == ABSENT || !CHECK_RECEIVE_REFUSES_PRESENT_DOMAIN || d_phase == D_RECOVER ||
         (!CHECK_RESTART_ABANDONS_UNDECIDED && d_state != OWNED)) &&
        (DESTINATION_MAY_OPEN(1) || DESTINATION_MAY_OPEN(2) || DESTINATION_MAY_OPEN(3)) ->
        if
        :: DESTINATION_MAY_OPEN(1) -> e = 1
        :: DESTINATION_MAY_OPEN(2) -> e = 2
        :: DESTINATION_MAY_OPEN(3) -> e = 3
        fi;
        d_state = STREAMING; d_epoch = e; d_phase = D_OPEN; flushed = false; e = 0 }
    /* The stream: the ledger knows of the domain before there is one. */
    :: d_step { d_up && d_phase == D_OPEN && HAS(m_stream, d_epoch) ->
        assert(d_domain == ABSENT); /* nothing of an earlier attempt is in the way */
        if
        :: CHECK_LEDGER_BEFORE_BUILD -> d_built = true
        :: else -> d_domain = BUILDING
        fi;
        d_phase = D_BUILD }
    :: d_step { d_up && d_phase == D_BUILD ->
        d_built = true; d_domain = BUILDING; d_phase = D_RESTORE }
    /* Every mirror stream must have ended; closes the receivers. */
    :: d_step { d_up && d_phase == D_RESTORE && HAS(m_flush, d_epoch) && receiving && !mirrored ->
        receiving = false; flushed = true; ADD(m_flushed, d_epoch) }
    :: d_step { d_up && d_phase == D_RESTORE && HAS(m_tail, d_epoch) ->
        d_domain = PAUSED; d_phase = D_LOADED }
    /* Whether PREPARED is durable when it is said does not matter: both are explored. */
    :: d_step { d_up && d_phase == D_LOADED ->
        d_state = PREPARED; ADD(m_prepared, d_epoch); d_phase = D_WAITING }
    :: d_step { d_up && d_phase == D_LOADED -> ADD(m_prepared, d_epoch); d_phase = D_WAITING }
    :: d_step { d_up && d_phase == D_WAITING &&
                (HAS(m_go, d_epoch) || (!CHECK_GO_OF_THIS_EPOCH && m_go != 0)) ->
        d_phase = D_GO }
    /* The journal's door: an epoch that is abandoned by now stays so. */
    :: d_step { d_up && d_phase == D_GO && d_state == ABANDONED && CHECK_REFUSE_GO_AFTER_ABANDON ->
        d_phase = D_RECOVER }
    :: d_step { d_up && d_phase == D_GO &&
                (d_state != ABANDONED || !CHECK_REFUSE_GO_AFTER_ABANDON) ->
        if
        :: CHECK_DESTINATION_OWNED_BEFORE_UNPAUSE -> d_state = OWNED
        :: else -> destination_runs()
        fi;
        d_phase = D_UNPAUSE }
    :: d_step { d_up && d_phase == D_UNPAUSE ->
        d_state = OWNED; destination_runs(); d_phase = D_SAY }
    :: d_step { d_up && d_phase == D_SAY ->
        give_owned(d_epoch); ADD(m_running, d_epoch); d_built = false; d_phase = D_IDLE }

    /* Cancel, abort, a failure, a timeout, a lost link: never once OWNED. */
    :: d_step { d_up && (d_phase >= D_OPEN && d_phase <= D_WAITING) && d_state != OWNED ->
        put_abandoned(d_epoch); d_phase = D_RECOVER }
    :: d_step { d_up && d_phase == D_SAY && !CHECK_NEVER_ABANDON_OWNED ->
        put_abandoned(d_epoch); d_phase = D_RECOVER }
    :: d_step { d_up && d_phase == D_RECOVER && (d_state == STREAMING || d_state == PREPARED) ->
        put_abandoned(d_epoch) }
    /* FAILED is said when ABANDONED is durable. */
    :: d_step { d_up && d_phase == D_RECOVER && d_state == ABANDONED &&
                !HAS(m_abandoned, d_epoch) ->
        give_abandoned(d_epoch); ADD(m_abandoned, d_epoch) }
    :: d_step { d_up && d_phase == D_RECOVER && d_state == ABANDONED ->
        destroy(); d_phase = D_REOPEN }
    :: d_step { d_up && d_phase == D_RECOVER && d_state == ABANDONED &&
                !CHECK_DESTROY_BEFORE_REOPEN && !receiving ->
        receiving = true }
    :: d_step { d_up && d_phase == D_REOPEN -> receiving = true; d_phase = D_IDLE }
    :: d_step { d_up && d_phase == D_RECOVER && d_state == OWNED ->
        if
        :: d_domain == PAUSED -> destination_runs()
        :: else
        fi;
        d_built = false; d_phase = D_IDLE }

    /* Crash of the agent: the domain stays as it is, the receivers die. */
    :: d_step { d_up && d_crashes < DESTINATION_CRASHES ->
        d_crashes++; d_up = false; d_phase = D_IDLE; mirrored = false; receiving = false }
    /* Loss of power of the host, for a while or for good. */
    :: d_step { !d_dead && power < POWER_LOSSES ->
        power++; d_up = false; d_phase = D_IDLE; mirrored = false; receiving = false;
        d_domain = ABSENT; d_lost = true }
    :: d_step { !d_dead && power < POWER_LOSSES ->
        power++; d_up = false; d_phase = D_IDLE; mirrored = false; receiving = false;
        d_domain = ABSENT; d_lost = true; d_dead = true }
    /* Restart: the journal says how to go on. */
    :: d_step { !d_up && !d_dead ->
        d_up = true;
        if
        :: d_state == NONE -> receiving = true
        :: d_state == OWNED && !CHECK_RESTART_UNPAUSES_OWNED
        :: (d_state == STREAMING || d_state == PREPARED) && !CHECK_RESTART_ABANDONS_UNDECIDED
        :: else -> d_phase = D_RECOVER
        fi }
    od
}

/* The source asks; the destination answers from its journal, whatever else it is doing. */
active proctype answers()
{
end:
    do
    :: d_step { s_up && s_phase == S_WAITING && d_up && d_epoch > s_epoch &&
                !HAS(m_abandoned, s_epoch) ->
        give_abandoned(s_epoch); ADD(m_abandoned, s_epoch) }
    :: d_step { s_up && s_phase == S_WAITING && d_up && d_epoch == s_epoch && d_state == ABANDONED &&
                !HAS(m_abandoned, s_epoch) ->
        give_abandoned(s_epoch); ADD(m_abandoned, s_epoch) }
    :: d_step { s_up && s_phase == S_WAITING && d_up && d_epoch == s_epoch && d_state == OWNED &&
                !HAS(m_owned, s_epoch) ->
        give_owned(s_epoch); ADD(m_owned, s_epoch) }
    :: d_step { s_up && s_phase == S_WAITING && d_up && d_epoch == s_epoch &&
                (d_state == STREAMING || d_state == PREPARED) &&
                CHECK_ABANDON_DURABLE_BEFORE_ANSWER ->
        put_abandoned(s_epoch) }
    :: d_step { s_up && s_phase == S_WAITING && d_up && d_epoch == s_epoch &&
                (d_state == STREAMING || d_state == PREPARED) &&
                !CHECK_ABANDON_DURABLE_BEFORE_ANSWER && !HAS(m_abandoned, s_epoch) ->
        give_abandoned(s_epoch); ADD(m_abandoned, s_epoch) }
    od
}

active proctype disks()
{
end:
    do
    /* Step TRANSFER: mirrors and copies again after each attempt that failed. */
    :: d_step { !mirrored && s_up && d_up && receiving && s_domain == RUNNING &&
                s_phase == S_IDLE && (s_state == NONE || s_state == ABANDONED) ->
        assert(d_domain != PAUSED && d_domain != RUNNING); /* no second writer of its disks */
        mirrored = true; in_sync = false }
    :: d_step { mirrored && cuts < MIRROR_CUTS -> cuts++; mirrored = false }
    od
}

active proctype coordinator()
{
end:
    do
    :: d_step { c_epoch < EPOCHS -> c_epoch++ }
    /* The results of RECEIVE. */
    :: d_step { d_up && d_phase == D_IDLE && d_state == OWNED && !HAS(c_owned, d_epoch) ->
        give_owned(d_epoch); ADD(c_owned, d_epoch) }
    :: d_step { d_up && d_phase == D_IDLE && d_state == ABANDONED && !HAS(c_abandoned, d_epoch) ->
        give_abandoned(d_epoch); ADD(c_abandoned, d_epoch) }
    /* clean-destination and abort-destination forget the migration, but not its verdict. */
    :: d_step { d_up && d_phase == D_IDLE && !c_forgotten && !CHECK_VERDICT_NEVER_FORGOTTEN &&
                HAS(c_owned | c_abandoned, d_epoch) ->
        c_forgotten = true; d_state = NONE; d_epoch = 0 }
    /* The migration ended at the source, and a later one moved the domain to the same place. */
    :: d_step { !c_moved && !c_late_abort && s_up && d_up && s_phase == S_IDLE && d_phase == D_IDLE &&
                s_state == ABANDONED && s_domain == RUNNING && d_domain == ABSENT && !d_built ->
        c_moved = true; mirrored = false; s_domain = ABSENT; d_domain = RUNNING }
    /* abort-destination, possibly long after that. */
    :: d_step { !c_late_abort && d_up && d_phase == D_IDLE &&
                (d_state == NONE || d_state == ABANDONED) ->
        c_late_abort = true; destroy() }
    /* The operator says that the destination's host is dead: it counts as ABANDONED. */
    :: d_step { s_state == RELEASED && !c_fenced && !HAS(c_owned, s_epoch) &&
                (d_dead || (!CHECK_FENCE_ONLY_A_DEAD_HOST && POWER_LOSSES > 0)) ->
        c_fenced = true; ADD(c_abandoned, s_epoch) }
    od
}

/* When nothing more can happen, the domain has one owner, and it runs there unless that host lost
 * its power; nothing is left at the other end. */
active proctype judge()
{
    timeout ->
    assert(s_up && (d_up || d_dead));
    if
    :: c_moved -> assert(s_domain == ABSENT && (d_domain == RUNNING || d_lost))
    :: !c_moved && s_state == OWNED ->
        assert(d_domain == RUNNING || d_lost);
        assert(s_domain == ABSENT)
    :: else ->
        assert(s_state == NONE || s_state == ABANDONED);
        assert(s_domain == RUNNING || s_lost);
        assert(d_dead || (d_domain == ABSENT && !d_built && d_phase == D_IDLE))
    fi
}
