/* The processes of the handoff test; see agents.h. */
#include "tests/threads/handoff/agents.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/x509.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIGRATION "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
#define DOMAIN    "dddddddd-dddd-4ddd-8ddd-dddddddddddd"

enum { LOOK_MS = 5, MOST_CONNECTIONS = 16 };

static void must(bool is_done, const struct error *err, const char *what)
{
    if (is_done)
        return;
    fprintf(stderr, "%s: %s\n", what, err->text);
    abort();
}

/* -- one agent */

struct agent {
    struct fixture *fixture;
    struct world *world;
    enum end end;
    struct hypervisor hypervisor;
    struct transfer transfer;
    struct receiver_set receivers;
    struct link_files files;
    struct handoff_environment environment;
    struct spec_disk disk;
    struct spec_vif vif;
    struct step step;

    struct handoff_source *source;
    pthread_mutex_t mutex;
    struct handoff_destination *destination;
    int users;
    atomic_bool is_over;
};

static bool bridge_of(void *context, const char *network, char bridge[LIMIT_NAME + 1])
{
    (void)context;
    snprintf(bridge, LIMIT_NAME + 1, "br-%s", network);
    return true;
}

static char *journal_path(const struct fixture *fixture, enum end end)
{
    return memory_format("%s/journal-%d.db", fixture->directory, end);
}

static void prepare_step(struct agent *agent, int64_t epoch)
{
    struct fixture *fixture = agent->fixture;
    struct step *step = &agent->step;
    struct migration_spec *spec = &step->spec;
    step->kind = agent->end == SOURCE ? STEP_HANDOFF : STEP_RECEIVE;
    step->epoch = epoch;
    snprintf(step->id, UUID_SIZE, "%08d-0000-4000-8000-00000000000%d", (int)epoch, agent->end);
    snprintf(spec->migration, UUID_SIZE, MIGRATION);
    snprintf(spec->domain, UUID_SIZE, DOMAIN);
    snprintf(spec->name, sizeof spec->name, "g1");
    spec->memory_bytes = 1 << 20;
    memcpy(spec->source.id, fixture->ends[SOURCE].host, UUID_SIZE);
    memcpy(spec->destination.id, fixture->ends[DESTINATION].host, UUID_SIZE);
    snprintf(spec->source.address, sizeof spec->source.address, "127.0.0.1");
    snprintf(spec->destination.address, sizeof spec->destination.address, "127.0.0.1");
    spec->source.port = 1;
    spec->destination.port = fixture->network_port;
    spec->stall_limit_ms = 2000;
    spec->parallel_disks = 1;
    snprintf(agent->disk.device, sizeof agent->disk.device, "vda");
    agent->disk.size_bytes = 1 << 20;
    memcpy(agent->disk.source.sr, DOMAIN, UUID_SIZE);
    memcpy(agent->disk.source.vdi, DOMAIN, UUID_SIZE);
    agent->disk.destination = agent->disk.source;
    snprintf(agent->vif.mac, sizeof agent->vif.mac, "52:54:00:00:00:01");
    snprintf(agent->vif.source_network, sizeof agent->vif.source_network, "lan");
    snprintf(agent->vif.destination_network, sizeof agent->vif.destination_network, "lan-b");
    spec->disks = (struct json_array){.items = &agent->disk, .count = 1};
    spec->vifs = (struct json_array){.items = &agent->vif, .count = 1};
}

