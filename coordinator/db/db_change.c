/* Notices of PostgreSQL. What a trigger of the schema tells of a change it tells as a notice with a
 * SQLSTATE of its own to the connection that makes the change; it becomes a wake-up of the
 * transaction. So this process knows what to forget when the commit is back, before anybody is
 * answered, and the others soon after. */
#include "coordinator/db/db_connection.h"

#include "base/log.h"

#include <string.h>

/* As in db/migrations: topics_tell(), event_tell(). */
static const struct {
    const char *state, *channel;
} told[] = {
    {"CPCHG", DB_CHANNEL_CHANGED},
    {"CPEVT", "event"},
};

/* A line each; what is too long to name is everything. */
static void add_lines(struct db_notices *notices, const char *channel, const char *text)
{
    for (;;) {
        char payload[DB_PAYLOAD_SIZE] = "";
        size_t size = strcspn(text, "\n");
        if (size < sizeof payload)
            memcpy(payload, text, size);
        db_notices_add(notices, channel, payload);
        if (!text[size])
            return;
        text += size + 1;
    }
}

void db_receive_notice(void *context, const PGresult *notice)
{
    struct db *db = context;
    const char *state = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    for (size_t i = 0; state && message && i < sizeof told / sizeof *told; i++) {
        if (strcmp(state, told[i].state) != 0)
            continue;
        add_lines(&db->notices, told[i].channel, message);
        return;
    }
    char line[200];
    db_first_line(PQresultErrorMessage(notice), line, sizeof line);
    log_debug("postgresql: %s", line);
}
