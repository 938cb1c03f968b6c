/* `run`: starts the parts in order, waits for a signal, stops them in reverse. */
#include "coordinator/commands.h"

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/api/api.h"
#include "coordinator/db/db.h"
#include "coordinator/event/event_feed.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/security/ca.h"
#include "coordinator/security/config.h"
#include "coordinator/security/tls_pair.h"
#include "coordinator/webhook/webhook_sender.h"
#include "protocol/vocabulary.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

enum {
    THREADS = 4,
    AGENT_THREADS = 128, /* so many polls or results can be done together */
    AGENT_CONNECTIONS = 4,
    SCHEDULER_CONNECTIONS = 6, /* two are for the threads that do it */
    EVENT_CONNECTIONS = 3,     /* the feed's, and what webhook threads share */
    TAKE_TIMEOUT_MS = 5000,
    STOP_GRACE_MS = 3000,
    DESCRIPTORS = 65536,
};

struct coordinator {
    const struct coordinator_config *config;
    struct ca ca;
    struct tls_pair tls; /* empty: the API port shows the CA's server certificate */
    struct db_pool *pool;
    struct scheduler *scheduler;
    struct event_feed *feed;
    struct webhook_sender *sender;
    struct db_listener *listener;
    struct api_context api;
    _Atomic(struct http_server *) wakeable; /* NULL until the server runs */
};

/* Steps for a host are there: its parked polls look again. "" wakes all. */
static void wake_host(void *context, const char *host)
{
    struct coordinator *coordinator = context;
    struct http_server *server = atomic_load(&coordinator->wakeable);
    if (server)
        http_wake(server, host);
}

static void on_notification(void *context, const char *channel, const char *payload)
{
    struct coordinator *coordinator = context;
    struct http_server *server = atomic_load(&coordinator->wakeable);
    if (strcmp(channel, "host_steps") == 0)
        wake_host(context, payload);
    else if (strcmp(channel, "webhook") == 0)
        webhook_sender_wake(coordinator->sender);
    else if (strcmp(channel, DB_CHANNEL_CHANGED) != 0)
        event_feed_wake(coordinator->feed);
    else if (server)
        http_changed(server, payload);
}

static void on_heard(void *context, int64_t until_ms)
{
    struct coordinator *coordinator = context;
    struct http_server *server = atomic_load(&coordinator->wakeable);
    if (server)
        http_heard(server, until_ms);
}

static bool migrate(struct coordinator *coordinator, struct error *err)
{
    auto_db struct db *db = NULL;
    int applied = 0;
    return db_take(coordinator->pool, TAKE_TIMEOUT_MS, &db, err) &&
           db_migrate(db, coordinator->config->schema_directory, &applied, err) &&
           db_schema_version(db, &coordinator->api.schema_version, err);
}

static bool start_http(struct coordinator *coordinator, struct error *err)
{
    const struct coordinator_config *config = coordinator->config;
    const struct http_config http = {
        .api_address = config->api.address,
        .api_port = config->api.port,
        .agent_address = config->agents.address,
        .agent_port = config->agents.port,
        .server_certificate = coordinator->ca.server_certificate,
        .server_key = coordinator->ca.server_key,
        .ca = coordinator->ca.certificate,
        .api_certificate = coordinator->tls.certificate,
        .api_key = coordinator->tls.key,
        .api_body_limit = LIMIT_BODY,
        .agent_body_limit = LIMIT_MESSAGE,
        .limits = config->limits,
        .streams = config->event_streams,
        .poll_cache_bytes = config->poll_cache_bytes,
        .threads = THREADS,
        .agent_threads = AGENT_THREADS,
        .agent_connections = AGENT_CONNECTIONS,
    };
    coordinator->api.ca = &coordinator->ca;
    coordinator->api.tls = &coordinator->tls;
    coordinator->api.config = config;
    coordinator->api.pool = coordinator->pool;
    coordinator->api.feed = coordinator->feed;
    coordinator->api.started_at_s = clock_wall_s();
    if (!http_start(&coordinator->api.http, &http, api_routes, api_route_count, &coordinator->api,
                    coordinator->pool, err))
        return false;
    atomic_store(&coordinator->wakeable, coordinator->api.http);
    return true;
}

