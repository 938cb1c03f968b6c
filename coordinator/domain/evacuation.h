/* Evacuations as pure words and tables: states, and what a request says. The same table decodes the
 * body of POST /v1/evacuations (names or ids) and the column evacuation.request (ids alone). */
#pragma once

#include "base/json.h"
#include "protocol/vocabulary.h"

/* running: moves are started as the plan says. paused: none is started, those under way go on.
 * stopping: a VM failed, so none is started any more. rolling-back: a VM failed, so what moves is
 * cancelled and what has moved comes back. cancelling: what moves is cancelled. */
enum evacuation_state {
    EVACUATION_RUNNING,
    EVACUATION_PAUSED,
    EVACUATION_STOPPING,
    EVACUATION_ROLLING_BACK,
    EVACUATION_CANCELLING,
    EVACUATION_SUCCEEDED,
    EVACUATION_SUCCEEDED_WITH_EXCEPTIONS,
    EVACUATION_FAILED,
    EVACUATION_CANCELLED,
};
extern const char *const evacuation_state_names[]; /* NULL-terminated */

/* What a VM that failed means for the others. */
enum evacuation_on_failure { ON_FAILURE_CONTINUE, ON_FAILURE_STOP, ON_FAILURE_ROLLBACK };
extern const char *const evacuation_on_failure_names[]; /* NULL-terminated */

enum {
    LIMIT_EVACUATION_VMS = 2000,
    LIMIT_EVACUATION_HOSTS = 1024,
    LIMIT_EVACUATION_GROUPS = 1024,
    EVACUATION_RETRIES_MOST = 20,
    /* unless the request says otherwise */
    EVACUATION_RETRIES = 1,
    EVACUATION_PATIENCE_S = 300,
    EVACUATION_SWITCHOVERS_PER_HOST = 1,
};

struct evacuation_vm_wish {
    char vm[LIMIT_NAME + 1];
    char host[LIMIT_NAME + 1]; /* "" = the planner chooses */
    int priority;
};
struct evacuation_group {
    struct json_array vms; /* char * */
};
struct evacuation_request {
    struct json_array hosts, pools;                         /* char *: to be emptied */
    struct json_array destination_hosts, destination_pools; /* char *; none at all: everywhere */
    struct json_array vms;                                  /* struct evacuation_vm_wish */
    struct json_array exclude, pinned;                      /* char *: VMs that stay */
    struct json_array apart, together;                      /* struct evacuation_group */
    char *mapping;                                          /* JSON; in the column the whole one */
    char mapping_set[LIMIT_NAME + 1];
    char deadline[41]; /* RFC 3339; "" = none */
    enum evacuation_on_failure on_failure;
    /* Of the moves under way, in all and at each of their hosts, be it source or destination;
     * 0 = any number. */
    int switchovers_at_once;
    int switchovers_per_host;
    int at_once;      /* moves at once; 0 = as many as the hosts take */
    int retries;      /* of each VM, whether the failure passes or not: another host may do */
    int patience_s;   /* a VM that no plan has room for fails after that */
    bool may_suspend; /* a VM that cannot move live may pause while its memory is sent */
    bool is_without_helpers;
    bool is_without_maintenance; /* the emptied hosts are not put into maintenance */
};
extern const struct json_field evacuation_request_fields[];

/* A migration that switches over, or could. */
struct evacuation_switchover {
    const char *source, *destination; /* hosts */
    bool is_own;                      /* of this evacuation */
    bool is_going;                    /* it has had its turn */
};

/* Is the moment of its switch-overs the evacuation's to choose? */
bool evacuation_gives_turns(const struct evacuation_request *request);
/* May this one switch over too, beside those of the list that do? */
bool evacuation_has_turn(const struct evacuation_request *request,
                         const struct evacuation_switchover *list, size_t count,
                         const struct evacuation_switchover *one);

/* How an evacuation ends in which nothing is left to do. */
enum evacuation_state evacuation_end_of(enum evacuation_state state, int moved, int exceptions);
