/* crosspool watch: says what changes of a migration or an evacuation until it has ended. */
#include "cli/commands.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "cli/client.h"
#include "cli/options.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REST_MS = 1000,
    PATIENCE_MS = 120000, /* as long as a failover may take, and more */
};

static const char *word_of(const json_t *answer, const char *member)
{
    const char *word = json_string_value(json_object_get(answer, member));
    return word ? word : "";
}

static int count_of(const json_t *answer, const char *member)
{
    return (int)json_integer_value(json_object_get(json_object_get(answer, "counts"), member));
}

/* The caller frees. */
static char *line_of(const json_t *answer)
{
    if (!json_object_get(answer, "counts"))
        return memory_format("%s: %s, %s %s", word_of(answer, "name"), word_of(answer, "state"),
                             word_of(answer, "phase"), word_of(answer, "waits_for"));
    return memory_format("%s: %d moved, %d moving, %d waiting, %d failed, %d refused, %d skipped",
                         word_of(answer, "state"), count_of(answer, "moved"),
                         count_of(answer, "moving"), count_of(answer, "waiting"),
                         count_of(answer, "failed"), count_of(answer, "refused"),
                         count_of(answer, "skipped"));
}

/* A coordinator that is away for a while is waited for. */
static bool look(struct client *client, const char *path, json_t **answer, struct error *err)
{
    int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (!client_call(client, path, NULL, answer, err)) {
        json_decref(*answer);
        *answer = NULL;
        if (err->code != ERROR_UNREACHABLE || clock_monotonic_ms() >= end_ms)
            return false;
        clock_sleep_ms(REST_MS);
    }
    return true;
}

static bool watch(struct client *client, const char *path, bool *is_whole, struct error *err)
{
    auto_free char *said = memory_copy_text("");
    for (bool is_over = false; !is_over;) {
        json_t *answer = NULL;
        if (!look(client, path, &answer, err))
            return false;
        char *line = line_of(answer);
        if (strcmp(line, said) != 0)
            printf("%s\n", line);
        fflush(stdout);
        free(said);
        said = line;
        is_over = json_is_string(json_object_get(answer, "ended_at"));
        *is_whole = strcmp(word_of(answer, "state"), "succeeded") == 0;
        if (is_over && !*is_whole)
            table_print_reasons(answer);
        json_decref(answer);
        if (!is_over)
            clock_sleep_ms(REST_MS);
    }
    return true;
}

bool command_watch(const struct options *options, bool *is_whole, struct error *err)
{
    struct session session = {0};
    auto_client struct client *client = NULL;
    const char *kind = options->words[0];
    if (strcmp(kind, "migrations") != 0 && strcmp(kind, "evacuations") != 0)
        return error_set(err, ERROR_INVALID, "watch: expected migrations or evacuations, not %.40s",
                         kind);
    if (!uuid_is_valid(options->words[1]))
        return error_set(err, ERROR_INVALID, "watch: expected an id, not \"%.40s\"",
                         options->words[1]);
    if (!session_read(&session, err))
        return false;
    auto_free char *path = memory_format("/v1/%s/%s", kind, options->words[1]);
    bool is_done = client_open(&client, &session, err) && watch(client, path, is_whole, err);
    session_done(&session);
    return is_done;
}
