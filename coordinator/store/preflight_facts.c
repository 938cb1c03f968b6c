/* Reads VM, source host and candidate hosts with what other migrations have reserved there; see
 * preflight_facts.h. */
#include "coordinator/store/preflight_facts.h"

#include "base/memory.h"
#include "coordinator/store/measured_rates.h"
#include "coordinator/store/word.h"

#include <stdio.h>
#include <string.h>

#define COPY(out, rows, row, column)                                                               \
    copy_text((out), sizeof(out), db_value((rows), (row), (column)))

static void copy_text(char *out, size_t size, const char *value)
{
    snprintf(out, size, "%s", value ? value : "");
}

static const char sql_vm[] =
    "SELECT v.id, v.domain_uuid, v.name, v.state, v.memory_bytes, v.vcpus, v.type, v.features, "
    "v.why_not,"
    " v.host_id, active.id AS migration"
    " FROM vm v LEFT JOIN LATERAL (SELECT m.id FROM migration m WHERE m.ended_at IS NULL"
    "  AND m.domain_uuid = v.domain_uuid AND m.id IS DISTINCT FROM $2::uuid LIMIT 1) AS active"
    " ON true WHERE v.id = $1";

static bool load_vm(struct db *db, const struct preflight_request *request,
                    struct preflight_input *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_vm, DB_PARAMS(request->vm, request->migration), &rows, err))
        return false;
    copy_text(out->vm, sizeof out->vm, request->vm);
    out->vm_exists = db_count(rows) == 1;
    if (!out->vm_exists)
        return true;
    COPY(out->domain, rows, 0, "domain_uuid");
    COPY(out->vm_name, rows, 0, "name");
    COPY(out->type, rows, 0, "type");
    COPY(out->features, rows, 0, "features");
    COPY(out->why_not, rows, 0, "why_not");
    COPY(out->active_migration, rows, 0, "migration");
    COPY(out->source.id, rows, 0, "host_id");
    out->state = (enum domain_state)word_index(domain_state_names, db_value(rows, 0, "state"));
    out->memory_bytes = (uint64_t)db_value_int(rows, 0, "memory_bytes");
    out->vcpus = (int)db_value_int(rows, 0, "vcpus");
    return true;
}

static const char sql_disks[] =
    "SELECT b.device, b.vdi_id, b.format, b.size_bytes, b.is_movable, b.why_not, s.sr_id,"
    " s.name AS sr_name, s.allocated_bytes"
    " FROM vbd b JOIN vm v ON v.id = b.vm_id"
    " LEFT JOIN LATERAL (SELECT d.sr_id, sr.name, d.allocated_bytes FROM vdi d"
    "  JOIN sr_host sh ON sh.sr_id = d.sr_id AND sh.host_id = v.host_id"
    "  JOIN sr ON sr.id = d.sr_id WHERE d.id = b.vdi_id ORDER BY sr.id LIMIT 1) AS s ON true"
    " WHERE b.vm_id = $1 ORDER BY b.position, b.device";

static bool load_disks(struct db *db, struct preflight_input *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_disks, DB_PARAMS(out->vm), &rows, err))
        return false;
    out->disk_count = (size_t)db_count(rows);
    out->disks = memory_array(out->disk_count, sizeof *out->disks);
    for (int i = 0; i < db_count(rows); i++) {
        struct preflight_disk *disk = &out->disks[i];
        COPY(disk->device, rows, i, "device");
        COPY(disk->vdi, rows, i, "vdi_id");
        COPY(disk->sr, rows, i, "sr_id");
        COPY(disk->sr_name, rows, i, "sr_name");
        COPY(disk->why_not, rows, i, "why_not");
        disk->format =
            (enum image_format)word_index(image_format_names, db_value(rows, i, "format"));
        disk->size_bytes = (uint64_t)db_value_int(rows, i, "size_bytes");
        disk->allocated_bytes = (uint64_t)db_value_int(rows, i, "allocated_bytes");
        disk->is_movable = db_value_bool(rows, i, "is_movable");
    }
    return true;
}

static const char sql_vifs[] =
    "SELECT f.mac, f.network, n.id AS network_id, n.vlan FROM vif f JOIN vm v ON v.id = f.vm_id"
    " LEFT JOIN network n ON n.host_id = v.host_id AND n.name = f.network"
    " WHERE f.vm_id = $1 ORDER BY f.position, f.mac";

