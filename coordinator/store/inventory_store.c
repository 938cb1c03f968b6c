/* Applies an inventory: the report goes to PostgreSQL as one JSON value, and each table is brought
 * to it by an upsert that leaves equal rows alone and a delete of what is gone.
 *
 * VM objects keep their ids. Reports race with handoffs, so:
 *   - the active migrations of the host are locked first: a commit comes wholly before or after;
 *   - a domain that arrives by a migration gets the id chosen for it, whether or not the commit is
 *     known yet;
 *   - a domain that has left by one is not taken for this host's any more until its migration ends;
 *   - a VM that is under way is not removed when neither host lists it for a moment. */
#include "coordinator/store/inventory_store.h"

#include "base/cleanup.h"
#include "coordinator/db/db_array.h"

#include <string.h>

static const char sql_lock_host[] =
    "SELECT inventory_generation FROM host WHERE id = $1 FOR NO KEY UPDATE";

static const char sql_lock_migrations[] =
    "SELECT id FROM migration"
    " WHERE ended_at IS NULL AND (source_host_id = $1 OR destination_host_id = $1)"
    " ORDER BY id FOR SHARE";

static const char sql_host[] =
    "UPDATE host SET hypervisor = r.hypervisor, accelerator = r.accelerator,"
    " hypervisor_version = r.version, cpu_vendor = r.cpu_vendor, cpu_model = r.cpu_model,"
    " cpus = r.cpus, memory_bytes = r.memory_bytes, memory_free_bytes = r.memory_free_bytes,"
    " link_address = r.link_address, link_port = r.link_port,"
    " guest_types = r.guest_types, links = r.links, inventory_generation = $3"
    " FROM jsonb_to_record($2::jsonb) AS r(hypervisor text, accelerator text, version text,"
    " cpu_vendor text, cpu_model text, cpus integer, memory_bytes bigint,"
    " memory_free_bytes bigint, link_address text, link_port integer,"
    " guest_types jsonb, links jsonb)"
    " WHERE host.id = $1";

static const char sql_networks[] =
    "INSERT INTO network (host_id, name, bridge, vlan, why_not)"
    " SELECT DISTINCT ON (r.name) $1::uuid, r.name, r.bridge, nullif(r.vlan, 0),"
    "  coalesce(r.why_not, '')"
    " FROM jsonb_to_recordset($2::jsonb -> 'networks')"
    "  AS r(name text, bridge text, vlan integer, why_not text)"
    " ORDER BY r.name"
    " ON CONFLICT (host_id, name) DO UPDATE SET bridge = excluded.bridge, vlan = excluded.vlan,"
    " why_not = excluded.why_not"
    " WHERE (network.bridge, network.vlan, network.why_not)"
    "  IS DISTINCT FROM (excluded.bridge, excluded.vlan, excluded.why_not)";

static const char sql_networks_gone[] =
    "DELETE FROM network WHERE host_id = $1 AND name NOT IN"
    " (SELECT r.name FROM jsonb_to_recordset($2::jsonb -> 'networks') AS r(name text))";

/* An SR id that another pool reported first stays with that pool. */
static const char sql_srs[] =
    "INSERT INTO sr (id, pool_id, name, type, size_bytes, free_bytes)"
    " SELECT DISTINCT ON (r.id) r.id, h.pool_id, r.name, r.type, r.size_bytes, r.free_bytes"
    " FROM jsonb_to_recordset($2::jsonb -> 'srs') AS r(id uuid, name text, type text,"
    " size_bytes bigint, free_bytes bigint)"
    " JOIN host h ON h.id = $1 ORDER BY r.id"
    " ON CONFLICT (id) DO UPDATE SET name = excluded.name, type = excluded.type,"
    " size_bytes = excluded.size_bytes, free_bytes = excluded.free_bytes"
    " WHERE sr.pool_id = excluded.pool_id AND (sr.name, sr.type, sr.size_bytes, sr.free_bytes)"
    " IS DISTINCT FROM (excluded.name, excluded.type, excluded.size_bytes, excluded.free_bytes)";

static const char sql_sr_hosts[] =
    "INSERT INTO sr_host (sr_id, host_id)"
    " SELECT DISTINCT sr.id, h.id"
    " FROM jsonb_to_recordset($2::jsonb -> 'srs') AS r(id uuid)"
    " JOIN host h ON h.id = $1 JOIN sr ON sr.id = r.id AND sr.pool_id = h.pool_id"
    " ON CONFLICT DO NOTHING";