static void prepare(struct agent *agent, int64_t epoch)
{
    struct fixture *fixture = agent->fixture;
    const struct identity *identity = &fixture->ends[agent->end];
    struct error err;
    bool is_new = false;
    char *path = journal_path(fixture, agent->end);
    must(journal_open(&agent->environment.journal, path, &err), &err, path);
    free(path);
    agent->hypervisor = (struct hypervisor){.world = agent->world,
                                            .end = agent->end,
                                            .journal = agent->environment.journal,
                                            .migration = MIGRATION};
    agent->transfer.world = agent->receivers.world = agent->world;
    agent->files = (struct link_files){fixture->ca, identity->certificate, identity->key};
    agent->environment.driver = &world_driver;
    agent->environment.hypervisor = &agent->hypervisor;
    agent->environment.receivers = &agent->receivers;
    agent->environment.files = &agent->files;
    agent->environment.bridge_of = bridge_of;
    agent->environment.drain_limit_ms = 10000;
    agent->environment.restore_limit_ms = 10000;
    agent->environment.go_limit_ms = 5000;
    prepare_step(agent, epoch);
    must(journal_accept_step(agent->environment.journal, &agent->step, &is_new, &err), &err,
         "step");
}

static void end_step(struct agent *agent, const struct step_result *result)
{
    agent->world->result[agent->end] = *result;
    agent->world->has_result[agent->end] = true;
}

/* The orders of the test, as the coordinator's would come. */
static void *watch_orders(void *context)
{
    struct agent *agent = context;
    struct world *world = agent->world;
    while (!agent->is_over) {
        pthread_mutex_lock(&agent->mutex);
        if (agent->source && world->cancel[SOURCE])
            handoff_source_cancel(agent->source);
        if (agent->source && world->stop_source)
            handoff_source_stop(agent->source);
        if (agent->source && world->conclude != VERDICT_NONE)
            handoff_source_conclude(agent->source, agent->step.epoch,
                                    (enum handoff_verdict)world->conclude);
        if (agent->destination && world->cancel[DESTINATION])
            handoff_destination_cancel(agent->destination);
        pthread_mutex_unlock(&agent->mutex);
        clock_sleep_ms(LOOK_MS);
    }
    return NULL;
}

static void run_source(struct agent *agent)
{
    struct step_result result = {0};
    struct handoff_source *source = NULL;
    struct error err;
    pthread_t watcher;
    must(handoff_source_open(&source, &agent->environment, &agent->step, &agent->transfer, &err),
         &err, "source");
    pthread_mutex_lock(&agent->mutex);
    agent->source = source;
    pthread_mutex_unlock(&agent->mutex);
    pthread_create(&watcher, NULL, watch_orders, agent);
    bool is_known = handoff_source_run(source, &result, &err);
    agent->is_over = true;
    pthread_join(watcher, NULL);
    struct migration_progress progress = {0};
    handoff_source_progress(source, &progress);
    handoff_source_close(source);
    if (is_known)
        end_step(agent, &result);
}

static void on_stream(void *context, struct link_stream *stream, const char *peer_host,
                      const struct link_hello *hello)
{
    struct agent *agent = context;
    struct error why;
    pthread_mutex_lock(&agent->mutex);
    struct handoff_destination *destination = agent->destination;
    agent->users += destination != NULL;
    pthread_mutex_unlock(&agent->mutex);
    if (hello->channel == LINK_CONTROL) {
        handoff_answer_verdict(&agent->environment, destination, stream, peer_host, hello);
    } else if (destination) {
        handoff_destination_serve(destination, stream, peer_host, hello);
    } else {
        error_set(&why, ERROR_UNREACHABLE, "no step receives here");
        link_refuse(stream, &why);
        link_close(stream);
    }
    pthread_mutex_lock(&agent->mutex);
    agent->users -= destination != NULL;
    pthread_mutex_unlock(&agent->mutex);
}

static void withdraw_destination(struct agent *agent)
{
    bool is_used = true;
    while (is_used) {
        pthread_mutex_lock(&agent->mutex);
        agent->destination = NULL;
        is_used = agent->users > 0;
        pthread_mutex_unlock(&agent->mutex);
        clock_sleep_ms(LOOK_MS);
    }
}

