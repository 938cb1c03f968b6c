/* Webhooks: where events are sent to, and which of them. */
#pragma once

#include "coordinator/store/page.h"

enum { WEBHOOKS_MOST = 64 };

struct webhook {
    const char *name, *url;
    const char *secret;          /* NULL: as it was */
    const char *resource, *pool; /* NULL: any */
    const char *kinds;           /* JSON array; empty: any */
    bool is_enabled;
};

extern const struct page_list webhook_list; /* no own parameter */
/* None of these bodies holds the secret. */
bool webhook_store_show(struct db *db, const char *id, char **text, struct error *err) must_check;
bool webhook_store_find(struct db *db, const char *id_or_name, char id[UUID_SIZE],
                        struct error *err) must_check;
/* Until the transaction ends nobody else changes it. */
bool webhook_store_lock(struct db *db, const char *id, struct error *err) must_check;
/* ERROR_CONFLICT: the name is taken, or there are WEBHOOKS_MOST. */
bool webhook_store_create(struct db *db, const struct webhook *webhook, char id[UUID_SIZE],
                          struct error *err) must_check;
/* What was chosen before is delivered still, to the new URL and with the new secret. */
bool webhook_store_replace(struct db *db, const char *id, const struct webhook *webhook,
                           struct error *err) must_check;
/* With its deliveries. */
bool webhook_store_remove(struct db *db, const char *id, struct error *err) must_check;
