/* Starting and stopping the agent, in the order that the parts need each other. */
#include "agent/agent.h"

#include "agent/coordinator_client/coordinator_client.h"
#include "agent/domain_news.h"
#include "agent/inventory/domain_owners.h"
#include "agent/process/child.h"
#include "agent/steps/dispatch.h"
#include "agent/steps/readmit.h"
#include "agent/steps/step_progress.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>

enum {
    DRAIN_LIMIT_MS = 10000,
    RESTORE_LIMIT_MS = 120000,
    GO_LIMIT_MS = 15000,
    STEPS_STOP_MS = 5000, /* for steps to give up at the end of the agent */
    STOP_LIMIT_S = 12,    /* for all of it; what is not joined then is in the journal */
};

struct agent {
    const struct agent_config *config;
    int lock;
    struct journal *journal;
    struct identity *identity;
    struct link_files files;
    const struct hypervisor_driver *driver;
    struct hypervisor *hypervisor;
    struct sr_set *srs;
    struct receiver_set *receivers;
    struct step_environment environment;
    struct link_server *servers[1 + LIMIT_LINKS]; /* the link's first address, then those by name */
    struct step_engine *engine;
    struct coordinator_client *client;
    struct domain_news news;
};

static bool find_bridge(void *context, const char *network, char bridge[LIMIT_NAME + 1])
{
    const struct agent *agent = context;
    const struct inventory_network *networks = agent->config->networks.items;
    for (size_t i = 0; i < agent->config->networks.count; i++)
        if (strcmp(networks[i].name, network) == 0) {
            memcpy(bridge, networks[i].bridge, sizeof networks[i].bridge);
            return true;
        }
    return false;
}

