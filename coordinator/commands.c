/* The commands that do one thing and end. */
#include "coordinator/commands.h"

#include "coordinator/db/db.h"
#include "coordinator/options.h"
#include "coordinator/security/ca.h"
#include "coordinator/security/certificate.h"
#include "coordinator/security/config.h"
#include "coordinator/security/token.h"

#include <stdio.h>

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

static bool create_token(struct db *db, const struct options *options,
                         const struct coordinator_config *config, struct error *err)
{
    (void)config;
    enum token_role role;
    char text[TOKEN_TEXT_SIZE];
    if (!token_role_parse(options->role, &role, err) ||
        !token_create(db, options->name, role, text, err))
        return false;
    printf("%s\n", text);
    return true;
}

bool command_token_create(const struct options *options, const struct coordinator_config *config,
                          struct error *err)
{
    return with_database(options, config, create_token, err);
}

static bool revoke_token(struct db *db, const struct options *options,
                         const struct coordinator_config *config, struct error *err)
{
    (void)config;
    return token_revoke(db, options->name, err);
}

bool command_token_revoke(const struct options *options, const struct coordinator_config *config,
                          struct error *err)
{
    return with_database(options, config, revoke_token, err);
}

static bool revoke_host(struct db *db, const struct options *options,
                        const struct coordinator_config *config, struct error *err)
{
    (void)config;
    return certificate_revoke_host(db, options->name, err);
}

bool command_host_revoke(const struct options *options, const struct coordinator_config *config,
                         struct error *err)
{
    return with_database(options, config, revoke_host, err);
}
