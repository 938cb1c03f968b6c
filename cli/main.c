/* crosspool: 0 done, 1 done but some of what was asked cannot be, 2 wrong command line or input. */
#include "cli/commands.h"
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

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
    bool is_done = strcmp(options.command, "plan") == 0
                       ? command_plan(&options, &is_whole, &err)
                       : command_simulate(&options, &is_whole, &err);
    if (!is_done)
        return fail(&err);
    if (fflush(stdout) != 0) {
        error_set(&err, ERROR_INTERNAL, "cannot write to standard output");
        return fail(&err);
    }
    return is_whole ? 0 : 1;
}
