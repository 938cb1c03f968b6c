/* The inventory's objects as JSON; see listing.h. */
#include "coordinator/store/listing.h"

#include "coordinator/store/page_sql.h"

#include <string.h>

#define HOST_STATE(seconds)                                                                        \
    "CASE WHEN h.state <> 'enabled' THEN h.state"                                                  \
    " WHEN h.last_seen > now() - make_interval(secs => " seconds "::integer) THEN 'up'"            \
    " ELSE 'lost' END"
/* Select lists are shared, so that a list and a single object never differ. */
#define HOST_BODY(seconds)                                                                         \
    "SELECT h.id, json_build_object('id', h.id, 'name', h.name, 'pool', h.pool_id,"                \
    " 'pool_name', p.name, 'state', " HOST_STATE(                                                  \
        seconds) ", 'in_maintenance', h.in_maintenance, 'hypervisor', h.hypervisor,"               \
                 " 'accelerator', h.accelerator, 'version', h.hypervisor_version,"                 \
                 " 'cpu_vendor', h.cpu_vendor, 'cpu_model', h.cpu_model, 'cpus', h.cpus,"          \
                 " 'guest_types', h.guest_types,"                                                  \
                 " 'memory_bytes', h.memory_bytes, 'memory_free_bytes', h.memory_free_bytes,"      \
                 " 'link_address', h.link_address, 'link_port', h.link_port, 'links', h.links,"    \
                 " 'last_seen', h.last_seen, 'clock_offset_ms', h.clock_offset_ms,"                \
                 " 'certificate_expires_at', (SELECT max(c.expires_at)"                            \
                 "  FROM host_certificate c WHERE c.host_id = h.id AND c.revoked_at IS NULL)) AS " \
                 "body"                                                                            \
                 " FROM host h JOIN pool p ON p.id = h.pool_id"

static const char sql_hosts[] =
    HOST_BODY("$1") " WHERE " PAGE_IN_SCOPE("$2", "h.pool_id") " AND " PAGE_IN_POOL(
        "$3", "h.pool_id") " AND " PAGE_IS("$4",
                                           "h.name") " AND " PAGE_IS("$5",
                                                                     "(" HOST_STATE("$1") ")");
static const char *const host_states[] = {"enrolling", "up", "lost", "revoked", NULL};
static const struct page_filter host_filters[] = {
    {"pool", PAGE_TEXT, NULL},
    {"name", PAGE_TEXT, NULL},
    {"state", PAGE_WORD, host_states},
    {0},
};
static const struct page_sort host_sorts[] = {
    {"id", "h.id", "uuid"},
    {"name", "h.name", "text"},
    {"pool_name", "p.name", "text"},
    {0},
};
static const char *const host_fields[] = {"id",
                                          "name",
                                          "pool",
                                          "pool_name",
                                          "state",
                                          "in_maintenance",
                                          "hypervisor",
                                          "accelerator",
                                          "version",
                                          "cpu_vendor",
                                          "cpu_model",
                                          "cpus",
                                          "guest_types",
                                          "memory_bytes",
                                          "memory_free_bytes",
                                          "link_address",
                                          "link_port",
                                          "links",
                                          "last_seen",
                                          "clock_offset_ms",
                                          "certificate_expires_at",
                                          NULL};
const struct page_list host_list = {.name = "hosts",
                                    .sql = sql_hosts,
                                    .own = 2,
                                    .id = "h.id",
                                    .filters = host_filters,
                                    .sorts = host_sorts,
                                    .fields = host_fields};

static const char sql_host[] = HOST_BODY("$2") " WHERE h.id = $1";

bool listing_host(struct db *db, const char *scope, const char *id_or_name, int host_lost_after_s,
                  char **text, struct error *err)
{
    char id[UUID_SIZE];
    if (!listing_find_host(db, scope, id_or_name, id, err))
        return false;
    struct db_text seconds = db_int(host_lost_after_s);
    return page_one(db, sql_host, DB_PARAMS(id, seconds.text), text, err);
}

static const char sql_networks[] =
    "SELECT n.id, json_build_object('id', n.id, 'name', n.name, 'bridge', n.bridge,"
    " 'vlan', n.vlan, 'why_not', n.why_not, 'host', h.id, 'host_name', h.name,"
    " 'pool', p.id,"
    " 'pool_name', p.name) AS body"
    " FROM network n JOIN host h ON h.id = n.host_id JOIN pool p ON p.id = h.pool_id"
    " WHERE " PAGE_IN_SCOPE("$1", "p.id") " AND " PAGE_IN_POOL("$2", "p.id") " AND " PAGE_ON_HOST(
        "$3", "h.id") " AND " PAGE_IS("$4", "n.name");