static bool load_vifs(struct db *db, struct preflight_input *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_vifs, DB_PARAMS(out->vm), &rows, err))
        return false;
    out->vif_count = (size_t)db_count(rows);
    out->vifs = memory_array(out->vif_count, sizeof *out->vifs);
    for (int i = 0; i < db_count(rows); i++) {
        COPY(out->vifs[i].mac, rows, i, "mac");
        COPY(out->vifs[i].network, rows, i, "network");
        COPY(out->vifs[i].network_id, rows, i, "network_id");
        out->vifs[i].vlan = (int)db_value_int(rows, i, "vlan");
    }
    return true;
}

/* It stands before that one in the queue. */
#define BEFORE(own_id)                                                                             \
    "(SELECT (own.priority, -own.sequence) < (m.priority, -m.sequence) FROM migration own"         \
    " WHERE own.id = " own_id ")"

/* A migration m that will still take its share of host h. */
#define COMES_TO_HOST                                                                              \
    "m.destination_host_id = h.id AND m.ended_at IS NULL AND m.state <> 'cleaning'"                \
    " AND m.id IS DISTINCT FROM $3::uuid"                                                          \
    " AND (m.state <> 'queued' OR $3 IS NULL OR " BEFORE("$3") ")"

/* Memory and vCPUs are held from the moment a migration is created until its VM is in the host's
 * own figures. $1 pool or NULL, $2 host or NULL, $3 own migration or NULL, $4 seconds, $5 VM
 * object, $6 domain, $7 transfer network. */
static const char sql_hosts[] =
    "SELECT h.id, h.name, h.state = 'enabled' AS is_enabled, h.in_maintenance,"
    " (SELECT p.in_maintenance FROM pool p WHERE p.id = h.pool_id) AS is_pool_in_maintenance,"
    " h.last_seen IS NULL OR h.last_seen < now() - make_interval(secs => $4::integer) AS is_lost,"
    " h.hypervisor, h.accelerator, h.hypervisor_version, h.cpu_vendor,"
    " CASE WHEN $7 = '' THEN h.link_address ELSE l.address END AS link_address,"
    " CASE WHEN $7 = '' THEN h.link_port ELSE l.port END AS link_port,"
    " coalesce(h.cpus, 0) AS cpus, (SELECT coalesce(sum(v.vcpus), 0) FROM vm v"
    "  WHERE v.host_id = h.id AND v.is_present AND v.state IN ('running', 'paused'))"
    " + (SELECT coalesce(sum(v.vcpus), 0) FROM migration m JOIN vm v ON v.id = m.vm_id"
    "  WHERE " COMES_TO_HOST ") AS vcpus_used,"
    " h.memory_free_bytes, (SELECT sum(m.memory_bytes)::bigint FROM migration m"
    "  WHERE " COMES_TO_HOST ")"
    "  AS memory_reserved_bytes,"
    " EXISTS (SELECT FROM step s JOIN migration e ON e.id = s.migration_id"
    "  WHERE s.host_id = h.id AND s.is_live"
    "  AND s.kind = 'abort-destination' AND e.ended_at IS NOT NULL"
    "  AND e.domain_uuid = $6::uuid) AS is_not_clean,"
    " EXISTS (SELECT FROM vm v WHERE v.pool_id = h.pool_id AND v.domain_uuid = $6::uuid"
    "  AND v.id <> $5::uuid) AS has_domain"
    " FROM host h LEFT JOIN LATERAL (SELECT r.address, r.port FROM "
    "jsonb_to_recordset(h.links)"
    "  AS r(name text, address text, port integer) WHERE r.name = $7 LIMIT 1) AS l ON "
    "true"
    " WHERE ($1::uuid IS NULL OR h.pool_id = $1) AND ($2::uuid IS NULL OR h.id = $2)"
    " ORDER BY h.name";