/* A receive step that cannot even begin ends as failed, without a verdict. */
static bool receive(struct agent *agent)
{
    struct step_result result = {0};
    struct handoff_destination *destination = NULL;
    struct error err;
    if (!handoff_destination_open(&destination, &agent->environment, &agent->step, &err)) {
        end_step(agent, &result);
        return false;
    }
    pthread_mutex_lock(&agent->mutex);
    agent->destination = destination;
    pthread_mutex_unlock(&agent->mutex);
    bool is_known = handoff_destination_run(destination, &result, &err);
    withdraw_destination(agent);
    handoff_destination_close(destination);
    if (is_known)
        end_step(agent, &result);
    return is_known;
}

static void run_destination(struct agent *agent)
{
    struct link_server *server = NULL;
    struct error err;
    pthread_t watcher;
    int64_t deadline = clock_monotonic_ms() + 5000; /* for the port of a killed one */
    while (!link_listen(&server, "127.0.0.1", agent->fixture->destination_port, &agent->files,
                        on_stream, agent, &err)) {
        must(clock_monotonic_ms() < deadline, &err, "listen");
        clock_sleep_ms(LOOK_MS);
    }
    pthread_create(&watcher, NULL, watch_orders, agent);
    receive(agent);
    while (!agent->world->end_destination)
        clock_sleep_ms(LOOK_MS);
    agent->is_over = true;
    pthread_join(watcher, NULL);
    link_server_close(server);
}

pid_t agent_start(struct fixture *fixture, enum end end, int64_t epoch, bool has_failpoints)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    unsetenv("CROSSPOOL_FAILPOINTS");
    if (has_failpoints) {
        char *folder = memory_format("%s/fp-%d", fixture->directory, end);
        setenv("CROSSPOOL_FAILPOINTS", folder, 1);
        free(folder);
    }
    struct agent agent = {.fixture = fixture, .world = fixture->world, .end = end};
    pthread_mutex_init(&agent.mutex, NULL);
    prepare(&agent, epoch);
    if (end == SOURCE)
        run_source(&agent);
    else
        run_destination(&agent);
    journal_close(agent.environment.journal);
    fflush(NULL);
    exit(0);
}

struct handoff_record agent_record(const struct fixture *fixture, enum end end)
{
    struct handoff_record record;
    struct journal *journal = NULL;
    struct error err;
    char *path = journal_path(fixture, end);
    must(journal_open(&journal, path, &err) &&
             journal_get_handoff(journal, MIGRATION, end == SOURCE ? ROLE_SOURCE : ROLE_DESTINATION,
                                 &record, &err),
         &err, path);
    journal_close(journal);
    free(path);
    return record;
}

/* -- the network: a process that passes bytes on, until it is told to cut or to fall silent */

struct connection {
    int fds[2];
    bool is_silent;
};

static void close_connection(struct connection *connection)
{
    close(connection->fds[0]);
    close(connection->fds[1]);
    *connection = (struct connection){.fds = {-1, -1}};
}

static void pass(struct connection *connection, int from)
{
    static char data[1 << 16];
    ssize_t got = recv(connection->fds[from], data, sizeof data, 0);
    if (got <= 0 || send(connection->fds[!from], data, (size_t)got, MSG_NOSIGNAL) != got)
        close_connection(connection);
}

static void take_connection(struct connection *connections, int listener, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct connection *connection = connections;
    while (connection < connections + MOST_CONNECTIONS - 1 && connection->fds[0] >= 0)
        connection++;
    if (connection->fds[0] >= 0)
        close_connection(connection);
    connection->fds[0] = accept(listener, NULL, NULL);
    connection->fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    connection->is_silent = false;
    if (connect(connection->fds[1], (struct sockaddr *)&address, sizeof address) < 0)
        close_connection(connection);
}

static void obey(struct connection *connections, enum network order)
{
    for (int i = 0; i < MOST_CONNECTIONS; i++) {
        if (connections[i].fds[0] >= 0 && order == NETWORK_CUT)
            close_connection(&connections[i]);
        connections[i].is_silent = connections[i].is_silent || order == NETWORK_SILENT;
    }
}