static const char sql_sr_hosts_gone[] =
    "DELETE FROM sr_host WHERE host_id = $1 AND sr_id NOT IN"
    " (SELECT r.id FROM jsonb_to_recordset($2::jsonb -> 'srs') AS r(id uuid))";

static const char sql_srs_gone[] =
    "DELETE FROM sr USING host h WHERE h.id = $1 AND sr.pool_id = h.pool_id"
    " AND sr.id NOT IN (SELECT r.id FROM jsonb_to_recordset($2::jsonb -> 'srs') AS r(id uuid))"
    " AND NOT EXISTS (SELECT FROM sr_host WHERE sr_host.sr_id = sr.id)";

static const char sql_vdis[] =
    "INSERT INTO vdi (sr_id, id, format, size_bytes, allocated_bytes)"
    " SELECT DISTINCT ON (sh.sr_id, v.id) sh.sr_id, v.id, v.format, v.size_bytes,"
    " v.allocated_bytes"
    " FROM jsonb_to_recordset($2::jsonb -> 'srs') AS r(id uuid, vdis jsonb)"
    " JOIN sr_host sh ON sh.host_id = $1 AND sh.sr_id = r.id"
    " CROSS JOIN LATERAL jsonb_to_recordset(r.vdis) AS v(id uuid, format text,"
    " size_bytes bigint, allocated_bytes bigint)"
    " ORDER BY sh.sr_id, v.id"
    " ON CONFLICT (sr_id, id) DO UPDATE SET format = excluded.format,"
    " size_bytes = excluded.size_bytes, allocated_bytes = excluded.allocated_bytes"
    " WHERE (vdi.format, vdi.size_bytes, vdi.allocated_bytes)"
    " IS DISTINCT FROM (excluded.format, excluded.size_bytes, excluded.allocated_bytes)";

/* MATERIALIZED keeps the ids alone: joined in place, each row would drag the whole list along. */
static const char sql_vdis_gone[] =
    "WITH reported AS MATERIALIZED (SELECT r.id AS sr_id, v.id"
    " FROM jsonb_to_recordset($2::jsonb -> 'srs') AS r(id uuid, vdis jsonb)"
    " CROSS JOIN LATERAL jsonb_to_recordset(r.vdis) AS v(id uuid))"
    " DELETE FROM vdi USING sr_host sh WHERE sh.host_id = $1 AND vdi.sr_id = sh.sr_id"
    " AND NOT EXISTS (SELECT FROM reported p WHERE p.sr_id = vdi.sr_id AND p.id = vdi.id)";

static const char sql_vms[] =
    "INSERT INTO vm (id, pool_id, host_id, domain_uuid, name, state, memory_bytes, vcpus, type,"
    " features, why_not)"
    " SELECT DISTINCT ON (r.uuid) coalesce(arriving.id, gen_random_uuid()), h.pool_id, h.id,"
    " r.uuid, r.name, r.state, r.memory_bytes, r.vcpus, r.type, r.features, r.why_not"
    " FROM jsonb_to_recordset($2::jsonb -> 'domains') AS r(uuid uuid, name text, state text,"
    " memory_bytes bigint, vcpus integer, type text, features text, why_not text)"
    " JOIN host h ON h.id = $1"
    " LEFT JOIN LATERAL (SELECT m.destination_vm_id AS id FROM migration m"
    "  WHERE m.domain_uuid = r.uuid AND m.destination_host_id = h.id"
    "  AND m.state IN ('handing_off', 'cleaning', 'succeeded')"
    "  ORDER BY m.sequence DESC LIMIT 1) AS arriving ON true"
    " WHERE NOT EXISTS (SELECT FROM migration m WHERE m.ended_at IS NULL"
    "  AND m.source_host_id = h.id AND m.domain_uuid = r.uuid AND (m.state = 'cleaning'"
    "  OR EXISTS (SELECT FROM vm t WHERE t.id = m.destination_vm_id"
    "   AND t.host_id = m.destination_host_id)))"
    " ORDER BY r.uuid"
    " ON CONFLICT (pool_id, domain_uuid) DO UPDATE SET host_id = excluded.host_id,"
    " name = excluded.name, state = excluded.state, memory_bytes = excluded.memory_bytes,"
    " vcpus = excluded.vcpus, type = excluded.type, features = excluded.features,"
    " why_not = excluded.why_not, is_present = true"
    " WHERE (vm.host_id, vm.name, vm.state, vm.memory_bytes, vm.vcpus, vm.type, vm.features,"
    " vm.why_not, vm.is_present)"
    " IS DISTINCT FROM (excluded.host_id, excluded.name, excluded.state, excluded.memory_bytes,"
    " excluded.vcpus, excluded.type, excluded.features, excluded.why_not, true)";

