/* Pools in the database. */
#pragma once

#include "coordinator/domain/pool_cpu.h"
#include "coordinator/store/page.h"

/* Its own parameter: the scope. Pools outside of it (NULL = all pools) do not exist for the caller.
 */
extern const struct page_list pool_list;
/* By id or name; *text (owned) is the object as JSON. */
bool pool_store_show(struct db *db, const char *scope, const char *id_or_name, char **text,
                     struct error *err) must_check;
/* What the hosts of a pool say of the guests they run. */
struct pool_cpu {
    char pool[UUID_SIZE];
    char name[LIMIT_NAME + 1];
    char vendor[33];                 /* of all its hosts; "" = they differ, or none has told */
    int hosts;                       /* that have told */
    struct pool_cpu_report *reports; /* owned: free() */
    size_t report_count;
};
/* By id or name. */
bool pool_store_cpu(struct db *db, const char *id_or_name, struct pool_cpu *out,
                    struct error *err) must_check;
/* ERROR_CONFLICT when the name is taken. */
bool pool_store_create(struct db *db, const char *name, char id[UUID_SIZE], char **text,
                       struct error *err) must_check;
