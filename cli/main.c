/* crosspool: 0 done, 1 done but some of what was asked cannot be, 2 wrong command line or input. */
#include "cli/commands.h"
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

typedef bool command_run(const struct options *options, bool *is_whole, struct error *err);

struct command {
    const char *name;
    command_run *run;
};
static const struct command commands[] = {
    {"plan", command_plan},         {"simulate", command_simulate}, {"login", command_login},
    {"pools", command_list},        {"hosts", command_list},        {"vms", command_list},
    {"migrations", command_list},   {"evacuations", command_list},  {"migrate", command_migrate},
    {"evacuate", command_evacuate}, {"watch", command_watch},
};

static bool run(const struct options *options, bool *is_whole, struct error *err)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, options->command) == 0)
            return commands[i].run(options, is_whole, err);
    }
    return error_set(err, ERROR_INTERNAL, "command %s is not there", options->command);
}

static int fail(const struct error *err)
{
    fprintf(stderr, "crosspool: %s\n", err->text);
    return 2;
}

int main(int argc, char **argv)
{
    struct options options;
    struct error err;
    bool is_whole = true;
    if (!options_parse(&options, argc, argv, &err)) {
        fputs(options_usage, stderr);
        return fail(&err);
    }
    if (!run(&options, &is_whole, &err))
        return fail(&err);
    if (fflush(stdout) != 0) {
        error_set(&err, ERROR_INTERNAL, "cannot write to standard output");
        return fail(&err);
    }
    return is_whole ? 0 : 1;
}