static const struct page_filter network_filters[] = {
    {"pool", PAGE_TEXT, NULL},
    {"host", PAGE_TEXT, NULL},
    {"name", PAGE_TEXT, NULL},
    {0},
};
static const struct page_sort network_sorts[] = {
    {"id", "n.id", "uuid"},
    {"name", "n.name", "text"},
    {"host_name", "h.name", "text"},
    {"pool_name", "p.name", "text"},
    {0},
};
static const char *const network_fields[] = {"id",   "name",      "bridge", "why_not",   "vlan",
                                             "host", "host_name", "pool",   "pool_name", NULL};
const struct page_list network_list = {.name = "networks",
                                       .sql = sql_networks,
                                       .own = 1,
                                       .id = "n.id",
                                       .filters = network_filters,
                                       .sorts = network_sorts,
                                       .fields = network_fields};

static const char sql_srs[] =
    "SELECT s.id, json_build_object('id', s.id, 'name', s.name, 'type', s.type,"
    " 'pool', p.id, 'pool_name', p.name, 'size_bytes', s.size_bytes,"
    " 'free_bytes', s.free_bytes, 'hosts', (SELECT json_agg(json_build_object('id', h.id,"
    "  'name', h.name) ORDER BY h.name) FROM sr_host sh JOIN host h ON h.id = sh.host_id"
    "  WHERE sh.sr_id = s.id)) AS body"
    " FROM sr s JOIN pool p ON p.id = s.pool_id"
    " WHERE " PAGE_IN_SCOPE("$1", "p.id") " AND " PAGE_IN_POOL(
        "$2", "p.id") " AND ($3::text IS NULL OR s.id IN (SELECT there.sr_id FROM sr_host there"
                      "  WHERE " PAGE_ON_HOST(
                          "$3", "there.host_id") "))"
                                                 " AND " PAGE_IS("$4", "s.name") " AND " PAGE_IS(
                                                     "$5", "s.type");
static const struct page_filter sr_filters[] = {
    {"pool", PAGE_TEXT, NULL},
    {"host", PAGE_TEXT, NULL},
    {"name", PAGE_TEXT, NULL},
    {"type", PAGE_TEXT, NULL},
    {0},
};
static const struct page_sort sr_sorts[] = {
    {"id", "s.id", "uuid"},
    {"name", "s.name", "text"},
    {"pool_name", "p.name", "text"},
    {"size_bytes", "s.size_bytes", "bigint"},
    {"free_bytes", "s.free_bytes", "bigint"},
    {0},
};
static const char *const sr_fields[] = {"id",         "name",       "type",  "pool", "pool_name",
                                        "size_bytes", "free_bytes", "hosts", NULL};
const struct page_list sr_list = {.name = "srs",
                                  .sql = sql_srs,
                                  .own = 1,
                                  .id = "s.id",
                                  .filters = sr_filters,
                                  .sorts = sr_sorts,
                                  .fields = sr_fields};

#define VM_BODY                                                                                    \
    "SELECT v.id, json_build_object('id', v.id, 'name', v.name, 'domain', v.domain_uuid,"          \
    " 'pool', p.id, 'pool_name', p.name, 'host', h.id, 'host_name', h.name, 'state', v.state,"     \
    " 'memory_bytes', v.memory_bytes, 'vcpus', v.vcpus, 'type', v.type,"                           \
    " 'features', v.features, 'why_not', v.why_not, 'migration', (SELECT m.id"                     \
    "  FROM migration m WHERE m.ended_at IS NULL AND m.domain_uuid = v.domain_uuid"                \
    "  AND v.id IN (m.vm_id, m.destination_vm_id)), 'disks', coalesce((SELECT"                     \
    "  json_agg(json_build_object('device', b.device, 'vdi', b.vdi_id, 'sr', s.id,"                \
    "   'sr_name', s.name, 'format', b.format, 'size_bytes', b.size_bytes,"                        \
    "   'is_movable', b.is_movable, 'why_not', b.why_not) ORDER BY b.position)"                    \
    "  FROM vbd b LEFT JOIN LATERAL (SELECT sr.id, sr.name FROM vdi d"                             \
    "   JOIN sr_host sh ON sh.sr_id = d.sr_id AND sh.host_id = v.host_id"                          \
    "   JOIN sr ON sr.id = d.sr_id WHERE d.id = b.vdi_id ORDER BY sr.id LIMIT 1) AS s ON true"     \
    "  WHERE b.vm_id = v.id), '[]'), 'vifs', coalesce((SELECT json_agg(json_build_object("         \
    "   'mac', f.mac, 'network', n.id, 'network_name', f.network) ORDER BY f.position)"            \
    "  FROM vif f LEFT JOIN network n ON n.host_id = v.host_id AND n.name = f.network"             \
    "  WHERE f.vm_id = v.id), '[]')) AS body"                                                      \
    " FROM vm v JOIN host h ON h.id = v.host_id JOIN pool p ON p.id = v.pool_id"

