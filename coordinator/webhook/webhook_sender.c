/* Delivers to webhooks; see webhook_sender.h.
 *
 * Deliveries of a webhook go out in the order of events. A receiver that is away (no answer, 408,
 * 425, 429, 5xx) keeps all of its deliveries waiting, so the order stays. One that answers but
 * refuses a delivery gets it again later, and those after it meanwhile. */
#include "coordinator/webhook/webhook_sender.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/db/db.h"
#include "coordinator/store/webhook_delivery.h"
#include "coordinator/webhook/webhook_post.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    THREADS = 4,
    LEASE_S = 30, /* longer than a call and the statements around it */
    IN_A_ROW = 100,
    POLL_MS = 1000,
    TAKE_TIMEOUT_MS = 5000,
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_LONGEST_MS = 15 * 60 * 1000,
};

struct webhook_sender {
    struct db_pool *pool;
    struct webhook_sender_config config;
    pthread_t threads[THREADS];
    int thread_count;
    atomic_bool is_stopped;
    atomic_bool has_failed; /* the database; logged once until it works */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t wakes; /* counted, so that each thread sees it */
};

/* One of a webhook; the owner is made for it, so that a thread whose lease ran out notices. */
struct lease {
    char owner[UUID_SIZE];
    char webhook[UUID_SIZE];
};

/* 1, 2, 4 ... s, each of them shortened by up to half, so that many coordinators or webhooks do not
 * call at once. */
static int64_t backoff_ms(int failures)
{
    int64_t longest = BACKOFF_FIRST_MS;
    for (int i = 0; i < failures && longest < BACKOFF_LONGEST_MS; i++)
        longest *= 2;
    if (longest > BACKOFF_LONGEST_MS)
        longest = BACKOFF_LONGEST_MS;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return longest - (now.tv_nsec / 1000) % (longest / 2 + 1);
}

static bool is_away(long status)
{
    return status == 0 || status == 408 || status == 425 || status == 429 || status >= 500;
}

static bool record(struct webhook_sender *sender, const struct webhook_delivery *delivery,
                   long status, const char *text, struct error *err)
{
    auto_db struct db *db = NULL;
    char refusal[64];
    if (!db_take(sender->pool, TAKE_TIMEOUT_MS, &db, err))
        return false;
    if (status >= 200 && status < 300)
        return webhook_delivery_accepted(db, delivery, status, err);
    snprintf(refusal, sizeof refusal, "the receiver answered %ld", status);
    bool away = is_away(status);
    const struct webhook_failure failure = {
        .is_away = away,
        .status = status,
        .text = status ? refusal : text,
        .delay_ms = backoff_ms(away ? delivery->failures : delivery->attempts),
        .give_up_after_s = sender->config.give_up_after_s,
    };
    if (!webhook_delivery_failed(db, delivery, &failure, err))
        return false;
    log_warning("webhook %s, delivery %s: %s", delivery->webhook, delivery->id, failure.text);
    return true;
}

/* *is_done: the next one may follow. */
static bool deliver(struct webhook_sender *sender, struct webhook_post *post,
                    const struct webhook_delivery *delivery, bool *is_done, struct error *err)
{
    const struct webhook_call call = {.url = delivery->url,
                                      .secret = delivery->secret,
                                      .event = delivery->event,
                                      .kind = delivery->kind,
                                      .delivery = delivery->id,
                                      .body = delivery->body};
    struct error why = {.text = ""};
    long status = 0;
    *is_done = false;
    failpoint_pass("webhook.send");
    if (!webhook_post_send(post, &call, &status, &why) && why.code == ERROR_CANCELLED)
        return true;
    failpoint_pass("webhook.sent");
    *is_done = !is_away(status);
    return record(sender, delivery, status, why.text, err);
}

static bool next(struct webhook_sender *sender, const struct lease *lease,
                 struct webhook_delivery *delivery, bool *is_found, struct error *err)
{
    auto_db struct db *db = NULL;
    return db_take(sender->pool, TAKE_TIMEOUT_MS, &db, err) &&
           webhook_delivery_next(db, lease->owner, LEASE_S, lease->webhook, delivery, is_found,
                                 err);
}

