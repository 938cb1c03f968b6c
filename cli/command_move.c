/* crosspool migrate and evacuate: ask for moves, or with --dry-run what they would be. */
#include "cli/commands.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/client.h"
#include "cli/options.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_REQUEST = 1 << 20 };

static bool read_json(const char *option, const char *file, json_t **out, struct error *err)
{
    auto_free char *text = NULL;
    size_t size = 0;
    if (!file_read(file, LIMIT_REQUEST, &text, &size, err) || !json_parse(text, size, out, err))
        return error_prefix(err, "%s", option);
    return true;
}

/* Posts and says what came of it. *is_whole: nothing was refused. */
static bool ask(const struct options *options, const char *path, const json_t *body,
                json_t **answer, struct error *err)
{
    struct session session = {0};
    auto_client struct client *client = NULL;
    auto_free char *url = memory_format("%s%s", path, options->is_dry_run ? "?dry_run=true" : "");
    auto_free char *text = json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text)
        return error_set(err, ERROR_INTERNAL, "the request cannot be encoded");
    if (!session_read(&session, err))
        return false;
    bool is_done =
        client_open(&client, &session, err) && client_call(client, url, text, answer, err);
    session_done(&session);
    if (!is_done)
        table_print_reasons(*answer);
    return is_done;
}

static bool fill_migration(const struct options *options, json_t *body, struct error *err)
{
    json_t *mapping = NULL;
    json_t *destination = json_pack("{s:s}", "pool", options->pool);
    if (options->host)
        json_object_set_new(destination, "host", json_string(options->host));
    json_object_set_new(body, "vm", json_string(options->vm));
    json_object_set_new(body, "destination", destination);
    if (options->mapping_set)
        json_object_set_new(body, "mapping_set", json_string(options->mapping_set));
    if (options->mapping && !read_json("--mapping", options->mapping, &mapping, err))
        return false;
    if (mapping)
        json_object_set_new(body, "mapping", mapping);
    return true;
}

static void print_migration(const struct options *options, const json_t *answer)
{
    const char *id = json_string_value(json_object_get(answer, "id"));
    if (options->is_json)
        table_print_json(answer);
    else if (id)
        printf("migration %s is %s\n", id, json_string_value(json_object_get(answer, "state")));
    else
        printf("the VM %s\n",
               json_is_true(json_object_get(answer, "can_move")) ? "can move" : "cannot move");
}

bool command_migrate(const struct options *options, bool *is_whole, struct error *err)
{
    json_t *body = json_object(), *answer = NULL;
    bool is_done =
        fill_migration(options, body, err) && ask(options, "/v1/migrations", body, &answer, err);
    if (is_done) {
        print_migration(options, answer);
        table_print_reasons(answer);
        *is_whole = json_array_size(json_object_get(answer, "blockers")) == 0;
    }
    json_decref(answer);
    json_decref(body);
    return is_done;
}

static void print_evacuation(const struct options *options, const json_t *answer)
{
    static const char *const columns[] = {
        "name", "state", "source.host_name", "destination.host_name", "strategy", "start",
        "end",  NULL};
    const json_t *plan = json_object_get(answer, "plan");
    const json_t *problems = json_object_get(plan, "problems");
    const char *id = json_string_value(json_object_get(answer, "id"));
    if (options->is_json) {
        table_print_json(answer);
        return;
    }
    if (id)
        printf("evacuation %s\n", id);
    printf("makespan %.1f s, at least %.1f s because of %s\n",
           json_number_value(json_object_get(plan, "makespan_s")),
           json_number_value(json_object_get(plan, "bound_s")),
           json_string_value(json_object_get(plan, "bottleneck")));
    for (size_t i = 0; i < json_array_size(problems); i++)
        printf("problem: %s\n", json_string_value(json_array_get(problems, i)));
    table_print(json_object_get(answer, "vms"), columns);
}

bool command_evacuate(const struct options *options, bool *is_whole, struct error *err)
{
    json_t *body = NULL, *answer = NULL;
    bool is_done = read_json("--request", options->request, &body, err) &&
                   ask(options, "/v1/evacuations", body, &answer, err);
    if (is_done) {
        const json_t *counts = json_object_get(answer, "counts");
        const json_t *problems = json_object_get(json_object_get(answer, "plan"), "problems");
        print_evacuation(options, answer);
        table_print_reasons(answer);
        *is_whole = json_integer_value(json_object_get(counts, "refused")) == 0 &&
                    json_array_size(problems) == 0;
    }
    json_decref(answer);
    json_decref(body);
    return is_done;
}
