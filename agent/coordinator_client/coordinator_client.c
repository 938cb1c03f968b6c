/* Start and stop of the coordinator client; see coordinator_client.h. */
#include "agent/coordinator_client/client_state.h"

#include "base/memory.h"

static bool start_thread(pthread_t *thread, void *(*run)(void *), struct coordinator_client *client,
                         struct error *err)
{
    int code = pthread_create(thread, NULL, run, client);
    return code == 0 ||
           error_set_errno(err, ERROR_INTERNAL, code, "cannot start the coordinator client");
}

static void tell(struct coordinator_client *client)
{
    pthread_mutex_lock(&client->lock);
    atomic_store(&client->is_stopped, true);
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    client->config.hooks.wake(client->config.hooks.context);
}

static void destroy(struct coordinator_client *client)
{
    inventory_slot_done(&client->inventory);
    pthread_cond_destroy(&client->changed);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

/* Joins the first `count` threads. */
static void join(struct coordinator_client *client, int count)
{
    const pthread_t threads[] = {client->poll_thread, client->report_thread,
                                 client->inventory_thread};
    tell(client);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    destroy(client);
}

bool coordinator_client_start(struct coordinator_client **out,
                              const struct coordinator_client_config *config, struct error *err)
{
    struct coordinator_client *client = memory_alloc(sizeof *client);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&client->lock, NULL);
    client->config = *config;
    int started = 0;
    bool ok = start_thread(&client->poll_thread, client_poll_thread, client, err) && ++started &&
              start_thread(&client->report_thread, client_report_thread, client, err) &&
              ++started &&
              start_thread(&client->inventory_thread, client_inventory_thread, client, err);
    if (!ok) {
        join(client, started);
        return false;
    }
    *out = client;
    return true;
}

void coordinator_client_look(struct coordinator_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->looks++;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
}

void coordinator_client_stop(struct coordinator_client *client)
{
    if (client)
        join(client, 3);
}