static void read_host(const struct db_rows *rows, int i, struct preflight_host *host)
{
    COPY(host->id, rows, i, "id");
    COPY(host->name, rows, i, "name");
    COPY(host->hypervisor, rows, i, "hypervisor");
    COPY(host->accelerator, rows, i, "accelerator");
    COPY(host->version, rows, i, "hypervisor_version");
    COPY(host->cpu_vendor, rows, i, "cpu_vendor");
    COPY(host->link_address, rows, i, "link_address");
    host->link_port = (int)db_value_int(rows, i, "link_port");
    host->is_enabled = db_value_bool(rows, i, "is_enabled");
    host->in_maintenance = db_value_bool(rows, i, "in_maintenance");
    host->is_pool_in_maintenance = db_value_bool(rows, i, "is_pool_in_maintenance");
    host->is_lost = db_value_bool(rows, i, "is_lost");
    host->is_not_clean = db_value_bool(rows, i, "is_not_clean");
    host->has_domain = db_value_bool(rows, i, "has_domain");
    host->cpus = (int)db_value_int(rows, i, "cpus");
    host->vcpus_used = (int)db_value_int(rows, i, "vcpus_used");
    host->memory_free_bytes = (uint64_t)db_value_int(rows, i, "memory_free_bytes");
    host->memory_reserved_bytes = (uint64_t)db_value_int(rows, i, "memory_reserved_bytes");
}

static bool load_hosts(struct db *db, const struct preflight_request *request, const char *pool,
                       const char *host, const struct preflight_input *in, struct db_rows **rows,
                       struct error *err)
{
    struct db_text seconds = db_int(request->host_lost_after_s);
    const char *domain = in->vm_exists ? in->domain : NULL;
    return db_query(
        db, sql_hosts,
        DB_PARAMS(pool, host, request->migration, seconds.text, in->vm, domain, request->network),
        rows, err);
}

static bool load_source(struct db *db, const struct preflight_request *request,
                        struct preflight_input *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!load_hosts(db, request, NULL, out->source.id, out, &rows, err))
        return false;
    if (db_count(rows) == 1)
        read_host(rows, 0, &out->source);
    return true;
}

static bool load_candidates(struct db *db, const struct preflight_request *request,
                            struct preflight_input *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!load_hosts(db, request, request->pool, request->host, out, &rows, err))
        return false;
    out->host_count = (size_t)db_count(rows);
    out->hosts = memory_array(out->host_count, sizeof *out->hosts);
    for (int i = 0; i < db_count(rows); i++)
        read_host(rows, i, &out->hosts[i]);
    return true;
}

static struct preflight_host *find_host(struct preflight_input *in, const char *id)
{
    for (size_t i = 0; i < in->host_count; i++) {
        if (strcmp(in->hosts[i].id, id) == 0)
            return &in->hosts[i];
    }
    return NULL;
}

static const char sql_guest_types[] =
    "SELECT h.id, t.type, t.is_live, t.why_not_live, t.features FROM host h"
    " CROSS JOIN LATERAL jsonb_to_recordset(h.guest_types) AS t(type text, is_live boolean,"
    "  why_not_live text, features text)"
    " WHERE h.pool_id = $1 OR h.id = $2::uuid";

static void add_guest_type(struct preflight_host *host, const struct db_rows *rows, int i)
{
    host->guest_types =
        memory_resize(host->guest_types, host->guest_type_count + 1, sizeof *host->guest_types);
    struct inventory_guest_type *type = &host->guest_types[host->guest_type_count++];
    type->is_live = db_value_bool(rows, i, "is_live");
    COPY(type->type, rows, i, "type");
    COPY(type->why_not_live, rows, i, "why_not_live");
    COPY(type->features, rows, i, "features");
}

static bool load_guest_types(struct db *db, const char *pool, struct preflight_input *out,
                             struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    const char *source = out->source.id[0] ? out->source.id : NULL;
    if (!db_query(db, sql_guest_types, DB_PARAMS(pool, source), &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        const char *id = db_value(rows, i, "id");
        struct preflight_host *host = find_host(out, id);
        if (host)
            add_guest_type(host, rows, i);
        if (strcmp(out->source.id, id) == 0)
            add_guest_type(&out->source, rows, i);
    }
    return true;
}

static const char sql_networks[] =
    "SELECT n.host_id, n.id, n.name, n.vlan, n.why_not FROM network n"
    " JOIN host h ON h.id = n.host_id WHERE h.pool_id = $1";

static bool load_networks(struct db *db, const char *pool, struct preflight_input *out,
                          struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_networks, DB_PARAMS(pool), &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct preflight_host *host = find_host(out, db_value(rows, i, "host_id"));
        if (!host)
            continue;
        host->networks =
            memory_resize(host->networks, host->network_count + 1, sizeof *host->networks);
        struct preflight_network *network = &host->networks[host->network_count++];
        COPY(network->id, rows, i, "id");
        COPY(network->name, rows, i, "name");
        network->vlan = (int)db_value_int(rows, i, "vlan");
        COPY(network->why_not, rows, i, "why_not");
    }
    return true;
}

