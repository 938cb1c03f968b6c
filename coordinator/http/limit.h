/* Rates by key, each a number in some time with a burst, in a table of fixed size.
 *
 * A key's state is one time, the "theoretical arrival time" of the generic cell rate algorithm
 * (ITU-T I.371): each event moves it on by 1/rate; it may be ahead of now by what the burst allows.
 * A key whose time has passed is as good as one that was never seen, so that forgetting the key
 * that is least ahead gives away least. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { LIMIT_SETS = 1024, LIMIT_WAYS = 4 };

struct limit_slot {
    uint64_t key; /* 0 = free */
    int64_t until_us;
    bool is_known; /* limit_know was called */
};

struct limit {
    int64_t interval_us; /* between events at the rate; 0 = no limit */
    int64_t ahead_us;    /* how far a key may be ahead of now */
    pthread_mutex_t lock;
    struct limit_slot slots[LIMIT_SETS][LIMIT_WAYS];
};

/* So many events in period_s (0 = no limit), and `burst` at once. */
void limit_init(struct limit *limit, int events, int period_s, int burst);
void limit_done(struct limit *limit);
/* Of any text; never 0. */
uint64_t limit_key(const char *text);
/* One more event of the key, unless it is over its rate: then *wait_s says when it is not. */
bool limit_take(struct limit *limit, uint64_t key, int64_t now_us, int *wait_s);
/* Would limit_take say no? */
bool limit_is_over(struct limit *limit, uint64_t key, int64_t now_us, int *wait_s);
/* Marks the key for limit_is_known until it is forgotten. */
void limit_know(struct limit *limit, uint64_t key);
bool limit_is_known(struct limit *limit, uint64_t key);
