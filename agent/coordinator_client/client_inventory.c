/* The inventory thread: looks at the host, so that neither reports nor steps wait for it. */
#include "agent/coordinator_client/client_state.h"

#include "base/failpoint.h"
#include "base/log.h"

#include <string.h>

enum {
    INVENTORY_INTERVAL_MS = 2000,
    SETTLE_MS = 100, /* one change of the host seldom comes alone */
};

static void offer(struct coordinator_client *client, const struct inventory *inventory,
                  int64_t finished, bool was_asked_for)
{
    pthread_mutex_lock(&client->lock);
    inventory_slot_put(&client->inventory, inventory, finished);
    client->inventory.is_urgent = client->inventory.is_urgent || was_asked_for;
    bool is_urgent = client->inventory.is_urgent;
    pthread_mutex_unlock(&client->lock);
    if (is_urgent)
        client->config.hooks.wake(client->config.hooks.context);
}

/* A look that begins now answers all that were asked for. */
static bool take_looks(struct coordinator_client *client, struct client_since *since)
{
    pthread_mutex_lock(&client->lock);
    bool was_asked_for = client->looks != since->looks;
    since->looks = client->looks;
    pthread_mutex_unlock(&client->lock);
    return was_asked_for;
}

void *client_inventory_thread(void *argument)
{
    struct coordinator_client *client = argument;
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    struct client_since since = {0};
    char complaint[256] = ""; /* said once */
    do {
        struct inventory inventory;
        struct error err = {0};
        bool was_asked_for = take_looks(client, &since);
        if (was_asked_for)
            client_pause(client, SETTLE_MS);
        since.finished = hooks->finished(hooks->context); /* before the look begins */
        bool is_built = inventory_build(&client->config.inventory, &inventory, &err);
        failpoint_pass("inventory.built");
        if (is_built)
            offer(client, &inventory, since.finished, was_asked_for);
        else if (strcmp(complaint, err.text) != 0)
            log_error("%s", err.text);
        memcpy(complaint, err.text, sizeof complaint);
    } while (client_pause_unless_news(client, INVENTORY_INTERVAL_MS, &since));
    return NULL;
}
