/* crosspool-coordinator: 0 done, 1 failed, 2 wrong command line or configuration. */
#include "base/log.h"
#include "coordinator/commands.h"
#include "coordinator/options.h"
#include "coordinator/security/config.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *command;
    command_function *function;
} functions[] = {
    {"run", command_run},
    {"migrate", command_migrate},
    {"init", command_init},
    {"token create", command_token_create},
    {"token revoke", command_token_revoke},
    {"host revoke", command_host_revoke},
    {"audit forget", command_audit_forget},
};

static command_function *function_of(const char *command)
{
    size_t i = 0;
    while (strcmp(functions[i].command, command) != 0)
        i++; /* options_parse lets only these pass */
    return functions[i].function;
}

static int fail(const struct error *err, int status)
{
    fprintf(stderr, "crosspool-coordinator: %s\n", err->text);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    struct coordinator_config config = {0};
    struct error err;
    log_init("crosspool-coordinator", LOG_INFO);
    if (!options_parse(&options, argc, argv, &err)) {
        fputs(options_usage, stderr);
        return fail(&err, 2);
    }
    if (!coordinator_config_read(options.config, &config, &err))
        return fail(&err, 2);
    bool is_done = function_of(options.command)(&options, &config, &err);
    coordinator_config_done(&config);
    if (is_done && fflush(stdout) == 0)
        return 0;
    if (is_done)
        error_set(&err, ERROR_INTERNAL, "cannot write to standard output");
    return fail(&err, 1);
}
