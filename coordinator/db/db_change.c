/* Notices of PostgreSQL. A trigger that sends a notification of a change also tells it to the very
 * connection that makes the change, as a notice with a SQLSTATE of its own: so the one who writes
 * knows what to forget before he answers, without waiting for the notification. */
#include "coordinator/db/db_connection.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const char change_state[] = "CPCHG"; /* as in db/migrations, resource_tell() */

void db_forget_changes(struct db *db)
{
    db->statements = 0;
    db->topic_count = 0;
}

static void keep_change(struct db *db, const char *topic)
{
    if (db->topic_count > DB_TOPICS)
        return;
    for (int i = 0; i < db->topic_count; i++) {
        if (strcmp(db->topics[i], topic) == 0)
            return;
    }
    if (db->topic_count < DB_TOPICS && strlen(topic) < DB_TOPIC_SIZE)
        snprintf(db->topics[db->topic_count++], DB_TOPIC_SIZE, "%s", topic);
    else
        db->topic_count = DB_TOPICS + 1;
}

void db_receive_notice(void *db, const PGresult *notice)
{
    const char *state = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    if (state && message && strcmp(state, change_state) == 0) {
        keep_change(db, message);
        return;
    }
    char line[200];
    db_first_line(PQresultErrorMessage(notice), line, sizeof line);
    log_debug("postgresql: %s", line);
}

void db_each_change(struct db *db, db_change_visit *visit, void *context)
{
    if (db->topic_count > DB_TOPICS) {
        visit(context, "");
        return;
    }
    for (int i = 0; i < db->topic_count; i++)
        visit(context, db->topics[i]);
}
