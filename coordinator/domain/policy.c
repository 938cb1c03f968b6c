/* Decoding of policies; see policy.h. */
#include "coordinator/domain/policy.h"

#include "base/json_table.h"

#include <string.h>
#include <time.h>

const char *const switchover_when_names[] = {[SWITCHOVER_AUTOMATIC] = "automatic",
                                             [SWITCHOVER_MANUAL] = "manual",
                                             [SWITCHOVER_WINDOW] = "window",
                                             NULL};

struct window {
    char not_before[40], not_after[40];
};
static const struct json_field window_fields[] = {
    JSON_CHARS("not_before", window, not_before, 1, false),
    JSON_CHARS("not_after", window, not_after, 1, false),
    {0},
};

/* RFC 3339 to the second: "2026-01-31T22:00:00Z" or with an offset such as +01:00. */
static bool read_time(const char *pointer, const char *text, int64_t *out,
                      struct field_errors *errors, struct error *err)
{
    struct tm parts = {0};
    const char *end = text[0] ? strptime(text, "%Y-%m-%dT%H:%M:%S%z", &parts) : "";
    if (!end || *end)
        return field_wrong(errors, pointer, "is no such time",
                           "a time such as 2026-01-31T22:00:00Z", err);
    long offset_s = parts.tm_gmtoff;
    *out = text[0] ? timegm(&parts) - offset_s : 0;
    return true;
}

static bool decode_window(const json_t *value, int64_t now_s, struct switchover *out,
                          struct field_errors *errors, struct error *err)
{
    struct window window = {0};
    struct switchover found = {.when = SWITCHOVER_WINDOW};
    if (!json_decode_all(value, window_fields, &window, errors, err) ||
        !read_time("/not_before", window.not_before, &found.not_before_s, errors, err) ||
        !read_time("/not_after", window.not_after, &found.not_after_s, errors, err))
        return false;
    if (found.not_before_s == 0 && found.not_after_s == 0)
        return field_wrong(errors, "", "is empty", "\"not_before\", \"not_after\" or both", err);
    if (found.not_after_s && found.not_after_s <= found.not_before_s)
        return field_wrong(errors, "/not_after", "is too early", "a time after not_before", err);
    if (found.not_after_s && found.not_after_s <= now_s)
        return field_wrong(errors, "/not_after", "is over", "a time that is still to come", err);
    *out = found;
    return true;
}

bool switchover_decode(const char *text, int64_t now_s, struct switchover *out,
                       struct field_errors *errors, struct error *err)
{
    json_auto_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(value))
        return decode_window(value, now_s, out, errors, err);
    for (int i = 0; i < SWITCHOVER_WINDOW; i++) {
        if (json_is_string(value) &&
            strcmp(json_string_value(value), switchover_when_names[i]) == 0) {
            *out = (struct switchover){.when = (enum switchover_when)i};
            return true;
        }
    }
    return field_wrong(errors, "", "is something else",
                       "\"automatic\", \"manual\" or an object with not_before, not_after", err);
}
