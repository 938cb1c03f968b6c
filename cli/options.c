/* Parses the command line; see options.h. */
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CAP = 3, LIMIT_CAP = 65536 };

const char options_usage[] = "usage: crosspool plan --inventory FILE --request FILE [--json]\n"
                             "       crosspool simulate --inventory FILE --request FILE [--actual "
                             "FILE] [--cap N] [--json]\n";

static bool set_text(const char **place, const char *option, const char *value, struct error *err)
{
    if (!value)
        return error_set(err, ERROR_INVALID, "option %s needs a value", option);
    if (*place)
        return error_set(err, ERROR_INVALID, "option %s is given twice", option);
    *place = value;
    return true;
}

static bool read_cap(struct options *options, const char *text, struct error *err)
{
    char *end = NULL;
    long cap = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || cap < 1 || cap > LIMIT_CAP)
        return error_set(err, ERROR_INVALID, "--cap: expected an integer of 1 to %d", LIMIT_CAP);
    options->cap = (int)cap;
    return true;
}

static bool read_option(struct options *options, const char *option, const char *value,
                        struct error *err)
{
    bool is_simulate = strcmp(options->command, "simulate") == 0;
    if (strcmp(option, "--inventory") == 0)
        return set_text(&options->inventory, option, value, err);
    if (strcmp(option, "--request") == 0)
        return set_text(&options->request, option, value, err);
    if (is_simulate && strcmp(option, "--actual") == 0)
        return set_text(&options->actual, option, value, err);
    if (is_simulate && strcmp(option, "--cap") == 0)
        return read_cap(options, value, err);
    return error_set(err, ERROR_INVALID, "unknown option %.40s", option);
}

bool options_parse(struct options *options, int argc, char **argv, struct error *err)
{
    struct options parsed = {.command = argc > 1 ? argv[1] : "", .cap = DEFAULT_CAP};
    if (strcmp(parsed.command, "plan") != 0 && strcmp(parsed.command, "simulate") != 0)
        return error_set(err, ERROR_INVALID, "expected a command: plan or simulate");
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            parsed.is_json = true;
            continue;
        }
        if (!read_option(&parsed, argv[i], argv[i + 1], err))
            return false;
        i++;
    }
    if (!parsed.inventory || !parsed.request)
        return error_set(err, ERROR_INVALID, "option %s is missing",
                         parsed.inventory ? "--request" : "--inventory");
    *options = parsed;
    return true;
}
