/* The inventory thread: looks at the host, so that neither reports nor steps wait for it. */
#include "agent/coordinator_client/client_state.h"

#include "base/log.h"

#include <string.h>

enum { INVENTORY_INTERVAL_MS = 2000 };

static void offer(struct coordinator_client *client, const struct inventory *inventory)
{
    pthread_mutex_lock(&client->lock);
    if (client->has_inventory)
        json_release(inventory_fields, &client->inventory);
    client->inventory = *inventory;
    client->has_inventory = true;
    pthread_mutex_unlock(&client->lock);
}

void *client_inventory_thread(void *argument)
{
    struct coordinator_client *client = argument;
    char complaint[256] = ""; /* said once */
    do {
        struct inventory inventory;
        struct error err = {0};
        if (inventory_build(&client->config.inventory, &inventory, &err))
            offer(client, &inventory);
        else if (strcmp(complaint, err.text) != 0)
            log_error("%s", err.text);
        memcpy(complaint, err.text, sizeof complaint);
    } while (client_pause(client, INVENTORY_INTERVAL_MS));
    return NULL;
}
