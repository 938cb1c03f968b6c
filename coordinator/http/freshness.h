/* Whether what was read from the database a while ago is still what the database says. Knows topics
 * ("migration <id>", "token"), not what is kept under them. Any thread.
 *
 * Whoever reads takes freshness_generation() first and keeps it with what was read. A change of one
 * of its topics since, or a listener that has not been heard of for FRESHNESS_MS, and it does not
 * hold any more. A change that was told while the reader read has a later generation too, so an old
 * answer that arrives late is not taken for a new one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* With the listener's beat of half a second: nothing older than this is ever shown as current. */
enum { FRESHNESS_MS = 1500, FRESHNESS_TOPICS = 4 };

struct freshness;
struct freshness *freshness_new(void);
void freshness_free(struct freshness *freshness);

/* 0 while nothing may be kept. */
uint64_t freshness_generation(struct freshness *freshness);
/* Says that `topic` changed, and its first word ("migration" of "migration 17"); "" is everything.
 */
void freshness_changed(struct freshness *freshness, const char *topic);
/* Everything that was committed before this moment of the monotonic clock has been told; 0: the
 * listener is away. */
void freshness_heard(struct freshness *freshness, int64_t until_ms);

/* Topics of one thing that is kept. */
struct freshness_mark {
    uint64_t generation;
    int count;
    uint16_t slots[FRESHNESS_TOPICS];
};
void freshness_mark(struct freshness_mark *mark, uint64_t generation);
void freshness_mark_topic(struct freshness_mark *mark, const char *topic);
bool freshness_holds(struct freshness *freshness, const struct freshness_mark *mark,
                     int64_t now_ms);
