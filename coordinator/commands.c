/* The commands that do one thing and end. */
#include "coordinator/commands.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "coordinator/db/db.h"
#include "coordinator/options.h"
#include "coordinator/security/audit.h"
#include "coordinator/security/ca.h"
#include "coordinator/security/certificate.h"
#include "coordinator/security/config.h"
#include "coordinator/security/scope.h"
#include "coordinator/security/token.h"
#include "coordinator/store/listing.h"
#include "coordinator/store/token_view.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TAKE_TIMEOUT_MS = 5000 };

typedef bool database_action(struct db *db, const struct options *options,
                             const struct coordinator_config *config, struct error *err);

static bool with_database(const struct options *options, const struct coordinator_config *config,
                          database_action *action, struct error *err)
{
    struct db_pool *pool = NULL;
    struct db *db = NULL;
    if (!db_pool_open(&pool, config->database, 1, err))
        return false;
    bool is_done = db_take(pool, TAKE_TIMEOUT_MS, &db, err) && action(db, options, config, err);
    db_give(db);
    db_pool_close(pool);
    return is_done;
}

static bool migrate(struct db *db, const struct options *options,
                    const struct coordinator_config *config, struct error *err)
{
    (void)options;
    int applied = 0, version = 0;
    if (!db_migrate(db, config->schema_directory, &applied, err) ||
        !db_schema_version(db, &version, err))
        return false;
    printf("schema version %d, %d applied\n", version, applied);
    return true;
}

bool command_migrate(const struct options *options, const struct coordinator_config *config,
                     struct error *err)
{
    return with_database(options, config, migrate, err);
}

bool command_init(const struct options *options, const struct coordinator_config *config,
                  struct error *err)
{
    if (!ca_init(config->state_directory, &config->names, err))
        return false;
    printf("CA and server certificate in %s\n", config->state_directory);
    return with_database(options, config, migrate, err);
}

/* Both ends of an audited change: what the store shows of the object. */
typedef bool show_function(struct db *db, const char *id, const struct coordinator_config *config,
                           char **body, struct error *err);

static bool show_token(struct db *db, const char *id, const struct coordinator_config *config,
                       char **body, struct error *err)
{
    (void)config;
    return token_view_show(db, id, body, err);
}

static bool show_host(struct db *db, const char *id, const struct coordinator_config *config,
                      char **body, struct error *err)
{
    return listing_host(db, NULL, id, config->host_lost_after_s, body, err);
}

/* The row of a change by the command line; whoever runs it as root stays whom he logged in as. */
static bool record(struct db *db, const struct options *options, const char *kind, const char *id,
                   const char *before, const char *after, struct error *err)
{
    const char *user = getenv("SUDO_USER");
    struct passwd *entry = user ? NULL : getpwuid(getuid());
    const struct audit_actor actor = {
        .kind = "cli",
        .name = user    ? user
                : entry ? entry->pw_name
                        : "unknown",
        .operation = options->command,
    };
    struct audit_change change = {0};
    audit_change_set(&change, kind, id, before, after);
    bool is_written = audit_write(db, &actor, &change, err);
    audit_change_done(&change);
    return is_written;
}

/* "90d", "12h", "30m" */
static bool read_span(const char *option, const char *text, int64_t *seconds, struct error *err)
{
    static const struct {
        char letter;
        long seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}};
    char *end = NULL;
    errno = 0;
    long count = strtol(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (errno || end == text || count < 1 || count > 100000 || end[0] != units[i].letter ||
            end[1])
            continue;
        *seconds = (int64_t)count * units[i].seconds;
        return true;
    }
    return error_set(err, ERROR_INVALID, "option %s %.20s: expected 1 to 100000 with d, h or m",
                     option, text);
}

/* So long from now, as a time. */
static bool read_end(const char *text, char out[32], struct error *err)
{
    int64_t seconds = 0;
    if (!read_span("--expires-in", text, &seconds, err))
        return false;
    time_t when = (time_t)(clock_wall_s() + seconds);
    struct tm parts;
    gmtime_r(&when, &parts);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return true;
}

