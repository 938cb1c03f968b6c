/* The inventory thread: looks at the host, so that neither reports nor steps wait for it. */
#include "agent/coordinator_client/client_state.h"

#include "base/failpoint.h"
#include "base/log.h"

#include <string.h>

enum { INVENTORY_INTERVAL_MS = 2000 };

static void offer(struct coordinator_client *client, const struct inventory *inventory,
                  int64_t finished)
{
    pthread_mutex_lock(&client->lock);
    inventory_slot_put(&client->inventory, inventory, finished);
    bool is_urgent = client->inventory.is_urgent;
    pthread_mutex_unlock(&client->lock);
    if (is_urgent)
        client->config.hooks.wake(client->config.hooks.context);
}

void *client_inventory_thread(void *argument)
{
    struct coordinator_client *client = argument;
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    int64_t finished;
    char complaint[256] = ""; /* said once */
    do {
        struct inventory inventory;
        struct error err = {0};
        finished = hooks->finished(hooks->context); /* before the look begins */
        bool is_built = inventory_build(&client->config.inventory, &inventory, &err);
        failpoint_pass("inventory.built");
        if (is_built)
            offer(client, &inventory, finished);
        else if (strcmp(complaint, err.text) != 0)
            log_error("%s", err.text);
        memcpy(complaint, err.text, sizeof complaint);
    } while (client_pause_unless_finished(client, INVENTORY_INTERVAL_MS, finished));
    return NULL;
}
