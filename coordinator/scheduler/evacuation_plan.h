/* Plans evacuations on the database's inventory, with plan/: where each VM goes, when, how, or
 * every reason why it stays. */
#pragma once

#include "coordinator/domain/evacuation.h"
#include "coordinator/store/plan_facts.h"
#include "protocol/spec.h"

/* One VM of the evacuation, and below what the plan says of it. */
struct evacuation_wish {
    char vm[UUID_SIZE];   /* its object now */
    char row[UUID_SIZE];  /* its object when the evacuation was made */
    char host[UUID_SIZE]; /* "" = the planner chooses */
    bool is_fixed;        /* the request named the host */
    int priority;
    char *mapping;   /* its own map in place of the request's, JSON; NULL = none; owned */
    bool is_skipped; /* not to be moved: `reasons` say why */
    bool is_moving;  /* to `host`, at `rate`; `copied` bytes of each disk, JSON array; owned */
    char *copied;
    double rate_bytes_per_s;

    bool is_planned;
    bool is_blocked; /* preflight says no, whatever frees up */
    enum migration_mode mode;
    char to[UUID_SIZE], via[UUID_SIZE]; /* via "": directly */
    double start_s, end_s, pause_s, bytes;
    json_t *reasons; /* array of {code, message, fix}; NULL = none; owned */
};

struct evacuation_planning {
    const struct evacuation_request *request; /* ids alone */
    const char *scope;                        /* as of page->scope */
    const char *created_by;
    int host_lost_after_s;
    bool has_deadline;
    double deadline_s;              /* from now */
    int64_t effort;                 /* of plan_options */
    bool is_checked;                /* preflight looks at each move too */
    bool is_patient;                /* what is refused now and not for good waits */
    struct evacuation_wish *wishes; /* owned; with none all VMs of the emptied hosts are wanted */
    size_t count;
    struct json_array objects; /* struct json_pair: VM when the evacuation was made -> now; owned */

    char *plan, *vms; /* JSON for coordinator/store/evacuation_store.h; owned */
    size_t planned;   /* wishes that the plan holds */
};
void evacuation_planning_done(struct evacuation_planning *planning);

struct evacuation_wish *evacuation_planning_add(struct evacuation_planning *planning,
                                                const char *vm);
void evacuation_wish_reason(struct evacuation_wish *wish, const char *code, const char *message,
                            const char *fix);

/* Of a VM that is no wish but named by the request's groups. */
void evacuation_planning_add_object(struct evacuation_planning *planning, const char *row,
                                    const char *vm);

/* Fails only when the inventory cannot be read or the request names what it does not have; and with
 * ERROR_CONFLICT for more VMs than an evacuation may have. */
bool evacuation_plan_make(struct db *db, struct evacuation_planning *planning,
                          struct error *err) must_check;

/* evacuation_plan_check.c: preflight of one wish. Sets its mode, or is_blocked and reasons. */
bool evacuation_plan_check(struct db *db, const struct evacuation_planning *planning,
                           const struct plan_facts *facts, struct evacuation_wish *wish,
                           struct error *err) must_check;
/* Of one that the planner refused: adds what preflight says of it in each pool. */
bool evacuation_plan_explain(struct db *db, const struct evacuation_planning *planning,
                             const struct plan_facts *facts, struct evacuation_wish *wish,
                             struct error *err) must_check;
