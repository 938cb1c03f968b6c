/* What the threads of the coordinator client share; only this folder includes it. */
#pragma once

#include "agent/coordinator_client/coordinator_client.h"
#include "agent/coordinator_client/http_client.h"
#include "agent/coordinator_client/inventory_slot.h"

#include <pthread.h>
#include <stdatomic.h>

struct coordinator_client {
    struct coordinator_client_config config;
    atomic_bool is_stopped;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct inventory_slot inventory;
    uint64_t looks;         /* asked for by coordinator_client_look */
    bool must_tell_renewal; /* of the report thread: the rest still uses the old certificate */
    pthread_t poll_thread, report_thread, inventory_thread;
};

/* One thread's way to the coordinators. */
struct client_call {
    struct coordinator_client *client;
    struct http_client *http;
    const char *what; /* for the log */
    size_t current;   /* the coordinator that answered last */
    int failures;     /* in a row */
    bool was_told;    /* the failure is in the log */
    struct buffer answer;
};

bool client_call_init(struct client_call *call, struct coordinator_client *client, const char *what,
                      struct error *err) must_check;
void client_call_done(struct client_call *call);
/* Posts to the current coordinator. After a failure to reach it the next call goes to the next one,
 * after a growing pause when all have failed. */
bool client_call_post(struct client_call *call, const char *path, const char *body, int timeout_s,
                      struct error *err) must_check;
/* Sleeps; false when the client stops. */
bool client_pause(struct coordinator_client *client, int ms);
/* The same, but only until another step has ended or another look was asked for since. Who learns
 * that a step ended calls client_notice. */
struct client_since {
    int64_t finished; /* steps that had ended */
    uint64_t looks;
};
bool client_pause_unless_news(struct coordinator_client *client, int ms,
                              const struct client_since *since);
void client_notice(struct coordinator_client *client);

void *client_poll_thread(void *client);
void *client_report_thread(void *client);
void *client_inventory_thread(void *client);
/* Renews the certificate when it is due. */
void client_renew(struct client_call *call);