static bool start_events(struct coordinator *coordinator, struct error *err)
{
    const struct coordinator_config *config = coordinator->config;
    const struct event_feed_config events = {.retained_h = config->events_retained_h};
    const struct webhook_sender_config webhooks = {
        .ca = config->webhooks.ca,
        .is_loopback_allowed = config->webhooks.allow_loopback,
        .give_up_after_s = config->webhooks.give_up_after_s,
    };
    return event_feed_start(&coordinator->feed, coordinator->pool, &events, err) &&
           webhook_sender_start(&coordinator->sender, coordinator->pool, &webhooks, err);
}

static bool listen_notifications(struct coordinator *coordinator, struct error *err)
{
    static const char *const channels[] = {"host_steps",     DB_CHANNEL_CHANGED, "event",
                                           "event_numbered", "webhook",          NULL};
    const struct db_listening listening = {.channels = channels,
                                           .on_wake = on_notification,
                                           .on_heard = on_heard,
                                           .context = coordinator,
                                           .own = coordinator->pool};
    if (!db_listener_open(&coordinator->listener, coordinator->config->database, &listening, err))
        return false;
    atomic_store(&coordinator->api.listener, coordinator->listener);
    return true;
}

/* HTTP is the last: who is answered may rely on it that no part fails to start any more. */
static bool start(struct coordinator *coordinator, struct error *err)
{
    const struct coordinator_config *config = coordinator->config;
    const struct scheduler_config scheduling = {.host_lost_after_s = config->host_lost_after_s};
    return ca_load(&coordinator->ca, config->state_directory, err) &&
           (!config->tls.certificate || tls_pair_load(&coordinator->tls, &config->tls, err)) &&
           db_pool_open(&coordinator->pool, config->database,
                        HTTP_CONNECTIONS(THREADS, AGENT_CONNECTIONS) + SCHEDULER_CONNECTIONS +
                            EVENT_CONNECTIONS,
                        err) &&
           migrate(coordinator, err) &&
           db_pool_notify_start(coordinator->pool, on_notification, coordinator, err) &&
           scheduler_start(&coordinator->scheduler, coordinator->pool, &scheduling, wake_host,
                           coordinator, err) &&
           start_events(coordinator, err) && listen_notifications(coordinator, err) &&
           start_http(coordinator, err);
}

/* Who wakes ends before what is woken; the pool goes last. */
static void stop(struct coordinator *coordinator)
{
    db_listener_stop(coordinator->listener);
    scheduler_stop(coordinator->scheduler);
    webhook_sender_stop(coordinator->sender);
    event_feed_stop(coordinator->feed);
    atomic_store(&coordinator->wakeable, NULL);
    http_stop(coordinator->api.http, STOP_GRACE_MS);
    event_feed_free(coordinator->feed);
    db_listener_close(coordinator->listener);
    db_pool_close(coordinator->pool);
    ca_done(&coordinator->ca);
    tls_pair_done(&coordinator->tls);
}

/* Blocked in all threads, so that only the wait below takes them. */
static void block_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void allow_many_connections(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("the limit of open files stays as it is: %s", strerror(errno));
}

bool command_run(const struct options *options, const struct coordinator_config *config,
                 struct error *err)
{
    (void)options;
    struct coordinator coordinator = {.config = config};
    sigset_t signals;
    block_signals(&signals);
    allow_many_connections();
    bool is_started = start(&coordinator, err);
    if (is_started) {
        log_info("serving the API on %s port %d, agents on %s port %d", config->api.address,
                 config->api.port, config->agents.address, config->agents.port);
        int caught = 0;
        while (sigwait(&signals, &caught) != 0)
            ;
        log_info("stopping on %s", strsignal(caught));
    }
    stop(&coordinator);
    return is_started;
}