static const char sql_vms_gone[] =
    "DELETE FROM vm WHERE host_id = $1 AND domain_uuid NOT IN"
    " (SELECT r.uuid FROM jsonb_to_recordset($2::jsonb -> 'domains') AS r(uuid uuid))"
    " AND NOT EXISTS (SELECT FROM migration m WHERE m.ended_at IS NULL AND m.state <> 'queued'"
    "  AND m.domain_uuid = vm.domain_uuid AND vm.id IN (m.vm_id, m.destination_vm_id))";

static const char sql_vms_absent[] =
    "UPDATE vm SET is_present = false WHERE host_id = $1 AND is_present AND domain_uuid NOT IN"
    " (SELECT r.uuid FROM jsonb_to_recordset($2::jsonb -> 'domains') AS r(uuid uuid))";

static const char sql_vbds[] =
    "INSERT INTO vbd (vm_id, device, position, vdi_id, format, size_bytes, is_movable, why_not)"
    " SELECT DISTINCT ON (v.id, k.disk ->> 'device') v.id, k.disk ->> 'device', k.position,"
    " (k.disk ->> 'vdi')::uuid, k.disk ->> 'format', (k.disk ->> 'size_bytes')::bigint,"
    " (k.disk ->> 'is_movable')::boolean, k.disk ->> 'why_not'"
    " FROM jsonb_to_recordset($2::jsonb -> 'domains') AS r(uuid uuid, disks jsonb)"
    " JOIN vm v ON v.host_id = $1 AND v.domain_uuid = r.uuid"
    " CROSS JOIN LATERAL jsonb_array_elements(r.disks) WITH ORDINALITY AS k(disk, position)"
    " ORDER BY v.id, k.disk ->> 'device', k.position"
    " ON CONFLICT (vm_id, device) DO UPDATE SET position = excluded.position,"
    " vdi_id = excluded.vdi_id, format = excluded.format, size_bytes = excluded.size_bytes,"
    " is_movable = excluded.is_movable, why_not = excluded.why_not"
    " WHERE (vbd.position, vbd.vdi_id, vbd.format, vbd.size_bytes, vbd.is_movable, vbd.why_not)"
    " IS DISTINCT FROM (excluded.position, excluded.vdi_id, excluded.format,"
    " excluded.size_bytes, excluded.is_movable, excluded.why_not)";

static const char sql_vbds_gone[] =
    "WITH reported AS MATERIALIZED (SELECT v.id AS vm_id, d.device"
    " FROM jsonb_to_recordset($2::jsonb -> 'domains') AS r(uuid uuid, disks jsonb)"
    " JOIN vm v ON v.host_id = $1 AND v.domain_uuid = r.uuid"
    " CROSS JOIN LATERAL jsonb_to_recordset(r.disks) AS d(device text))"
    " DELETE FROM vbd USING vm WHERE vm.id = vbd.vm_id AND vm.host_id = $1 AND vm.is_present"
    " AND NOT EXISTS (SELECT FROM reported p WHERE p.vm_id = vbd.vm_id"
    "  AND p.device = vbd.device)";

static const char sql_vifs[] =
    "INSERT INTO vif (vm_id, mac, position, network)"
    " SELECT DISTINCT ON (v.id, k.vif ->> 'mac') v.id, k.vif ->> 'mac', k.position,"
    " k.vif ->> 'network'"
    " FROM jsonb_to_recordset($2::jsonb -> 'domains') AS r(uuid uuid, vifs jsonb)"
    " JOIN vm v ON v.host_id = $1 AND v.domain_uuid = r.uuid"
    " CROSS JOIN LATERAL jsonb_array_elements(r.vifs) WITH ORDINALITY AS k(vif, position)"
    " ORDER BY v.id, k.vif ->> 'mac', k.position"
    " ON CONFLICT (vm_id, mac) DO UPDATE SET position = excluded.position,"
    " network = excluded.network"
    " WHERE (vif.position, vif.network) IS DISTINCT FROM (excluded.position, excluded.network)";

