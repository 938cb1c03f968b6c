/* The registry of running migrations: one lock, a count of users for each object. */
#include "agent/steps/registry.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct entry {
    char migration[UUID_SIZE];
    void *objects[SLOT_COUNT];
    int users[SLOT_COUNT];
    int waiters; /* threads in registry_take; they keep the entry */
    struct entry *next;
};

struct registry {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct entry *entries;
};

struct registry *registry_new(void)
{
    struct registry *registry = memory_alloc(sizeof *registry);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&registry->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&registry->lock, NULL);
    return registry;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    assert(!registry->entries);
    pthread_cond_destroy(&registry->changed);
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

static struct entry *find(struct registry *registry, const char *migration)
{
    struct entry *entry = registry->entries;
    while (entry && strcmp(entry->migration, migration) != 0)
        entry = entry->next;
    return entry;
}

static struct entry *find_or_make(struct registry *registry, const char *migration)
{
    struct entry *entry = find(registry, migration);
    if (entry)
        return entry;
    entry = memory_alloc(sizeof *entry);
    memcpy(entry->migration, migration, strnlen(migration, UUID_SIZE - 1));
    entry->next = registry->entries;
    registry->entries = entry;
    return entry;
}

static void drop_if_unused(struct registry *registry, struct entry *entry)
{
    bool is_used = entry->waiters > 0;
    for (int slot = 0; slot < SLOT_COUNT; slot++)
        is_used = is_used || entry->objects[slot] || entry->users[slot] > 0;
    if (is_used)
        return;
    struct entry **at = &registry->entries;
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    free(entry);
}

bool registry_put(struct registry *registry, const char *migration, enum registry_slot slot,
                  void *object)
{
    pthread_mutex_lock(&registry->lock);
    struct entry *entry = find_or_make(registry, migration);
    bool is_free = !entry->objects[slot] && entry->users[slot] == 0;
    if (is_free)
        entry->objects[slot] = object;
    pthread_cond_broadcast(&registry->changed);
    pthread_mutex_unlock(&registry->lock);
    return is_free;
}

void *registry_borrow(struct registry *registry, const char *migration, enum registry_slot slot)
{
    pthread_mutex_lock(&registry->lock);
    struct entry *entry = find(registry, migration);
    void *object = entry ? entry->objects[slot] : NULL;
    if (object)
        entry->users[slot]++;
    pthread_mutex_unlock(&registry->lock);
    return object;
}

void registry_return(struct registry *registry, const char *migration, enum registry_slot slot)
{
    pthread_mutex_lock(&registry->lock);
    struct entry *entry = find(registry, migration);
    assert(entry && entry->users[slot] > 0);
    entry->users[slot]--;
    drop_if_unused(registry, entry);
    pthread_cond_broadcast(&registry->changed);
    pthread_mutex_unlock(&registry->lock);
}

void *registry_take(struct registry *registry, const char *migration, enum registry_slot slot)
{
    pthread_mutex_lock(&registry->lock);
    struct entry *entry = find(registry, migration);
    void *object = entry ? take(entry->objects[slot]) : NULL;
    if (entry) {
        entry->waiters++;
        while (object && entry->users[slot] > 0)
            pthread_cond_wait(&registry->changed, &registry->lock);
        entry->waiters--;
        drop_if_unused(registry, entry);
    }
    pthread_mutex_unlock(&registry->lock);
    return object;
}

bool registry_wait(struct registry *registry, const char *migration, enum registry_slot slot,
                   int timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    struct timespec deadline = {.tv_sec = deadline_ms / 1000,
                                .tv_nsec = deadline_ms % 1000 * 1000000};
    bool is_there = false;
    int code = 0;
    pthread_mutex_lock(&registry->lock);
    while (!is_there && code == 0) {
        struct entry *entry = find(registry, migration);
        is_there = entry && entry->objects[slot];
        if (!is_there)
            code = pthread_cond_timedwait(&registry->changed, &registry->lock, &deadline);
    }
    pthread_mutex_unlock(&registry->lock);
    return is_there;
}

size_t registry_list(struct registry *registry, char (**migrations)[UUID_SIZE])
{
    size_t count = 0;
    char(*names)[UUID_SIZE] = NULL;
    pthread_mutex_lock(&registry->lock);
    for (const struct entry *entry = registry->entries; entry; entry = entry->next) {
        names = memory_resize(names, count + 1, sizeof *names);
        memcpy(names[count++], entry->migration, UUID_SIZE);
    }
    pthread_mutex_unlock(&registry->lock);
    *migrations = names;
    return count;
}
