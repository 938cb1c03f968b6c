/* The table of keys; see limit.h. */
#include "coordinator/http/limit.h"

#include "base/x509.h"

#include <stdlib.h>
#include <string.h>

enum { SECOND_US = 1000000 };

void limit_init(struct limit *limit, int events, int period_s, int burst)
{
    pthread_mutex_init(&limit->lock, NULL);
    if (events <= 0)
        return;
    limit->interval_us = (int64_t)SECOND_US * period_s / events;
    limit->ahead_us = limit->interval_us * (burst > 1 ? burst - 1 : 0);
}

void limit_done(struct limit *limit)
{
    pthread_mutex_destroy(&limit->lock);
}

uint64_t limit_key(const char *text)
{
    char hash[65];
    x509_sha256_hex(text, strlen(text), hash);
    hash[16] = '\0';
    uint64_t key = strtoull(hash, NULL, 16);
    return key ? key : 1;
}

/* NULL when it is not there. Called locked. */
static struct limit_slot *find(struct limit *limit, uint64_t key)
{
    struct limit_slot *set = limit->slots[key % LIMIT_SETS];
    for (int i = 0; i < LIMIT_WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
    }
    return NULL;
}

/* Made when missing, in place of the one of its set that is least ahead. Called locked. */
static struct limit_slot *find_or_make(struct limit *limit, uint64_t key)
{
    struct limit_slot *found = find(limit, key);
    if (found)
        return found;
    struct limit_slot *set = limit->slots[key % LIMIT_SETS];
    found = &set[0];
    for (int i = 1; i < LIMIT_WAYS; i++) {
        if (set[i].until_us < found->until_us)
            found = &set[i];
    }
    *found = (struct limit_slot){.key = key};
    return found;
}

static bool is_over(const struct limit *limit, const struct limit_slot *slot, int64_t now_us,
                    int *wait_s)
{
    int64_t over_us = slot ? slot->until_us - now_us - limit->ahead_us : 0;
    if (over_us <= 0)
        return false;
    *wait_s = (int)((over_us + SECOND_US - 1) / SECOND_US);
    return true;
}

bool limit_take(struct limit *limit, uint64_t key, int64_t now_us, int *wait_s)
{
    if (!limit->interval_us)
        return true;
    pthread_mutex_lock(&limit->lock);
    struct limit_slot *slot = find_or_make(limit, key);
    bool is_taken = !is_over(limit, slot, now_us, wait_s);
    if (is_taken)
        slot->until_us = (slot->until_us > now_us ? slot->until_us : now_us) + limit->interval_us;
    pthread_mutex_unlock(&limit->lock);
    return is_taken;
}

bool limit_is_over(struct limit *limit, uint64_t key, int64_t now_us, int *wait_s)
{
    pthread_mutex_lock(&limit->lock);
    bool is_so = limit->interval_us && is_over(limit, find(limit, key), now_us, wait_s);
    pthread_mutex_unlock(&limit->lock);
    return is_so;
}

void limit_know(struct limit *limit, uint64_t key)
{
    pthread_mutex_lock(&limit->lock);
    find_or_make(limit, key)->is_known = true;
    pthread_mutex_unlock(&limit->lock);
}

bool limit_is_known(struct limit *limit, uint64_t key)
{
    pthread_mutex_lock(&limit->lock);
    const struct limit_slot *slot = find(limit, key);
    bool is_known = slot && slot->is_known;
    pthread_mutex_unlock(&limit->lock);
    return is_known;
}