static void run_network(struct fixture *fixture, int listener)
{
    struct connection connections[MOST_CONNECTIONS];
    int obeyed = 0;
    for (int i = 0; i < MOST_CONNECTIONS; i++)
        connections[i] = (struct connection){.fds = {-1, -1}};
    for (;;) {
        struct pollfd polls[2 * MOST_CONNECTIONS + 1];
        for (int i = 0; i < 2 * MOST_CONNECTIONS; i++) {
            const struct connection *connection = &connections[i / 2];
            polls[i] = (struct pollfd){.fd = connection->is_silent ? -1 : connection->fds[i % 2],
                                       .events = POLLIN};
        }
        polls[2 * MOST_CONNECTIONS] = (struct pollfd){.fd = listener, .events = POLLIN};
        poll(polls, 2 * MOST_CONNECTIONS + 1, LOOK_MS);
        for (int i = 0; i < 2 * MOST_CONNECTIONS; i++)
            if (polls[i].revents && connections[i / 2].fds[i % 2] == polls[i].fd)
                pass(&connections[i / 2], i % 2);
        if (polls[2 * MOST_CONNECTIONS].revents)
            take_connection(connections, listener, fixture->destination_port);
        if (obeyed == fixture->world->network_orders)
            continue;
        int order = fixture->world->network_orders;
        obey(connections, (enum network)fixture->world->network);
        fixture->world->network_obeyed = obeyed = order;
    }
}

void network_order(struct fixture *fixture, enum network order)
{
    fixture->world->network = order;
    fixture->world->network_orders++;
    while (fixture->world->network_obeyed != fixture->world->network_orders)
        clock_sleep_ms(LOOK_MS);
}

/* -- the fixture */

static int listen_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        abort();
    *port = ntohs(address.sin_port);
    return fd;
}

static void make_identity(struct fixture *fixture, const char *ca_key, const char *host,
                          struct identity *out)
{
    struct x509_issue issue = {.purpose = X509_FOR_HOST, .common_name = host, .days = 2};
    struct error err;
    char *request = NULL;
    char *serial = NULL;
    snprintf(out->host, UUID_SIZE, "%s", host);
    must(x509_make_key(&out->key, &err) && x509_make_request(out->key, host, &request, &err) &&
             x509_issue(fixture->ca, ca_key, request, &issue, &out->certificate, &serial, &err),
         &err, "certificate");
    free(request);
    free(serial);
}

void fixture_open(struct fixture *fixture)
{
    struct error err;
    char *ca_key = NULL;
    *fixture = (struct fixture){.world = world_make()};
    must(x509_make_key(&ca_key, &err) && x509_make_ca(ca_key, "test", 2, &fixture->ca, &err), &err,
         "CA");
    make_identity(fixture, ca_key, "11111111-1111-4111-8111-111111111111", &fixture->ends[SOURCE]);
    make_identity(fixture, ca_key, "22222222-2222-4222-8222-222222222222",
                  &fixture->ends[DESTINATION]);
    free(ca_key);
    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/crosspool-handoff-XXXXXX");
    if (!mkdtemp(fixture->directory))
        abort();
    int listener = listen_somewhere(&fixture->network_port);
    close(listen_somewhere(&fixture->destination_port));
    fixture->network = fork();
    if (fixture->network == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run_network(fixture, listener);
    }
    close(listener);
}

void fixture_close(struct fixture *fixture)
{
    struct error err;
    kill(fixture->network, SIGKILL);
    waitpid(fixture->network, NULL, 0);
    must(file_remove_tree(fixture->directory, &err), &err, fixture->directory);
    for (int i = 0; i < 2; i++) {
        free(fixture->ends[i].key);
        free(fixture->ends[i].certificate);
    }
    free(fixture->ca);
}
