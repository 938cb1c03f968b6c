/* crosspool pools, hosts, vms, migrations, evacuations: what there is. */
#include "cli/commands.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "cli/client.h"
#include "cli/options.h"
#include "cli/table.h"

#include <string.h>

struct list {
    const char *command;
    const char *columns[TABLE_COLUMNS];
};
static const struct list lists[] = {
    {"pools", {"name", "hosts", "in_maintenance", "id"}},
    {"hosts", {"name", "pool_name", "state", "in_maintenance", "memory_free_bytes", "id"}},
    {"vms", {"name", "pool_name", "host_name", "state", "memory_bytes", "id"}},
    {"migrations",
     {"id", "name", "state", "phase", "source.host_name", "destination.host_name", "created_at"}},
    {"evacuations",
     {"id", "state", "counts.moved", "counts.moving", "counts.waiting", "counts.failed",
      "created_at"}},
};

bool command_list(const struct options *options, bool *is_whole, struct error *err)
{
    struct session session = {0};
    auto_client struct client *client = NULL;
    auto_free char *path = memory_format("/v1/%s", options->command);
    json_t *items = NULL;
    if (!session_read(&session, err))
        return false;
    *is_whole = client_open(&client, &session, err) && client_list(client, path, &items, err);
    for (size_t i = 0; *is_whole && i < sizeof lists / sizeof *lists; i++) {
        if (strcmp(lists[i].command, options->command) != 0)
            continue;
        if (options->is_json)
            table_print_json(items);
        else
            table_print(items, lists[i].columns);
    }
    json_decref(items);
    session_done(&session);
    return *is_whole;
}