/* One agent for each state directory: two would each take the journal for theirs. */
static bool lock_state(struct agent *agent, struct error *err)
{
    auto_free char *path = memory_format("%s/agent.lock", agent->config->state_directory);
    agent->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (agent->lock < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "cannot open %s", path);
    if (flock(agent->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    return error_set(err, ERROR_CONFLICT, "another agent runs with the state directory %s",
                     agent->config->state_directory);
}

static bool open_hypervisor(const struct agent_config *config,
                            const struct hypervisor_driver **driver, struct hypervisor **out,
                            struct error *err)
{
    json_t *options = NULL;
    *driver = hypervisor_driver_find(config->hypervisor);
    if (!*driver)
        return error_set(err, ERROR_UNSUPPORTED, "this agent has no driver for hypervisor %s",
                         config->hypervisor);
    if (!config_driver_options(config, &options, err))
        return false;
    bool ok = (*driver)->open(options, out, err);
    json_decref(options);
    return ok || error_prefix(err, "hypervisor %s", config->hypervisor);
}

static bool open_journal(const struct agent_config *config, struct journal **out, struct error *err)
{
    auto_free char *path = memory_format("%s/journal.db", config->state_directory);
    return journal_open(out, path, err);
}

static bool open_identity(struct agent *agent, struct error *err)
{
    if (!identity_open(&agent->identity, agent->config->state_directory, err))
        return false;
    log_default_host(identity_host(agent->identity));
    return true;
}

static bool open_parts(struct agent *agent, struct error *err)
{
    const struct agent_config *config = agent->config;
    if (!file_make_directory(config->state_directory, 0700, err) ||
        !file_make_directory(config->run_directory, 0700, err) || !lock_state(agent, err) ||
        !open_identity(agent, err) || !open_journal(config, &agent->journal, err) ||
        !child_start_spawner(err) ||
        !open_hypervisor(config, &agent->driver, &agent->hypervisor, err) ||
        !sr_set_open(config->srs.items, config->srs.count, &agent->srs, err))
        return false;
    const struct receiver_config receivers = {.run_directory = config->run_directory,
                                              .plugin_path = config->nbdkit_plugin,
                                              .journal = agent->journal,
                                              .srs = agent->srs};
    return receiver_set_open(&agent->receivers, &receivers, err);
}

static void set_files(struct agent *agent)
{
    agent->files = (struct link_files){.ca = identity_ca(agent->identity),
                                       .certificate = identity_certificate(agent->identity),
                                       .key = identity_key(agent->identity)};
}

static void make_environment(struct agent *agent)
{
    const struct agent_config *config = agent->config;
    agent->environment.registry = registry_new();
    agent->environment.handoff = (struct handoff_environment){
        .driver = agent->driver,
        .hypervisor = agent->hypervisor,
        .journal = agent->journal,
        .srs = agent->srs,
        .receivers = agent->receivers,
        .files = &agent->files,
        .bridge_of = find_bridge,
        .context = agent,
        .drain_limit_ms = DRAIN_LIMIT_MS,
        .restore_limit_ms = RESTORE_LIMIT_MS,
        .go_limit_ms = GO_LIMIT_MS,
    };
    agent->environment.transfer = (struct transfer_environment){
        .driver = agent->driver,
        .hypervisor = agent->hypervisor,
        .journal = agent->journal,
        .run_directory = config->run_directory,
        .state_directory = config->state_directory,
        .files = &agent->files,
        .peer_retry_limit_ms = config->peer_retry_limit_s * 1000,
    };
}

static void client_known(void *context, struct agent_poll *out)
{
    step_engine_known(((struct agent *)context)->engine, out);
}

static bool client_accept(void *context, const struct step *step, struct error *err)
{
    return step_engine_accept(((struct agent *)context)->engine, step, err);
}

static void client_cancel(void *context, const char *step)
{
    step_engine_cancel(((struct agent *)context)->engine, step);
}

static void client_settings_known(void *context, struct json_array *out)
{
    struct agent *agent = context;
    struct error err;
    if (!journal_settings_known(agent->journal, out, &err))
        log_error("settings: %s", err.text); /* they come again, which is harmless */
}

static bool client_settings(void *context, const struct transfer_settings *settings,
                            struct error *err)
{
    return step_apply_settings(&((struct agent *)context)->environment, settings, err);
}

static bool client_results(void *context, struct json_array *out, struct error *err)
{
    return step_engine_results(((struct agent *)context)->engine, out, err);
}

static bool client_reported(void *context, const char *step, struct error *err)
{
    return step_engine_reported(((struct agent *)context)->engine, step, err);
}

static int64_t client_finished(void *context)
{
    return step_engine_finished(((struct agent *)context)->engine);
}

static void client_progress(void *context, struct json_array *out)
{
    struct agent *agent = context;
    step_progress_collect(&agent->environment, agent->engine, out);
}

static void client_wait(void *context, int timeout_ms)
{
    step_engine_wait_result(((struct agent *)context)->engine, timeout_ms);
}

static void client_wake(void *context)
{
    step_engine_wake(((struct agent *)context)->engine);
}

/* Connections that begin now take the new certificate. Only this member changes, and the text it
 * held stays valid, so that a reader on another thread sees the one or the other. */
static bool client_renewed(void *context, struct error *err)
{
    struct agent *agent = context;
    __atomic_store_n(&agent->files.certificate, identity_certificate(agent->identity),
                     __ATOMIC_RELEASE);
    for (size_t i = 0; i <= agent->config->links.count; i++)
        if (!link_server_renew(agent->servers[i], &agent->files, err))
            return false;
    return true;
}

static bool start_client(struct agent *agent, struct error *err)
{
    const struct agent_config *config = agent->config;
    const struct coordinator_client_config client = {
        .coordinators = config->coordinators.items,
        .coordinator_count = config->coordinators.count,
        .identity = agent->identity,
        .journal = agent->journal,
        .inventory = {.driver = agent->driver,
                      .hypervisor = agent->hypervisor,
                      .journal = agent->journal,
                      .srs = agent->srs,
                      .networks = config->networks.items,
                      .network_count = config->networks.count,
                      .link_address = config->link.address,
                      .link_port = config->link.port,
                      .links = config->links.items,
                      .link_count = config->links.count},
        .hooks = {.context = agent,
                  .known = client_known,
                  .accept = client_accept,
                  .cancel = client_cancel,
                  .settings_known = client_settings_known,
                  .settings = client_settings,
                  .results = client_results,
                  .reported = client_reported,
                  .finished = client_finished,
                  .progress = client_progress,
                  .wait = client_wait,
                  .wake = client_wake,
                  .renewed = client_renewed},
    };
    return coordinator_client_start(&agent->client, &client, err);
}

/* After the steps go on: what they need of a domain comes before what its guest's end means. */
static bool watch_domains(struct agent *agent, struct error *err)
{
    agent->news = (struct domain_news){
        .client = agent->client, .engine = agent->engine, .journal = agent->journal};
    const struct domain_watch watch = domain_news_watch(&agent->news);
    return !agent->driver->watch || agent->driver->watch(agent->hypervisor, &watch, err);
}

static void unwatch_domains(struct agent *agent)
{
    struct error err;
    if (agent->hypervisor && agent->driver->watch &&
        !agent->driver->watch(agent->hypervisor, NULL, &err))
        log_error("%s", err.text);
}

static bool listen_all(struct agent *agent, struct error *err)
{
    const struct agent_config *config = agent->config;
    const struct inventory_link *links = config->links.items;
    if (!link_listen(&agent->servers[0], config->link.address, config->link.port, &agent->files,
                     dispatch_stream, &agent->environment, err))
        return false;
    for (size_t i = 0; i < config->links.count; i++)
        if (!link_listen(&agent->servers[i + 1], links[i].address, links[i].port, &agent->files,
                         dispatch_stream, &agent->environment, err))
            return error_prefix(err, "%s", links[i].name);
    return true;
}

/* Streams can come as soon as the port is open, so what they meet must be there before. */
static bool start(struct agent *agent, struct error *err)
{
    if (!open_parts(agent, err))
        return false;
    set_files(agent);
    make_environment(agent);
    step_engine_open(&agent->engine, agent->journal, step_handlers, &agent->environment);
    return readmit_receivers(&agent->environment, err) && listen_all(agent, err) &&
           step_engine_resume(agent->engine, err) && start_client(agent, err) &&
           watch_domains(agent, err);
}

static void close_transfers(struct step_environment *environment)
{
    struct registry *registry = environment->registry;
    char(*names)[UUID_SIZE] = NULL;
    size_t count = registry ? registry_list(registry, &names) : 0;
    for (size_t i = 0; i < count; i++) {
        struct transfer *transfer = registry_take(registry, names[i], SLOT_TRANSFER);
        if (transfer)
            transfer_close(transfer);
        step_drop_handoff_progress(environment, names[i]);
    }
    free(names);
}

/* Everything that must survive is in the journal already: this only ends what runs. */
static void stop(struct agent *agent)
{
    unwatch_domains(agent);
    coordinator_client_stop(agent->client);
    if (agent->engine && !step_engine_stop(agent->engine, STEPS_STOP_MS)) {
        log_info("a step goes on at the next start");
        _exit(0);
    }
    for (size_t i = 0; i <= LIMIT_LINKS; i++)
        link_server_close(agent->servers[i]);
    close_transfers(&agent->environment);
    registry_free(agent->environment.registry);
    step_engine_close(agent->engine);
    if (agent->receivers)
        receiver_set_close(agent->receivers);
    if (agent->srs)
        sr_set_close(agent->srs);
    if (agent->hypervisor)
        agent->driver->close(agent->hypervisor);
    journal_close(agent->journal);
    identity_close(agent->identity);
    if (agent->lock >= 0)
        close(agent->lock);
}

static void *end_in_time(void *nothing)
{
    (void)nothing;
    clock_sleep_ms(STOP_LIMIT_S * INT64_C(1000));
    log_warning("the agent ends without waiting any longer");
    _exit(0);
}

static void wait_for_signal(void)
{
    sigset_t signals;
    int number = 0;
    pthread_t guard;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    while (sigwait(&signals, &number) != 0)
        ;
    log_info("stopping on signal %d", number);
    if (pthread_create(&guard, NULL, end_in_time, NULL) == 0)
        pthread_detach(guard);
}

bool agent_run(const struct agent_config *config, struct error *err)
{
    struct agent *agent = memory_alloc(sizeof *agent);
    agent->config = config;
    agent->lock = -1;
    bool ok = start(agent, err);
    if (ok) {
        log_info("agent %s runs, link %s port %d", config->name, config->link.address,
                 config->link.port);
        wait_for_signal();
    }
    stop(agent);
    free(agent);
    return ok;
}

/* The agent may run meanwhile; the journal is then read beside it. */
static bool check_ours(const struct agent_config *config, const char *domain, struct error *err)
{
    auto_free char *path = memory_format("%s/journal.db", config->state_directory);
    struct journal *journal = NULL;
    struct domain_owners *owners = NULL;
    if (access(path, F_OK) != 0)
        return true;
    if (!journal_open(&journal, path, err))
        return false;
    bool ok = domain_owners_read(&owners, journal, err);
    journal_close(journal);
    if (ok && !domain_owners_is_ours(owners, domain))
        ok = error_set(err, ERROR_CONFLICT, "domain %s was handed to another host", domain);
    domain_owners_free(owners);
    return ok;
}

static bool boot_here(const struct agent_config *config, const struct hypervisor_driver *driver,
                      struct hypervisor *hypervisor, const char *path, struct error *err)
{
    auto_free char *text = NULL;
    char uuid[UUID_SIZE];
    if (!driver->describe(hypervisor, path, &text, uuid, err))
        return false;
    return (check_ours(config, uuid, err) && driver->boot(hypervisor, text, err)) ||
           error_prefix(err, "%s", path);
}

bool agent_boot(const struct agent_config *config, const char *domain_path, struct error *err)
{
    const struct hypervisor_driver *driver = NULL;
    struct hypervisor *hypervisor = NULL;
    if (!file_make_directory(config->state_directory, 0700, err) ||
        !file_make_directory(config->run_directory, 0700, err) || !child_start_spawner(err) ||
        !open_hypervisor(config, &driver, &hypervisor, err))
        return false;
    bool ok = boot_here(config, driver, hypervisor, domain_path, err);
    driver->close(hypervisor);
    return ok;
}
