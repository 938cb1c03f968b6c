/* Parses the command line; see options.h. */
#include "coordinator/options.h"

#include <stddef.h>
#include <string.h>

const char options_usage[] =
    "usage: crosspool-coordinator run|migrate|init --config FILE\n"
    "       crosspool-coordinator token create --name NAME --role viewer|operator|admin\n"
    "           [--pool POOL]... [--expires-in 90d|12h|30m] --config FILE\n"
    "       crosspool-coordinator token revoke --name NAME --config FILE\n"
    "       crosspool-coordinator host revoke --name NAME --config FILE\n"
    "       crosspool-coordinator audit forget --older-than 400d --config FILE\n";

static const struct {
    const char *first, *second, *command;
    bool needs_name, needs_role, needs_age; /* a role goes with pools and an end */
} commands[] = {
    {"run", NULL, "run", false, false, false},
    {"migrate", NULL, "migrate", false, false, false},
    {"init", NULL, "init", false, false, false},
    {"token", "create", "token create", true, true, false},
    {"token", "revoke", "token revoke", true, false, false},
    {"host", "revoke", "host revoke", true, false, false},
    {"audit", "forget", "audit forget", false, false, true},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int find_command(int argc, char **argv)
{
    for (int i = 0; i < COMMANDS; i++) {
        if (argc < 2 || strcmp(argv[1], commands[i].first) != 0)
            continue;
        if (!commands[i].second || (argc > 2 && strcmp(argv[2], commands[i].second) == 0))
            return i;
    }
    return -1;
}

static bool add_pool(struct options *options, const char *pool, struct error *err)
{
    if (!pool)
        return error_set(err, ERROR_INVALID, "option --pool needs a value");
    if (options->pool_count == OPTIONS_POOLS)
        return error_set(err, ERROR_INVALID, "option --pool: expected at most %d of them",
                         OPTIONS_POOLS);
    options->pools[options->pool_count++] = pool;
    return true;
}

static bool read_option(struct options *options, const char *option, const char *value,
                        struct error *err)
{
    if (strcmp(option, "--pool") == 0)
        return add_pool(options, value, err);
    const char **place = strcmp(option, "--config") == 0       ? &options->config
                         : strcmp(option, "--name") == 0       ? &options->name
                         : strcmp(option, "--role") == 0       ? &options->role
                         : strcmp(option, "--expires-in") == 0 ? &options->expires_in
                         : strcmp(option, "--older-than") == 0 ? &options->older_than
                                                               : NULL;
    if (!place)
        return error_set(err, ERROR_INVALID, "unknown option %.40s", option);
    if (!value)
        return error_set(err, ERROR_INVALID, "option %s needs a value", option);
    if (*place)
        return error_set(err, ERROR_INVALID, "option %s is given twice", option);
    *place = value;
    return true;
}

static bool require(const char *value, bool is_needed, const char *option, struct error *err)
{
    if (is_needed && !value)
        return error_set(err, ERROR_INVALID, "option %s is missing", option);
    if (!is_needed && value)
        return error_set(err, ERROR_INVALID, "option %s does not belong to this command", option);
    return true;
}

bool options_parse(struct options *options, int argc, char **argv, struct error *err)
{
    struct options parsed = {0};
    int command = find_command(argc, argv);
    if (command < 0)
        return error_set(err, ERROR_INVALID, "expected a command");
    parsed.command = commands[command].command;
    for (int i = commands[command].second ? 3 : 2; i < argc; i += 2) {
        if (!read_option(&parsed, argv[i], argv[i + 1], err))
            return false;
    }
    if (!require(parsed.config, true, "--config", err) ||
        !require(parsed.name, commands[command].needs_name, "--name", err) ||
        !require(parsed.role, commands[command].needs_role, "--role", err) ||
        !require(parsed.older_than, commands[command].needs_age, "--older-than", err) ||
        (parsed.expires_in &&
         !require(parsed.expires_in, commands[command].needs_role, "--expires-in", err)) ||
        (parsed.pool_count &&
         !require(parsed.pools[0], commands[command].needs_role, "--pool", err)))
        return false;
    *options = parsed;
    return true;
}