static const char sql_srs[] =
    "SELECT sh.host_id, s.id, s.name, s.size_bytes, s.free_bytes FROM sr s"
    " JOIN sr_host sh ON sh.sr_id = s.id WHERE s.pool_id = $1 ORDER BY s.name, s.id";

static bool load_srs(struct db *db, const char *pool, struct preflight_input *out,
                     struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_srs, DB_PARAMS(pool), &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct preflight_host *host = find_host(out, db_value(rows, i, "host_id"));
        if (!host)
            continue;
        host->srs = memory_resize(host->srs, host->sr_count + 1, sizeof *host->srs);
        struct preflight_sr *sr = &host->srs[host->sr_count++];
        *sr = (struct preflight_sr){.size_bytes = (uint64_t)db_value_int(rows, i, "size_bytes"),
                                    .free_bytes = (uint64_t)db_value_int(rows, i, "free_bytes")};
        COPY(sr->id, rows, i, "id");
        COPY(sr->name, rows, i, "name");
    }
    return true;
}

/* Disks that other migrations still write, with what their VDIs take of the SR already. */
static const char sql_reservations[] =
    "SELECT d.destination ->> 'sr' AS sr, d.destination ->> 'format' AS format, d.size_bytes,"
    " v.allocated_bytes"
    " FROM migration m CROSS JOIN LATERAL jsonb_to_recordset(m.spec -> 'disks')"
    "  AS d(size_bytes bigint, destination jsonb)"
    " LEFT JOIN vdi v ON v.sr_id = (d.destination ->> 'sr')::uuid"
    "  AND v.id = (d.destination ->> 'vdi')::uuid"
    " WHERE m.destination_pool_id = $1 AND m.ended_at IS NULL AND m.state <> 'cleaning'"
    " AND m.id IS DISTINCT FROM $2::uuid AND (m.state <> 'queued' OR $2 IS NULL OR " BEFORE(
        "$2") ")";

static void reserve(struct preflight_host *host, const char *sr, uint64_t bytes)
{
    for (size_t i = 0; i < host->sr_count; i++) {
        if (strcmp(host->srs[i].id, sr) == 0)
            host->srs[i].reserved_bytes += bytes;
    }
}

static bool load_reservations(struct db *db, const struct preflight_request *request,
                              struct preflight_input *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_reservations, DB_PARAMS(request->pool, request->migration), &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        enum image_format format =
            (enum image_format)word_index(image_format_names, db_value(rows, i, "format"));
        uint64_t room = preflight_room(format, (uint64_t)db_value_int(rows, i, "size_bytes"));
        uint64_t taken = (uint64_t)db_value_int(rows, i, "allocated_bytes");
        for (size_t k = 0; k < out->host_count && room > taken; k++)
            reserve(&out->hosts[k], db_value(rows, i, "sr"), room - taken);
    }
    return true;
}

static const char sql_pool[] = "SELECT name FROM pool WHERE id = $1";

static bool load_pool(struct db *db, const char *pool, struct preflight_input *out,
                      struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_pool, DB_PARAMS(pool), &rows, err))
        return false;
    if (db_count(rows) == 1)
        COPY(out->pool_name, rows, 0, "name");
    return true;
}

static bool load(struct db *db, const struct preflight_request *request,
                 struct preflight_input *out, struct error *err)
{
    if (!load_vm(db, request, out, err) || !load_pool(db, request->pool, out, err))
        return false;
    if (out->vm_exists && (!load_disks(db, out, err) || !load_vifs(db, out, err) ||
                           !load_source(db, request, out, err)))
        return false;
    return load_candidates(db, request, out, err) &&
           load_guest_types(db, request->pool, out, err) &&
           load_networks(db, request->pool, out, err) && load_srs(db, request->pool, out, err) &&
           load_reservations(db, request, out, err) && measured_rates_load(db, out, err);
}

bool preflight_facts_load(struct db *db, const struct preflight_request *request,
                          struct preflight_input *out, struct error *err)
{
    struct preflight_input in = {.is_host_named = request->host != NULL};
    if (!load(db, request, &in, err)) {
        preflight_input_done(&in);
        return false;
    }
    *out = in;
    return true;
}