static const char sql_vifs_gone[] =
    "WITH reported AS MATERIALIZED (SELECT v.id AS vm_id, d.mac"
    " FROM jsonb_to_recordset($2::jsonb -> 'domains') AS r(uuid uuid, vifs jsonb)"
    " JOIN vm v ON v.host_id = $1 AND v.domain_uuid = r.uuid"
    " CROSS JOIN LATERAL jsonb_to_recordset(r.vifs) AS d(mac text))"
    " DELETE FROM vif USING vm WHERE vm.id = vif.vm_id AND vm.host_id = $1 AND vm.is_present"
    " AND NOT EXISTS (SELECT FROM reported p WHERE p.vm_id = vif.vm_id AND p.mac = vif.mac)";

/* In this order: parents before children, arrivals before departures. All take $1 = host and $2 =
 * the inventory. */
static const char *const sql_tables[] = {
    sql_networks,   sql_networks_gone, sql_srs,       sql_sr_hosts, sql_sr_hosts_gone,
    sql_srs_gone,   sql_vdis,          sql_vdis_gone, sql_vms,      sql_vms_gone,
    sql_vms_absent, sql_vbds,          sql_vbds_gone, sql_vifs,     sql_vifs_gone,
};

/* False with ERROR_NOT_FOUND when there is no such host. */
static bool lock(struct db *db, const char *host, int64_t generation, bool *is_newer,
                 struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_lock_host, DB_PARAMS(host), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "host %s does not exist: enrol it again", host);
    *is_newer = generation > db_value_int(rows, 0, "inventory_generation");
    return db_query(db, sql_lock_migrations, DB_PARAMS(host), NULL, err);
}

bool inventory_store_apply(struct db *db, const char *host, int64_t generation,
                           const struct inventory *inventory, struct error *err)
{
    bool is_newer = false;
    if (!lock(db, host, generation, &is_newer, err))
        return false;
    if (!is_newer)
        return true;
    auto_free char *json = json_encode_text(inventory_fields, inventory);
    struct db_text number = db_int(generation);
    if (!db_query(db, sql_host, DB_PARAMS(host, json, number.text), NULL, err))
        return false;
    for (size_t i = 0; i < sizeof sql_tables / sizeof sql_tables[0]; i++) {
        if (!db_query(db, sql_tables[i], DB_PARAMS(host, json), NULL, err))
            return false;
    }
    return true;
}

/* A heartbeat that a crash loses comes again, so its commit waits for no disk and no standby:
 * thousands of hosts send one all the time. The setting ends with the transaction. */
#define NO_WAIT " AND set_config('synchronous_commit', 'off', true) = 'off'"

/* Of a host that everybody takes for up no trigger of the table has anything to do with it. One
 * that was, or may have been, taken for lost is up again, which is told. Whoever has a host's row
 * locked works on what it reports, so nobody waits for that. */
static const char sql_seen[] =
    "WITH s AS MATERIALIZED (SELECT h.id, coalesce(h.is_up AND h.last_seen <= now() + interval '1 "
    "s'"
    "   AND h.last_seen >= now() - make_interval(secs => (SELECT $2::integer) - 1), false) AS "
    "is_known"
    "  FROM unnest((SELECT $1::uuid[])) AS r(id) JOIN host h ON h.id = r.id"
    "  WHERE NOT h.is_up OR h.last_seen IS NULL"
    "   OR h.last_seen NOT BETWEEN now() - interval '1 s' AND now() + interval '1 s'"
    "  FOR NO KEY UPDATE OF h SKIP LOCKED),"
    " again AS (UPDATE host SET last_seen = now(), is_up = true FROM s"
    "  WHERE host.id = s.id AND NOT s.is_known" NO_WAIT ")"
    " UPDATE host SET last_seen = now() FROM s WHERE host.id = s.id AND s.is_known" NO_WAIT;

struct db_statement inventory_store_seen_statement(const char *const params[2])
{
    return (struct db_statement){.sql = sql_seen, .count = 2, .params = params};
}

