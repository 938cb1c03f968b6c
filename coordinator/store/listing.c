/* The inventory's objects as JSON; see listing.h. */
#include "coordinator/store/listing.h"

#include <string.h>

/* `pool` is seen by this caller; `scope` is the parameter. */
#define IN_SCOPE(scope, pool) "(" scope "::uuid[] IS NULL OR " pool " = ANY (" scope "))"

/* Select lists are shared, so that a list and a single object never differ. */
#define HOST_BODY(seconds)                                                                         \
    "SELECT h.id, json_build_object('id', h.id, 'name', h.name, 'pool', h.pool_id,"                \
    " 'pool_name', p.name, 'state', CASE WHEN h.state <> 'enabled' THEN h.state"                   \
    " WHEN h.last_seen > now() - make_interval(secs => " seconds "::integer) THEN 'up'"            \
    " ELSE 'lost' END, 'in_maintenance', h.in_maintenance, 'hypervisor', h.hypervisor,"            \
    " 'accelerator', h.accelerator, 'version', h.hypervisor_version,"                              \
    " 'cpu_vendor', h.cpu_vendor, 'cpu_model', h.cpu_model, 'cpus', h.cpus,"                       \
    " 'guest_types', h.guest_types,"                                                               \
    " 'memory_bytes', h.memory_bytes, 'memory_free_bytes', h.memory_free_bytes,"                   \
    " 'link_address', h.link_address, 'link_port', h.link_port, 'links', h.links,"                 \
    " 'last_seen', h.last_seen, 'clock_offset_ms', h.clock_offset_ms,"                             \
    " 'certificate_expires_at', (SELECT max(c.expires_at)"                                         \
    "  FROM host_certificate c WHERE c.host_id = h.id AND c.revoked_at IS NULL)) AS body"          \
    " FROM host h JOIN pool p ON p.id = h.pool_id"

static const char sql_hosts[] =
    HOST_BODY("$3") " WHERE ($1::uuid IS NULL OR h.id > $1) AND " IN_SCOPE(
        "$4", "h.pool_id") " ORDER BY h.id LIMIT $2";

bool listing_hosts(struct db *db, const struct page *page, int host_lost_after_s, char **text,
                   struct error *err)
{
    struct db_text seconds = db_int(host_lost_after_s);
    return page_query(db, sql_hosts, page, 2, (const char *[]){seconds.text, page->scope}, text,
                      err);
}

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
    " WHERE ($1::uuid IS NULL OR n.id > $1) AND " IN_SCOPE("$3", "p.id") " ORDER BY n.id LIMIT $2";

bool listing_networks(struct db *db, const struct page *page, char **text, struct error *err)
{
    return page_query(db, sql_networks, page, 1, (const char *[]){page->scope}, text, err);
}

static const char sql_srs[] =
    "SELECT s.id, json_build_object('id', s.id, 'name', s.name, 'type', s.type,"
    " 'pool', p.id, 'pool_name', p.name, 'size_bytes', s.size_bytes,"
    " 'free_bytes', s.free_bytes, 'hosts', (SELECT json_agg(json_build_object('id', h.id,"
    "  'name', h.name) ORDER BY h.name) FROM sr_host sh JOIN host h ON h.id = sh.host_id"
    "  WHERE sh.sr_id = s.id)) AS body"
    " FROM sr s JOIN pool p ON p.id = s.pool_id"
    " WHERE ($1::uuid IS NULL OR s.id > $1) AND " IN_SCOPE("$3", "p.id") " ORDER BY s.id LIMIT $2";

bool listing_srs(struct db *db, const struct page *page, char **text, struct error *err)
{
    return page_query(db, sql_srs, page, 1, (const char *[]){page->scope}, text, err);
}

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

static const char sql_vms[] = VM_BODY " WHERE ($1::uuid IS NULL OR v.id > $1)"
                                      " AND ($3::text IS NULL OR v.name = $3) AND " IN_SCOPE(
                                          "$4", "v.pool_id") " ORDER BY v.id LIMIT $2";

bool listing_vms(struct db *db, const struct page *page, const char *name, char **text,
                 struct error *err)
{
    return page_query(db, sql_vms, page, 2, (const char *[]){name, page->scope}, text, err);
}

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
    " AND " IN_SCOPE("$3", "pool_id") " LIMIT 2";

bool listing_find_vm(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                     struct error *err)
{
    return find(db, sql_find_vm, "VM", "/v1/vms", scope, id_or_name, id, err);
}

static const char sql_find_pool[] =
    "SELECT id FROM pool WHERE (id = $1::uuid OR ($1 IS NULL AND name = $2))"
    " AND " IN_SCOPE("$3", "id") " LIMIT 2";

bool listing_find_pool(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                       struct error *err)
{
    return find(db, sql_find_pool, "pool", "/v1/pools", scope, id_or_name, id, err);
}

static const char sql_find_host[] =
    "SELECT id FROM host WHERE (id = $1::uuid OR ($1 IS NULL AND name = $2))"
    " AND " IN_SCOPE("$3", "pool_id") " LIMIT 2";

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
