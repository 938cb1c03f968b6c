/* crosspool-agent: 0 done, 1 failed, 2 wrong command line or configuration. */
#include "agent/agent.h"

#include "agent/coordinator_client/enrolment.h"
#include "base/cleanup.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct options {
    const char *command;
    const char *config;
    const char *token_file;
    const char *domain;
};

static const char usage[] =
    "usage: crosspool-agent run | enrol --token-file FILE | boot DOMAIN, each with --config "
    "FILE";

static bool take_word(struct options *options, const char *word, struct error *err)
{
    if (word[0] == '-')
        return error_set(err, ERROR_INVALID, "unknown option %s; %s", word, usage);
    if (!options->command)
        options->command = word;
    else if (!options->domain)
        options->domain = word;
    else
        return error_set(err, ERROR_INVALID, "\"%s\" is one word too many; %s", word, usage);
    return true;
}

static bool read_words(struct options *options, int count, char **words, struct error *err)
{
    for (int i = 1; i < count; i++) {
        bool is_config = strcmp(words[i], "--config") == 0;
        bool is_token = strcmp(words[i], "--token-file") == 0;
        if (!is_config && !is_token) {
            if (!take_word(options, words[i], err))
                return false;
            continue;
        }
        const char **value = is_config ? &options->config : &options->token_file;
        if (i + 1 == count || *value)
            return error_set(err, ERROR_INVALID, "%s: expected once, with a value; %s", words[i],
                             usage);
        *value = words[++i];
    }
    return true;
}

static bool is_command(const struct options *options, const char *word)
{
    return options->command && strcmp(options->command, word) == 0;
}

static bool check(const struct options *options, struct error *err)
{
    const char *command = options->command ? options->command : "";
    bool is_run = is_command(options, "run");
    bool is_enrol = is_command(options, "enrol");
    bool is_boot = is_command(options, "boot");
    if (!is_run && !is_enrol && !is_boot)
        return error_set(err, ERROR_INVALID, "expected run, enrol or boot, not \"%s\"; %s", command,
                         usage);
    if (!options->config)
        return error_set(err, ERROR_INVALID, "%s: --config FILE is missing; %s", command, usage);
    if (is_enrol != (options->token_file != NULL))
        return error_set(err, ERROR_INVALID,
                         "%s: --token-file goes with enrol, and enrol needs it; %s", command,
                         usage);
    if (is_boot != (options->domain != NULL))
        return error_set(err, ERROR_INVALID, "%s: DOMAIN goes with boot, and boot needs it; %s",
                         command, usage);
    return true;
}

/* The token comes by a file: everybody on the host can read a command line. */
static bool enrol(const struct agent_config *config, const char *token_file, struct error *err)
{
    auto_free char *token = NULL;
    if (!enrolment_read_token(token_file, &token, err))
        return false;
    bool ok = enrolment_run(config->coordinators.items, config->coordinators.count,
                            config->state_directory, token, err);
    explicit_bzero(token, strlen(token));
    return ok;
}

static bool execute(const struct options *options, const struct agent_config *config,
                    struct error *err)
{
    if (is_command(options, "run"))
        return agent_run(config, err);
    if (is_command(options, "boot"))
        return agent_boot(config, options->domain, err);
    return enrol(config, options->token_file, err);
}

/* In every thread: the main thread waits for these, and a peer that is gone is an error of a
 * write. */
static void block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int fail(const struct error *err, int status)
{
    fprintf(stderr, "crosspool-agent: %s\n", err->text);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct agent_config config = {0};
    struct error err;
    log_init("crosspool-agent", LOG_INFO);
    if (!read_words(&options, argc, argv, &err) || !check(&options, &err) ||
        !config_load(options.config, &config, &err))
        return fail(&err, 2);
    if (is_command(&options, "run"))
        block_signals();
    bool is_done = execute(&options, &config, &err);
    config_done(&config);
    return is_done ? 0 : fail(&err, 1);
}
