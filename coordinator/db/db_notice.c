/* Sets of wake-ups; see db_notice.h. */
#include "coordinator/db/db_notice.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { NOTICES_MOST = 1024 };

static bool is_there(const struct db_notices *notices, const char *channel, const char *payload)
{
    for (size_t i = 0; i < notices->count; i++) {
        const struct db_notice *notice = &notices->items[i];
        if (strcmp(notice->channel, channel) == 0 &&
            (!notice->payload[0] || strcmp(notice->payload, payload) == 0))
            return true;
    }
    return false;
}

void db_notices_add(struct db_notices *notices, const char *channel, const char *payload)
{
    assert(strlen(channel) < DB_CHANNEL_SIZE && strlen(payload) < DB_PAYLOAD_SIZE);
    if (is_there(notices, channel, payload))
        return;
    notices->items = memory_resize(notices->items, notices->count + 1, sizeof *notices->items);
    struct db_notice *notice = &notices->items[notices->count++];
    memset(notice, 0, sizeof *notice);
    memcpy(notice->channel, channel, strlen(channel));
    if (notices->count < NOTICES_MOST)
        memcpy(notice->payload, payload, strlen(payload));
}

void db_notices_clear(struct db_notices *notices)
{
    free(notices->items);
    *notices = (struct db_notices){0};
}
