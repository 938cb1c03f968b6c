/* Polls, combined; see poll.h. */
#include "coordinator/scheduler/poll.h"

#include "base/combine.h"

enum { TAKE_TIMEOUT_MS = 10000 }; /* for a free database connection */

struct item {
    struct combined combined; /* first */
    struct step_poll *poll;
    bool is_answered;
    struct error failure; /* when it is not */
};

struct leader {
    struct db_pool *pool;
    int lost_after_s;
};

static bool answer(const struct leader *leader, struct step_poll *const polls[], size_t count,
                   struct error *err)
{
    auto_db struct db *db = NULL;
    return db_take(leader->pool, TAKE_TIMEOUT_MS, &db, err) &&
           step_poll_answer(db, polls, count, leader->lost_after_s, err);
}

static void answer_together(void *context, struct combined *const combined[], size_t count)
{
    struct step_poll *polls[COMBINE_MOST] = {NULL};
    struct error failure;
    for (size_t i = 0; i < count; i++)
        polls[i] = ((struct item *)combined[i])->poll;
    bool is_answered = answer(context, polls, count, &failure);
    for (size_t i = 0; i < count; i++) {
        struct item *item = (struct item *)combined[i];
        item->is_answered = is_answered;
        if (!is_answered)
            item->failure = failure;
    }
}

/* Of the whole process, as is the database. */
static struct combiner combiner = COMBINER_INIT;

/* What one of them fails with is none of the others' business, so each asks alone then; but not
 * when the database is what fails. */
bool poll_answer(struct db_pool *pool, struct step_poll *poll, int lost_after_s, struct error *err)
{
    struct item item = {.poll = poll};
    struct leader leader = {.pool = pool, .lost_after_s = lost_after_s};
    combine(&combiner, &item.combined, answer_together, &leader);
    if (item.is_answered)
        return true;
    *err = item.failure;
    return !error_is_transient(err->code) && answer(&leader, &poll, 1, err);
}
