/* Times of RFC 3339; see api_is_time in api.h. Stricter than PostgreSQL, which also takes
 * "tomorrow", so that what passes here is no error there. */
#include "coordinator/api/api.h"

#include <string.h>
#include <time.h>

enum { FRACTION_DIGITS = 9, OFFSET_HOURS = 14 };

/* `count` digits, of a value of at most `most`. */
static bool read_number(const char **text, int count, int most, int *out)
{
    *out = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        *out = 10 * *out + (**text - '0');
    }
    return *out <= most;
}

static bool skip(const char **text, char wanted)
{
    bool is_there = **text == wanted;
    *text += is_there;
    return is_there;
}

/* The calendar has that day. */
static bool is_day(int year, int month, int day)
{
    struct tm parts = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    return year > 0 && month > 0 && day > 0 && timegm(&parts) != -1 && parts.tm_mday == day &&
           parts.tm_mon == month - 1;
}

static bool read_date(const char **text)
{
    int year = 0, month = 0, day = 0;
    return read_number(text, 4, 9999, &year) && skip(text, '-') &&
           read_number(text, 2, 12, &month) && skip(text, '-') && read_number(text, 2, 31, &day) &&
           is_day(year, month, day);
}

static bool read_clock(const char **text)
{
    int hour = 0, minute = 0, second = 0;
    if (!read_number(text, 2, 23, &hour) || !skip(text, ':') ||
        !read_number(text, 2, 59, &minute) || !skip(text, ':') ||
        !read_number(text, 2, 59, &second))
        return false;
    if (!skip(text, '.'))
        return true;
    size_t digits = strspn(*text, "0123456789");
    *text += digits;
    return digits >= 1 && digits <= FRACTION_DIGITS;
}

static bool read_offset(const char **text)
{
    int hours = 0, minutes = 0;
    if (skip(text, 'Z'))
        return true;
    return (skip(text, '+') || skip(text, '-')) && read_number(text, 2, OFFSET_HOURS, &hours) &&
           skip(text, ':') && read_number(text, 2, 59, &minutes);
}

bool api_is_time(const char *text)
{
    return read_date(&text) && skip(&text, 'T') && read_clock(&text) && read_offset(&text) &&
           !*text;
}