static bool make_token(struct db *db, const struct options *options, char id[UUID_SIZE],
                       char text[TOKEN_TEXT_SIZE], struct error *err)
{
    auto_free char *scope = NULL;
    char end[32];
    struct token_new wanted = {.name = options->name};
    if (!token_role_parse(options->role, &wanted.role, err) ||
        (options->expires_in && !read_end(options->expires_in, end, err)) ||
        (options->pool_count && !scope_make(db, options->pools, options->pool_count, &scope, err)))
        return false;
    wanted.scope = scope;
    wanted.expires_at = options->expires_in ? end : NULL;
    return token_create(db, &wanted, id, text, err);
}

static bool create_token(struct db *db, const struct options *options,
                         const struct coordinator_config *config, struct error *err)
{
    (void)config;
    char id[UUID_SIZE], text[TOKEN_TEXT_SIZE];
    auto_free char *after = NULL;
    if (!db_begin(db, err) || !make_token(db, options, id, text, err) ||
        !token_view_show(db, id, &after, err) ||
        !record(db, options, "token", id, NULL, after, err) || !db_commit(db, err))
        return false;
    printf("%s\n", text);
    return true;
}

bool command_token_create(const struct options *options, const struct coordinator_config *config,
                          struct error *err)
{
    return with_database(options, config, create_token, err);
}

/* One object brought to an end, with its row, or nothing of it. */
struct ending {
    const char *kind;
    bool (*find)(struct db *db, const char *name, char id[UUID_SIZE], struct error *err);
    show_function *show;
    bool (*end)(struct db *db, const char *id, struct error *err);
};

static bool end_object(struct db *db, const struct options *options,
                       const struct coordinator_config *config, const struct ending *ending,
                       struct error *err)
{
    char id[UUID_SIZE];
    auto_free char *before = NULL;
    auto_free char *after = NULL;
    return db_begin(db, err) && ending->find(db, options->name, id, err) &&
           ending->show(db, id, config, &before, err) && ending->end(db, id, err) &&
           ending->show(db, id, config, &after, err) &&
           record(db, options, ending->kind, id, before, after, err) && db_commit(db, err);
}

static bool revoke_token(struct db *db, const struct options *options,
                         const struct coordinator_config *config, struct error *err)
{
    static const struct ending ending = {"token", token_find_id, show_token, token_revoke};
    return end_object(db, options, config, &ending, err);
}

bool command_token_revoke(const struct options *options, const struct coordinator_config *config,
                          struct error *err)
{
    return with_database(options, config, revoke_token, err);
}

static bool find_host(struct db *db, const char *name, char id[UUID_SIZE], struct error *err)
{
    return listing_find_host(db, NULL, name, id, err);
}

static bool revoke_host(struct db *db, const struct options *options,
                        const struct coordinator_config *config, struct error *err)
{
    static const struct ending ending = {"host", find_host, show_host, certificate_revoke_host};
    return end_object(db, options, config, &ending, err);
}

bool command_host_revoke(const struct options *options, const struct coordinator_config *config,
                         struct error *err)
{
    return with_database(options, config, revoke_host, err);
}

/* The schema's own row names the database's user only, so this one says who it was. */
static bool forget_audit(struct db *db, const struct options *options,
                         const struct coordinator_config *config, struct error *err)
{
    (void)config;
    int64_t seconds = 0, removed = 0;
    if (!read_span("--older-than", options->older_than, &seconds, err))
        return false;
    if (seconds < (int64_t)AUDIT_KEPT_DAYS * 86400)
        return error_set(err, ERROR_INVALID, "option --older-than %.20s: expected %dd or longer",
                         options->older_than, AUDIT_KEPT_DAYS);
    if (!db_begin(db, err) || !db_be_patient(db, err) || !audit_forget(db, seconds, &removed, err))
        return false;
    auto_free char *after = memory_format(
        "{\"removed\": %" PRId64 ", \"older_than_s\": %" PRId64 "}", removed, seconds);
    if (!record(db, options, "audit", "", NULL, after, err) || !db_commit(db, err))
        return false;
    printf("%" PRId64 " removed\n", removed);
    return true;
}

bool command_audit_forget(const struct options *options, const struct coordinator_config *config,
                          struct error *err)
{
    return with_database(options, config, forget_audit, err);
}
