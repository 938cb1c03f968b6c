/* Whoever finds nobody at work leads for one batch, of which its own item is the first, then hands
 * over to the first of those that came meanwhile: each thread leads once at most, so nobody is kept
 * for the sake of others. */
#include "base/combine.h"

#include <errno.h>
#include <time.h>

/* Those of the batch before come back one by one as they wake: a batch that begins at once finds a
 * third of them. */
enum { GATHER_NS = 2000000 };

static void append(struct combiner *combiner, struct combined *item)
{
    if (combiner->last)
        combiner->last->next = item;
    else
        combiner->first = item;
    combiner->last = item;
    combiner->waiting++;
    if (!combiner->gathering || combiner->waiting < combiner->before)
        return;
    sem_post(&combiner->gathering->woken);
    combiner->gathering = NULL;
}

static void wait_until_woken(struct combined *item)
{
    while (sem_wait(&item->woken) != 0 && errno == EINTR)
        ;
}

static void wait_a_moment(struct combined *item)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GATHER_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (sem_clockwait(&item->woken, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR)
        ;
}

/* Called and returns locked. */
static void gather(struct combiner *combiner)
{
    struct combined *own = combiner->first;
    if (combiner->waiting >= combiner->before)
        return;
    combiner->gathering = own;
    pthread_mutex_unlock(&combiner->lock);
    wait_a_moment(own);
    pthread_mutex_lock(&combiner->lock);
    combiner->gathering = NULL;
}

static size_t take_batch(struct combiner *combiner, struct combined *batch[COMBINE_MOST])
{
    size_t count = 0;
    while (combiner->first && count < COMBINE_MOST) {
        batch[count++] = combiner->first;
        combiner->first = combiner->first->next;
    }
    if (!combiner->first)
        combiner->last = NULL;
    combiner->waiting -= count;
    combiner->before = count;
    return count;
}

/* Called and returns locked. */
static void hand_over(struct combiner *combiner)
{
    combiner->is_led = combiner->first != NULL;
    if (!combiner->is_led)
        return;
    combiner->first->leads = true;
    sem_post(&combiner->first->woken);
}

/* Called locked, returns unlocked. Those who are woken may return at once, and their items with
 * them: so they are told last, and without the lock, which they do not need then. */
static void lead(struct combiner *combiner, combined_work *work, void *context)
{
    struct combined *batch[COMBINE_MOST] = {NULL};
    gather(combiner);
    size_t count = take_batch(combiner, batch);
    pthread_mutex_unlock(&combiner->lock);
    work(context, batch, count);
    pthread_mutex_lock(&combiner->lock);
    hand_over(combiner);
    pthread_mutex_unlock(&combiner->lock);
    for (size_t i = 1; i < count; i++)
        sem_post(&batch[i]->woken);
}

void combine(struct combiner *combiner, struct combined *item, combined_work *work, void *context)
{
    (void)sem_init(&item->woken, 0, 0);
    pthread_mutex_lock(&combiner->lock);
    append(combiner, item);
    bool leads = !combiner->is_led;
    combiner->is_led = true;
    if (!leads) {
        pthread_mutex_unlock(&combiner->lock);
        wait_until_woken(item);
        leads = item->leads;
        if (leads)
            pthread_mutex_lock(&combiner->lock);
    }
    if (leads)
        lead(combiner, work, context);
    (void)sem_destroy(&item->woken);
}
