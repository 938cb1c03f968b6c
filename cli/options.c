/* Parses the command line; see options.h. */
#include "cli/options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CAP = 3, LIMIT_CAP = 65536 };

const char options_usage[] =
    "usage: crosspool plan --inventory FILE --request FILE [--json]\n"
    "       crosspool simulate --inventory FILE --request FILE [--actual FILE] [--cap N] [--json]\n"
    "       crosspool login --url URL --ca FILE [--token-file FILE]\n"
    "       crosspool pools|hosts|vms|migrations|evacuations [--json]\n"
    "       crosspool migrate --vm VM --pool POOL [--host HOST] [--mapping FILE]\n"
    "                         [--mapping-set SET] [--dry-run] [--json]\n"
    "       crosspool evacuate --request FILE [--dry-run] [--json]\n"
    "       crosspool watch migrations|evacuations ID\n"
    "The token is read from the file or from standard input, never from the command line.\n";

/* What a command takes and must have: names of options, each between spaces. */
struct shape {
    const char *command;
    int words;
    const char *takes, *needs;
};
static const struct shape shapes[] = {
    {"plan", 0, " --inventory --request --json ", " --inventory --request "},
    {"simulate", 0, " --inventory --request --json --actual --cap ", " --inventory --request "},
    {"login", 0, " --url --ca --token-file ", " --url --ca "},
    {"pools", 0, " --json ", " "},
    {"hosts", 0, " --json ", " "},
    {"vms", 0, " --json ", " "},
    {"migrations", 0, " --json ", " "},
    {"evacuations", 0, " --json ", " "},
    {"migrate", 0, " --vm --pool --host --mapping --mapping-set --dry-run --json ",
     " --vm --pool "},
    {"evacuate", 0, " --request --dry-run --json ", " --request "},
    {"watch", 2, " ", " "},
};

struct text_option {
    const char *name;
    size_t offset;
};
static const struct text_option text_options[] = {
    {"--inventory", offsetof(struct options, inventory)},
    {"--request", offsetof(struct options, request)},
    {"--actual", offsetof(struct options, actual)},
    {"--url", offsetof(struct options, url)},
    {"--ca", offsetof(struct options, ca)},
    {"--token-file", offsetof(struct options, token_file)},
    {"--vm", offsetof(struct options, vm)},
    {"--pool", offsetof(struct options, pool)},
    {"--host", offsetof(struct options, host)},
    {"--mapping", offsetof(struct options, mapping)},
    {"--mapping-set", offsetof(struct options, mapping_set)},
};
enum { TEXT_OPTIONS = sizeof text_options / sizeof *text_options };

static bool is_in(const char *list, const char *option)
{
    size_t length = strlen(option);
    for (const char *p = strstr(list, option); p; p = strstr(p + 1, option)) {
        if (p[-1] == ' ' && p[length] == ' ')
            return true;
    }
    return false;
}

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

static const char **place_of(struct options *options, const struct text_option *option)
{
    return (const char **)(void *)((char *)options + option->offset);
}

/* Reads the option at argv[*at], and its value. */
static bool read_option(struct options *options, const struct shape *shape, char **argv, int *at,
                        struct error *err)
{
    const char *option = argv[*at];
    if (option[0] != '-' || !is_in(shape->takes, option))
        return error_set(err, ERROR_INVALID, "unknown option %.40s", option);
    if (strcmp(option, "--json") == 0 || strcmp(option, "--dry-run") == 0) {
        *(option[2] == 'j' ? &options->is_json : &options->is_dry_run) = true;
        return true;
    }
    const char *value = argv[++*at];
    if (strcmp(option, "--cap") == 0)
        return read_cap(options, value, err);
    for (int i = 0; i < TEXT_OPTIONS; i++) {
        if (strcmp(text_options[i].name, option) == 0)
            return set_text(place_of(options, &text_options[i]), option, value, err);
    }
    return error_set(err, ERROR_INTERNAL, "option %s is not read", option);
}

static bool check_needs(struct options *options, const struct shape *shape, struct error *err)
{
    for (int i = 0; i < TEXT_OPTIONS; i++) {
        const struct text_option *option = &text_options[i];
        if (is_in(shape->needs, option->name) && !*place_of(options, option))
            return error_set(err, ERROR_INVALID, "option %s is missing", option->name);
    }
    return options->word_count == shape->words ||
           error_set(err, ERROR_INVALID, "%s: expected %d words behind it, not %d", shape->command,
                     shape->words, options->word_count);
}

static const struct shape *find_shape(const char *command)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].command, command) == 0)
            return &shapes[i];
    }
    return NULL;
}

bool options_parse(struct options *options, int argc, char **argv, struct error *err)
{
    struct options parsed = {.command = argc > 1 ? argv[1] : "", .cap = DEFAULT_CAP};
    const struct shape *shape = find_shape(parsed.command);
    if (!shape)
        return error_set(err, ERROR_INVALID, "expected a command: plan, simulate, login ...");
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] != '-' && parsed.word_count < shape->words) {
            parsed.words[parsed.word_count++] = argv[i];
            continue;
        }
        if (!read_option(&parsed, shape, argv, &i, err))
            return false;
    }
    if (!check_needs(&parsed, shape, err))
        return false;
    *options = parsed;
    return true;
}