static const char
    sql_vms[] =
        VM_BODY " WHERE " PAGE_IN_SCOPE("$1", "v.pool_id") " AND " PAGE_IN_POOL("$2", "v.pool_id") " AND " PAGE_ON_HOST(
            "$3",
            "v.host_id") " AND " PAGE_IS("$4",
                                         "v.name") " AND " PAGE_IS("$5",
                                                                   "v.state") " AND ($6::text IS "
                                                                              "NULL OR "
                                                                              "v.domain_uuid = "
                                                                              "$6::uuid)";
static const char *const vm_states[] = {"running", "paused", "shutdown", "crashed", "halted", NULL};
static const struct page_filter vm_filters[] = {
    {"pool", PAGE_TEXT, NULL},       {"host", PAGE_TEXT, NULL},   {"name", PAGE_TEXT, NULL},
    {"state", PAGE_WORD, vm_states}, {"domain", PAGE_UUID, NULL}, {0},
};
static const struct page_sort vm_sorts[] = {
    {"id", "v.id", "uuid"},
    {"name", "v.name", "text"},
    {"pool_name", "p.name", "text"},
    {"host_name", "h.name", "text"},
    {"state", "v.state", "text"},
    {"memory_bytes", "v.memory_bytes", "bigint"},
    {0},
};
static const char *const vm_fields[] = {"id",   "name",      "domain",  "pool",         "pool_name",
                                        "host", "host_name", "state",   "memory_bytes", "vcpus",
                                        "type", "features",  "why_not", "migration",    "disks",
                                        "vifs", NULL};
const struct page_list vm_list = {.name = "vms",
                                  .sql = sql_vms,
                                  .own = 1,
                                  .id = "v.id",
                                  .filters = vm_filters,
                                  .sorts = vm_sorts,
                                  .fields = vm_fields};

static const char sql_vm[] = VM_BODY " WHERE v.id = $1";

bool listing_vm(struct db *db, const char *scope, const char *id_or_name, char **text,
                struct error *err)
{
    char id[UUID_SIZE];
    return listing_find_vm(db, scope, id_or_name, id, err) &&
           page_one(db, sql_vm, DB_PARAMS(id), text, err);
}

/* Two rows are enough to know that a name is ambiguous. */
static bool find(struct db *db, const char *sql, const char *what, const char *list,
                 const char *scope, const char *id_or_name, char id[UUID_SIZE], struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    const char *as_id = uuid_is_valid(id_or_name) ? id_or_name : NULL;
    if (!db_query(db, sql, DB_PARAMS(as_id, id_or_name, scope), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "%s \"%.80s\" does not exist: GET %s lists them",
                         what, id_or_name, list);
    if (db_count(rows) > 1)
        return error_set(err, ERROR_CONFLICT,
                         "more than one %s is called \"%.80s\": use its id (GET %s lists them)",
                         what, id_or_name, list);
    memcpy(id, db_value(rows, 0, "id"), UUID_SIZE);
    return true;
}

static const char sql_find_vm[] =
    "SELECT id FROM vm WHERE (id = $1::uuid OR ($1 IS NULL AND name = $2))"
    " AND " PAGE_IN_SCOPE("$3", "pool_id") " LIMIT 2";

bool listing_find_vm(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                     struct error *err)
{
    return find(db, sql_find_vm, "VM", "/v1/vms", scope, id_or_name, id, err);
}

static const char sql_find_pool[] =
    "SELECT id FROM pool WHERE (id = $1::uuid OR ($1 IS NULL AND name = $2))"
    " AND " PAGE_IN_SCOPE("$3", "id") " LIMIT 2";

bool listing_find_pool(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                       struct error *err)
{
    return find(db, sql_find_pool, "pool", "/v1/pools", scope, id_or_name, id, err);
}

static const char sql_find_host[] =
    "SELECT id FROM host WHERE (id = $1::uuid OR ($1 IS NULL AND name = $2))"
    " AND " PAGE_IN_SCOPE("$3", "pool_id") " LIMIT 2";

bool listing_find_host(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                       struct error *err)
{
    return find(db, sql_find_host, "host", "/v1/hosts", scope, id_or_name, id, err);
}

static const char sql_host_in[] =
    "SELECT p.name, EXISTS (SELECT FROM host h WHERE h.id = $2 AND h.pool_id = p.id) AS is_in"
    " FROM pool p WHERE p.id = $1";

bool listing_find_host_in(struct db *db, const char *scope, const char *id_or_name,
                          const char *pool, char id[UUID_SIZE], struct error *err)
{
    char found[UUID_SIZE];
    auto_db_rows struct db_rows *rows = NULL;
    if (!listing_find_host(db, scope, id_or_name, found, err) ||
        !db_query(db, sql_host_in, DB_PARAMS(pool, found), &rows, err))
        return false;
    if (db_count(rows) == 0 || !db_value_bool(rows, 0, "is_in"))
        return error_set(err, ERROR_NOT_FOUND,
                         "pool \"%.80s\" has no host \"%.80s\": name its pool, or another host",
                         db_count(rows) ? db_value(rows, 0, "name") : pool, id_or_name);
    memcpy(id, found, UUID_SIZE);
    return true;
}