static bool serve_webhook(struct webhook_sender *sender, struct webhook_post *post,
                          const struct lease *lease, struct error *err)
{
    bool goes_on = true;
    for (int i = 0; goes_on && i < IN_A_ROW && !atomic_load(&sender->is_stopped); i++) {
        struct webhook_delivery delivery = {0};
        bool is_found = false;
        if (!next(sender, lease, &delivery, &is_found, err))
            return false;
        if (!is_found)
            return true;
        bool is_recorded = deliver(sender, post, &delivery, &goes_on, err);
        webhook_delivery_done(&delivery);
        if (!is_recorded)
            return false;
    }
    return true;
}

static bool take_lease(struct webhook_sender *sender, struct lease *lease, bool *is_found,
                       struct error *err)
{
    auto_db struct db *db = NULL;
    uuid_make(lease->owner);
    return db_take(sender->pool, TAKE_TIMEOUT_MS, &db, err) &&
           webhook_delivery_lease(db, lease->owner, LEASE_S, lease->webhook, is_found, err);
}

static bool give_lease(struct webhook_sender *sender, const struct lease *lease, struct error *err)
{
    auto_db struct db *db = NULL;
    return db_take(sender->pool, TAKE_TIMEOUT_MS, &db, err) &&
           webhook_delivery_release(db, lease->owner, lease->webhook, err);
}

/* *was_found: there may be more. */
static bool serve(struct webhook_sender *sender, struct webhook_post *post, bool *was_found,
                  struct error *err)
{
    struct lease lease;
    if (!take_lease(sender, &lease, was_found, err))
        return false;
    if (!*was_found)
        return true;
    bool is_served = serve_webhook(sender, post, &lease, err);
    struct error ignored; /* the lease then runs out by itself */
    return give_lease(sender, &lease, is_served ? err : &ignored) && is_served;
}

static uint64_t count_wakes(struct webhook_sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    uint64_t wakes = sender->wakes;
    pthread_mutex_unlock(&sender->lock);
    return wakes;
}

/* Until it is woken after `seen` was counted. */
static void rest(struct webhook_sender *sender, uint64_t seen)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += POLL_MS / 1000;
    pthread_mutex_lock(&sender->lock);
    int result = 0;
    while (!atomic_load(&sender->is_stopped) && sender->wakes == seen && result == 0)
        result = pthread_cond_timedwait(&sender->changed, &sender->lock, &until);
    pthread_mutex_unlock(&sender->lock);
}

static void tell(struct webhook_sender *sender, bool is_done, const struct error *err)
{
    bool had_failed = atomic_exchange(&sender->has_failed, !is_done);
    if (!is_done && !had_failed)
        log_error("webhooks: %s", err->text);
    if (is_done && had_failed)
        log_info("webhooks: work again");
}

static void *run(void *context)
{
    struct webhook_sender *sender = context;
    struct webhook_post *post = NULL;
    struct error err;
    const struct webhook_post_config config = {.ca = sender->config.ca,
                                               .is_loopback_allowed =
                                                   sender->config.is_loopback_allowed,
                                               .is_stopped = &sender->is_stopped};
    if (!webhook_post_open(&post, &config, &err)) {
        log_error("webhooks: %s", err.text);
        return NULL;
    }
    while (!atomic_load(&sender->is_stopped)) {
        uint64_t seen = count_wakes(sender);
        bool was_found = false;
        bool is_done = serve(sender, post, &was_found, &err);
        tell(sender, is_done, &err);
        if (!is_done || !was_found)
            rest(sender, seen);
    }
    webhook_post_close(post);
    return NULL;
}

bool webhook_sender_start(struct webhook_sender **out, struct db_pool *pool,
                          const struct webhook_sender_config *config, struct error *err)
{
    struct webhook_sender *sender = memory_alloc(sizeof *sender);
    sender->pool = pool;
    sender->config = *config;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&sender->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&sender->lock, NULL);
    for (int i = 0; i < THREADS; i++) {
        int failure = pthread_create(&sender->threads[i], NULL, run, sender);
        if (failure) {
            webhook_sender_stop(sender);
            return error_set_errno(err, ERROR_INTERNAL, failure, "webhook thread");
        }
        sender->thread_count++;
    }
    *out = sender;
    return true;
}

void webhook_sender_wake(struct webhook_sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    sender->wakes++;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
}

void webhook_sender_stop(struct webhook_sender *sender)
{
    if (!sender)
        return;
    pthread_mutex_lock(&sender->lock);
    atomic_store(&sender->is_stopped, true);
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
    for (int i = 0; i < sender->thread_count; i++)
        pthread_join(sender->threads[i], NULL);
    pthread_mutex_destroy(&sender->lock);
    pthread_cond_destroy(&sender->changed);
    free(sender);
}
