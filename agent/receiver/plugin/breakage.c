/* Faults on purpose of the broken module; see breakage.h. */
#include "agent/receiver/plugin/breakage.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static enum breakage chosen;
static int copy_ms, mirror_ms;

static const char *const breakage_names[] = {
    [BREAKAGE_NONE] = "none",   [BREAKAGE_MASK] = "mask",     [BREAKAGE_LOCK] = "lock",
    [BREAKAGE_FENCE] = "fence", [BREAKAGE_SECTOR] = "sector",
};
enum { NAME_COUNT = sizeof breakage_names / sizeof breakage_names[0] };

bool breakage_is(enum breakage kind)
{
    return chosen == kind;
}

void breakage_set(enum breakage kind, int copy_delay_ms, int mirror_delay_ms)
{
    chosen = kind;
    copy_ms = copy_delay_ms;
    mirror_ms = mirror_delay_ms;
}

static void sleep_ms(int ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
    if (ms > 0)
        nanosleep(&left, NULL);
}

void breakage_delay_copy(void)
{
    sleep_ms(copy_ms);
}

void breakage_delay_mirror(void)
{
    sleep_ms(mirror_ms);
}

static bool parse_kind(const char *value, struct error *err)
{
    for (unsigned i = 0; i < NAME_COUNT; i++) {
        if (strcmp(value, breakage_names[i]) == 0) {
            chosen = (enum breakage)i;
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "break=%s: expected mask, lock, fence or sector", value);
}

bool breakage_config(const char *key, const char *value, bool *is_mine, struct error *err)
{
    *is_mine = true;
    if (strcmp(key, "break") == 0)
        return parse_kind(value, err);
    if (strcmp(key, "copy_delay_ms") == 0)
        copy_ms = atoi(value);
    else if (strcmp(key, "mirror_delay_ms") == 0)
        mirror_ms = atoi(value);
    else
        *is_mine = false;
    return true;
}
