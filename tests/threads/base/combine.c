/* Combined work: every item is done once, by one thread at a time, whoever leads finds its own item
 * first, and who comes alone does not wait. */
#include "base/clock.h"
#include "base/combine.h"
#include "tests/threads/check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 48, ROUNDS = 300, WORK_MS = 1 };

struct item {
    struct combined combined; /* first */
    int thread, number;
    int answer;
};

struct player {
    pthread_t thread;
    int number;
};

static struct combiner combiner = COMBINER_INIT;
static _Atomic bool is_at_work;
static int batches, items, largest; /* guarded by being at work */

static void work(void *context, struct combined *const combined[], size_t count)
{
    const struct player *leader = context;
    CHECK(!atomic_exchange(&is_at_work, true), "two lead at the same time");
    CHECK(count > 0 && count <= COMBINE_MOST, "a batch of %zu", count);
    CHECK(((struct item *)combined[0])->thread == leader->number, "the first item is another's");
    batches++;
    items += (int)count;
    largest = (int)count > largest ? (int)count : largest;
    clock_sleep_ms(WORK_MS);
    for (size_t i = 0; i < count; i++) {
        struct item *item = (struct item *)combined[i];
        CHECK(!item->answer, "an item is done twice");
        item->answer = item->thread * ROUNDS + item->number + 1;
    }
    atomic_store(&is_at_work, false);
}

static void *play(void *context)
{
    struct player *player = context;
    for (int i = 0; i < ROUNDS; i++) {
        struct item item = {.thread = player->number, .number = i};
        combine(&combiner, &item.combined, work, player);
        CHECK(item.answer == player->number * ROUNDS + i + 1, "not done: %d", item.answer);
        if (player->number % 8 == 0)
            clock_sleep_ms(i % 4);
    }
    return NULL;
}

static void play_together(void)
{
    static struct player players[THREADS];
    int items_before = items, batches_before = batches;
    for (int i = 0; i < THREADS; i++) {
        players[i].number = i;
        CHECK(pthread_create(&players[i].thread, NULL, play, &players[i]) == 0, "no thread");
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(players[i].thread, NULL);
    int done = items - items_before;
    CHECK(done == THREADS * ROUNDS, "%d items of %d", done, THREADS * ROUNDS);
    CHECK(largest > 1, "nothing was combined");
    printf("%d items in %d batches, the largest of %d\n", done, batches - batches_before, largest);
}

/* The first after a crowd waits a moment for it, the next ones for nobody. */
static void play_alone(void)
{
    struct player player = {.number = 0};
    int before = batches;
    for (int i = 0; i < 10; i++) {
        struct item item = {.number = i};
        combine(&combiner, &item.combined, work, &player);
        CHECK(item.answer == i + 1, "not done alone");
    }
    CHECK(batches == before + 10, "alone in %d batches", batches - before);
}

int main(void)
{
    play_alone();
    play_together();
    play_alone();
    return 0;
}
