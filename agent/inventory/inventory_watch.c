/* Compares inventories by a digest of what matters at once; see inventory_watch.h. */
#include "agent/inventory/inventory_watch.h"

#include "base/cleanup.h"
#include "base/x509.h"

#include <string.h>

enum { RESEND_MS = 60000, GRAIN_BYTES = 64 << 20 };

static void round_member(json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    json_object_set_new(object, name, json_integer(value / GRAIN_BYTES));
}

static void digest(const struct inventory *inventory, char out[65])
{
    json_t *root = json_encode(inventory_fields, inventory);
    round_member(root, "memory_free_bytes");
    size_t i;
    json_t *sr;
    json_array_foreach(json_object_get(root, "srs"), i, sr)
    {
        round_member(sr, "free_bytes");
        size_t j;
        json_t *vdi;
        json_array_foreach(json_object_get(sr, "vdis"), j, vdi)
            json_object_del(vdi, "allocated_bytes");
    }
    auto_free char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(root);
    x509_sha256_hex(text, strlen(text), out);
}

bool inventory_watch_is_due(const struct inventory_watch *watch, const struct inventory *inventory,
                            int64_t now_ms)
{
    char now[65];
    if (!watch->digest[0] || now_ms - watch->sent_at_ms >= RESEND_MS)
        return true;
    digest(inventory, now);
    return strcmp(now, watch->digest) != 0;
}

void inventory_watch_forget(struct inventory_watch *watch)
{
    watch->digest[0] = '\0';
}

void inventory_watch_sent(struct inventory_watch *watch, const struct inventory *inventory,
                          int64_t now_ms)
{
    digest(inventory, watch->digest);
    watch->sent_at_ms = now_ms;
}