bool inventory_store_seen(struct db *db, const char *host, int lost_after_s, struct error *err)
{
    auto_db_array struct db_array hosts = {0};
    struct db_text seconds = db_int(lost_after_s);
    db_array_add(&hosts, host);
    return db_query(db, sql_seen, DB_PARAMS(db_array_text(&hosts), seconds.text), NULL, err);
}

static const char sql_outdate[] =
    "UPDATE host SET inventory_generation = s.generation FROM (SELECT h.id, r.generation"
    "  FROM unnest((SELECT $1::uuid[]), (SELECT $2::bigint[])) AS r(id, generation)"
    "  JOIN host h ON h.id = r.id WHERE h.inventory_generation < r.generation"
    "  FOR NO KEY UPDATE OF h SKIP LOCKED) AS s"
    " WHERE host.id = s.id AND host.inventory_generation < s.generation";
static const char sql_wait_and_outdate[] =
    "UPDATE host SET inventory_generation = r.generation"
    " FROM unnest((SELECT $1::uuid[]), (SELECT $2::bigint[])) AS r(id, generation)"
    " WHERE host.id = r.id AND host.inventory_generation < r.generation";
static const char sql_not_outdated[] =
    "SELECT h.id FROM unnest((SELECT $1::uuid[]), (SELECT $2::bigint[])) AS r(id, generation)"
    " JOIN host h ON h.id = r.id WHERE h.inventory_generation < r.generation";

static void mark_held(const struct db_rows *rows, struct outdated_host *host)
{
    host->is_held = false;
    for (int i = 0; i < db_count(rows) && !host->is_held; i++)
        host->is_held = host->generation > 0 && strcmp(db_value(rows, i, "id"), host->id) == 0;
}

bool inventory_store_outdate(struct db *db, struct outdated_host *const hosts[], size_t count,
                             bool waits, struct error *err)
{
    auto_db_array struct db_array ids = {0};
    auto_db_array struct db_array generations = {0};
    auto_db_rows struct db_rows *held = NULL;
    for (size_t i = 0; i < count; i++) {
        struct db_text generation = db_int(hosts[i]->generation);
        db_array_add(&ids, hosts[i]->id);
        db_array_add(&generations, generation.text);
    }
    const char *const params[] = {db_array_text(&ids), db_array_text(&generations)};
    const struct db_statement statements[] = {
        {waits ? sql_wait_and_outdate : sql_outdate, 2, params, NULL},
        {sql_not_outdated, 2, params, &held}};
    if (!db_query_all(db, statements, 2, err))
        return false;
    for (size_t i = 0; i < count; i++)
        mark_held(held, hosts[i]);
    return true;
}

static const char sql_clock[] =
    "UPDATE host h SET clock_offset_ms = $2"
    " FROM (SELECT id, coalesce(clock_offset_ms, 0) AS before, clock_offset_ms IS NULL AS is_new"
    "  FROM host WHERE id = $1) AS o"
    " WHERE h.id = o.id AND (o.is_new OR abs(o.before - $2::bigint) >= 500)"
    " RETURNING abs($2::bigint) > $3::bigint AND abs(o.before) <= $3::bigint AS is_off,"
    " abs($2::bigint) <= $3::bigint AND abs(o.before) > $3::bigint AS is_right_again";

bool inventory_store_clock(struct db *db, const char *host, int64_t offset_ms, int64_t most_ms,
                           struct clock_news *news, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text offset = db_int(offset_ms), most = db_int(most_ms);
    if (!db_query(db, sql_clock, DB_PARAMS(host, offset.text, most.text), &rows, err))
        return false;
    bool is_written = db_count(rows) == 1;
    *news = (struct clock_news){.is_off = is_written && db_value_bool(rows, 0, "is_off"),
                                .is_right_again =
                                    is_written && db_value_bool(rows, 0, "is_right_again")};
    return true;
}

static const char sql_lose_silent[] = "UPDATE host SET is_up = false WHERE is_up"
                                      " AND last_seen < now() - make_interval(secs => $1::integer)";

bool inventory_store_lose_silent(struct db *db, int seconds, struct error *err)
{
    struct db_text number = db_int(seconds);
    return db_query(db, sql_lose_silent, DB_PARAMS(number.text), NULL, err);
}
