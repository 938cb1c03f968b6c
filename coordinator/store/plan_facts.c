/* Reads the planner's inventory; see plan_facts.h. */
#include "coordinator/store/plan_facts.h"

#include "base/memory.h"
#include "base/utf8.h"
#include "protocol/cpu_features.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY(out, rows, row, column)                                                               \
    copy_text((out), sizeof(out), db_value((rows), (row), (column)))

static void copy_text(char *out, size_t size, const char *value)
{
    snprintf(out, size, "%s", value ? value : "");
    utf8_repair(out); /* what did not fit is cut */
}

/* `pool` is seen by this caller; `scope` is the parameter. */
#define IN_SCOPE(scope, pool) "(" scope "::uuid[] IS NULL OR " pool " = ANY (" scope "))"

static const char sql_pools[] =
    "SELECT p.id, p.name FROM pool p WHERE " IN_SCOPE("$1", "p.id") " ORDER BY p.name";

static bool load_pools(struct db *db, const char *scope, struct plan_facts *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_pools, DB_PARAMS(scope), &rows, err))
        return false;
    size_t count = (size_t)db_count(rows);
    struct plan_inventory_pool *pools = memory_array(count, sizeof *pools);
    out->inventory.pools = (struct json_array){pools, count};
    out->pools = memory_array(count, sizeof *out->pools);
    for (int i = 0; i < (int)count; i++) {
        COPY(pools[i].name, rows, i, "name");
        COPY(out->pools[i], rows, i, "id");
    }
    return true;
}

/* The fastest of the last copies that this end of them has seen; copies below 16 MiB are mostly
 * setting up. */
#define RATE(end)                                                                                  \
    "(SELECT max(r.bytes / r.seconds)::bigint FROM (SELECT"                                        \
    "  extract(epoch FROM m.copy_ended_at - m.copy_began_at) AS seconds,"                          \
    "  (SELECT coalesce(sum(d.copied_bytes - d.zero_bytes + d.resent_bytes), 0)"                   \
    "   FROM jsonb_to_recordset(p.progress -> 'disks') AS d(copied_bytes bigint,"                  \
    "    zero_bytes bigint, resent_bytes bigint)) AS bytes"                                        \
    "  FROM migration m JOIN migration_progress p ON p.migration_id = m.id"                        \
    "  WHERE m." end " = h.id AND m.state = 'succeeded' AND NOT m.was_slowed"                      \
    "  ORDER BY m.sequence DESC LIMIT 20) AS r WHERE r.bytes >= 16777216 AND r.seconds > 0)"

/* $1 scope, $2 seconds. */
static const char sql_hosts[] =
    "SELECT h.id, h.name, p.name AS pool, coalesce(h.cpu_vendor, '') AS cpu_vendor,"
    " h.accelerator = 'tcg' AS is_emulated, h.in_maintenance OR p.in_maintenance"
    "  OR h.state <> 'enabled' OR h.hypervisor IS NULL OR h.last_seen IS NULL"
    "  OR h.last_seen < now() - make_interval(secs => $2::integer) AS is_closed,"
    " greatest(coalesce(h.memory_free_bytes, 0) - (SELECT coalesce(sum(m.memory_bytes), 0)"
    "  FROM migration m WHERE m.destination_host_id = h.id AND m.ended_at IS NULL"
    "  AND m.state <> 'cleaning'), 0)::bigint AS memory_free_bytes,"
    " " RATE("source_host_id") " AS sends, " RATE(
        "destination_host_id") " AS receives"
                               " FROM host h JOIN pool p ON p.id = h.pool_id WHERE " IN_SCOPE(
                                   "$1", "p.id") " ORDER BY h.name";

static int64_t rate_of(const struct db_rows *rows, int row, const char *column)
{
    int64_t rate = db_value_int(rows, row, column);
    return rate > 0 ? rate : PLAN_FACTS_RATE;
}

static bool load_hosts(struct db *db, const char *scope, const char *seconds,
                       struct plan_facts *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_hosts, DB_PARAMS(scope, seconds), &rows, err))
        return false;
    size_t count = (size_t)db_count(rows);
    struct plan_inventory_host *hosts = memory_array(count, sizeof *hosts);
    out->inventory.hosts = (struct json_array){hosts, count};
    out->hosts = memory_array(count, sizeof *out->hosts);
    for (int i = 0; i < (int)count; i++) {
        COPY(hosts[i].name, rows, i, "name");
        COPY(hosts[i].pool, rows, i, "pool");
        COPY(out->hosts[i], rows, i, "id");
        hosts[i].send_bytes_per_s = rate_of(rows, i, "sends");
        hosts[i].receive_bytes_per_s = rate_of(rows, i, "receives");
        hosts[i].memory_free_bytes = (uint64_t)db_value_int(rows, i, "memory_free_bytes");
        hosts[i].slots = 4;
        hosts[i].is_in_maintenance = db_value_bool(rows, i, "is_closed");
        if (!db_value_bool(rows, i, "is_emulated")) /* else guests do not see the host's CPU */
            COPY(hosts[i].cpu_vendor, rows, i, "cpu_vendor");
    }
    return true;
}

static void add_text(struct json_array *list, const char *text)
{
    char **items = memory_resize(list->items, list->count + 1, sizeof *items);
    items[list->count++] = memory_copy_text(text);
    list->items = items;
}

static const char sql_networks[] =
    "SELECT n.host_id, n.name FROM network n JOIN host h ON h.id = n.host_id"
    " WHERE n.why_not = '' AND " IN_SCOPE("$1", "h.pool_id") " ORDER BY n.name";

static bool load_networks(struct db *db, const char *scope, struct plan_facts *out,
                          struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct plan_inventory_host *hosts = out->inventory.hosts.items;
    if (!db_query(db, sql_networks, DB_PARAMS(scope), &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        int host = plan_facts_host(out, db_value(rows, i, "host_id"));
        if (host >= 0)
            add_text(&hosts[host].networks, db_value(rows, i, "name"));
    }
    return true;
}

static const char sql_guest_types[] =
    "SELECT h.id, t.features FROM host h"
    " CROSS JOIN LATERAL jsonb_to_recordset(h.guest_types) AS t(features text)"
    " WHERE h.accelerator <> 'tcg' AND " IN_SCOPE("$1", "h.pool_id") " ORDER BY h.id";

/* What any type of guest can be told there; which type a VM is, preflight looks at. */
static void join_features(char **joined, bool *is_open, const char *text)
{
    struct cpu_features one, all = {0};
    struct error err;
    if (!text || !text[0] || !cpu_features_decode(text, &one, &err) ||
        (*joined && !cpu_features_decode(*joined, &all, &err))) {
        *is_open = true;
        return;
    }
    for (int i = 0; i < CPU_FEATURE_WORDS; i++)
        all.words[i] |= one.words[i];
    free(*joined);
    *joined = cpu_features_encode(&all);
}

static bool load_features(struct db *db, const char *scope, struct plan_facts *out,
                          struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct plan_inventory_host *hosts = out->inventory.hosts.items;
    if (!db_query(db, sql_guest_types, DB_PARAMS(scope), &rows, err))
        return false;
    bool *is_open = memory_array(out->inventory.hosts.count, sizeof *is_open);
    for (int i = 0; i < db_count(rows); i++) {
        int host = plan_facts_host(out, db_value(rows, i, "id"));
        if (host >= 0)
            join_features(&hosts[host].features, &is_open[host], db_value(rows, i, "features"));
    }
    for (size_t i = 0; i < out->inventory.hosts.count; i++) {
        if (is_open[i]) {
            free(hosts[i].features);
            hosts[i].features = NULL;
        }
    }
    free(is_open);
    return true;
}

/* Reserved is what active migrations still write: their disks' sizes with the tables of a format
 * (see preflight_room), less what their VDIs take already. */
static const char sql_srs[] =
    "SELECT s.id, s.name, greatest(s.free_bytes - (SELECT coalesce(sum(greatest(d.size_bytes"
    "  + CASE WHEN d.destination ->> 'format' = 'raw' THEN 0 ELSE d.size_bytes / 4096 + 1048576 END"
    "  - coalesce(v.allocated_bytes, 0), 0)), 0) FROM migration m"
    "  CROSS JOIN LATERAL jsonb_to_recordset(m.spec -> 'disks')"
    "   AS d(size_bytes bigint, destination jsonb)"
    "  LEFT JOIN vdi v ON v.sr_id = s.id AND v.id = (d.destination ->> 'vdi')::uuid"
    "  WHERE m.ended_at IS NULL AND m.state <> 'cleaning' AND m.destination_pool_id = s.pool_id"
    "  AND (d.destination ->> 'sr')::uuid = s.id), 0)::bigint AS free_bytes,"
    " (SELECT array_to_string(array_agg(sh.host_id), ' ') FROM sr_host sh WHERE sh.sr_id = s.id)"
    "  AS hosts"
    " FROM sr s WHERE " IN_SCOPE("$1", "s.pool_id") " ORDER BY s.name, s.id";

/* `ids`: of hosts, with one character between them. */
static void add_hosts(const struct plan_facts *facts, struct plan_inventory_sr *sr, const char *ids)
{
    const struct plan_inventory_host *hosts = facts->inventory.hosts.items;
    char id[UUID_SIZE] = "";
    for (const char *p = ids; p && strnlen(p, UUID_SIZE) >= UUID_SIZE - 1;
         p += p[UUID_SIZE - 1] ? UUID_SIZE : UUID_SIZE - 1) {
        memcpy(id, p, UUID_SIZE - 1);
        int host = plan_facts_host(facts, id);
        if (host >= 0)
            add_text(&sr->hosts, hosts[host].name);
    }
}

static bool load_srs(struct db *db, const char *scope, struct plan_facts *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_srs, DB_PARAMS(scope), &rows, err))
        return false;
    size_t count = (size_t)db_count(rows);
    struct plan_inventory_sr *srs = memory_array(count, sizeof *srs);
    out->inventory.srs = (struct json_array){srs, count};
    for (int i = 0; i < (int)count; i++) {
        COPY(srs[i].name, rows, i, "id");
        COPY(srs[i].label, rows, i, "name");
        srs[i].free_bytes = (uint64_t)db_value_int(rows, i, "free_bytes");
        add_hosts(out, &srs[i], db_value(rows, i, "hosts"));
    }
    return true;
}

/* The SR of a disk, as its host reports it. */
#define DISK_SR                                                                                    \
    "LEFT JOIN LATERAL (SELECT d.sr_id, d.allocated_bytes FROM vdi d"                              \
    "  JOIN sr_host sh ON sh.sr_id = d.sr_id AND sh.host_id = v.host_id"                           \
    "  WHERE d.id = b.vdi_id ORDER BY d.sr_id LIMIT 1) AS s ON true"

/* What its last move has seen of a guest. */
#define LAST_MOVE                                                                                  \
    "LEFT JOIN LATERAL (SELECT"                                                                    \
    "  (p.progress #>> '{memory,dirty_bytes_per_s}')::bigint AS dirty,"                            \
    "  least((SELECT sum(d.mirrored_bytes) FROM jsonb_to_recordset(p.progress -> 'disks')"         \
    "    AS d(mirrored_bytes bigint)) / greatest(extract(epoch FROM"                               \
    "    coalesce(m.handoff_began_at, m.copy_ended_at) - m.copy_began_at), 1),"                    \
    "   1e15)::bigint AS written"                                                                  \
    "  FROM migration m JOIN migration_progress p ON p.migration_id = m.id"                        \
    "  WHERE m.domain_uuid = v.domain_uuid AND m.state = 'succeeded'"                              \
    "  ORDER BY m.sequence DESC LIMIT 1) AS r ON true"

/* A name that looks like an id stays one VM's: the id of another could be the same text. */
static const char sql_vms[] =
    "SELECT v.id, h.name AS host, v.memory_bytes, v.features, r.dirty, r.written,"
    " CASE WHEN h.accelerator = 'tcg'"
    " THEN '' ELSE coalesce(h.cpu_vendor, '') END AS cpu_vendor,"
    " CASE WHEN count(*) OVER (PARTITION BY v.name) = 1 AND v.name !~ '^[0-9a-f-]{36}$'"
    "  THEN v.name ELSE v.id::text END AS name,"
    " CASE WHEN v.state <> 'running' THEN 'it is ' || v.state || '; a VM moves while it runs'"
    "  WHEN v.why_not <> '' THEN v.why_not"
    "  WHEN h.last_seen < now() - make_interval(secs => $2::integer)"
    "  THEN 'its host ' || left(h.name, 80) || ' does not report'"
    "  ELSE coalesce((SELECT 'disk ' || b.device || ': ' || CASE WHEN b.is_movable"
    "   THEN 'it is on no SR that its host reports' WHEN b.why_not = ''"
    "   THEN 'its host says that it cannot be moved' ELSE b.why_not END"
    "   FROM vbd b " DISK_SR " WHERE b.vm_id = v.id AND (s.sr_id IS NULL OR NOT b.is_movable)"
    "   ORDER BY b.position LIMIT 1),"
    "   (SELECT 'VIF ' || f.mac || ': it is on a bridge that is no network of its host' FROM vif f"
    "   WHERE f.vm_id = v.id AND f.network = '' ORDER BY f.position LIMIT 1),"
    "   (SELECT 'migration ' || m.id || ' moves it' FROM migration m"
    "   WHERE m.ended_at IS NULL AND m.domain_uuid = v.domain_uuid LIMIT 1), '') END AS why_not"
    " FROM vm v JOIN host h ON h.id = v.host_id " LAST_MOVE
    " WHERE " IN_SCOPE("$1", "v.pool_id") " ORDER BY h.name, v.name, v.id";

static void read_vm(const struct db_rows *rows, int i, struct plan_inventory_vm *vm)
{
    int64_t memory = db_value_int(rows, i, "memory_bytes");
    COPY(vm->name, rows, i, "name");
    COPY(vm->host, rows, i, "host");
    COPY(vm->cpu_vendor, rows, i, "cpu_vendor");
    COPY(vm->why_not, rows, i, "why_not");
    vm->memory_bytes = memory > 0 ? (uint64_t)memory : 1;
    vm->dirty_bytes_per_s = db_value_int(rows, i, "dirty");
    vm->write_bytes_per_s = db_value_int(rows, i, "written");
    const char *features = db_value(rows, i, "features");
    struct cpu_features known;
    struct error err;
    if (features && features[0] && cpu_features_decode(features, &known, &err))
        vm->features = memory_copy_text(features);
}

/* A rate seen for a moment of a guest that did move is no reason to refuse its next move as one
 * that would never end: all that it writes stays below `rate`'s share. */
static void calm(struct plan_inventory_vm *vm, int64_t rate)
{
    double share = 0.4 * (double)rate;
    double all = (double)vm->dirty_bytes_per_s + (double)vm->write_bytes_per_s;
    if (all <= share)
        return;
    vm->dirty_bytes_per_s = (int64_t)((double)vm->dirty_bytes_per_s * share / all);
    vm->write_bytes_per_s = (int64_t)((double)vm->write_bytes_per_s * share / all);
}

static int64_t slowest_host(const struct plan_facts *facts)
{
    const struct plan_inventory_host *hosts = facts->inventory.hosts.items;
    int64_t rate = INT64_MAX;
    for (size_t i = 0; i < facts->inventory.hosts.count; i++) {
        rate = hosts[i].send_bytes_per_s < rate ? hosts[i].send_bytes_per_s : rate;
        rate = hosts[i].receive_bytes_per_s < rate ? hosts[i].receive_bytes_per_s : rate;
    }
    return rate;
}

static bool load_vms(struct db *db, const char *scope, const char *seconds, struct plan_facts *out,
                     struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_vms, DB_PARAMS(scope, seconds), &rows, err))
        return false;
    size_t count = (size_t)db_count(rows);
    struct plan_inventory_vm *vms = memory_array(count, sizeof *vms);
    out->inventory.vms = (struct json_array){vms, count};
    out->vms = memory_array(count, sizeof *out->vms);
    int64_t slowest = slowest_host(out);
    for (int i = 0; i < (int)count; i++) {
        COPY(out->vms[i], rows, i, "id");
        read_vm(rows, i, &vms[i]);
        calm(&vms[i], slowest);
    }
    return true;
}

static const char sql_disks[] =
    "SELECT b.vm_id, s.sr_id, b.size_bytes, s.allocated_bytes FROM vbd b JOIN vm v ON v.id = "
    "b.vm_id"
    " JOIN host h ON h.id = v.host_id " DISK_SR " WHERE s.sr_id IS NOT NULL AND " IN_SCOPE(
        "$1", "v.pool_id") " ORDER BY h.name, v.name, v.id, b.position, b.device";

/* Rows come in the order of the VMs, but for VMs that changed between two statements: they are
 * looked for everywhere, from the place of the last one on. NULL: it appeared since the VMs were
 * read. */
static struct plan_inventory_vm *next_vm(struct plan_facts *facts, const char *id, size_t *at)
{
    size_t count = facts->inventory.vms.count;
    for (size_t i = 0; i < count; i++) {
        size_t place = (*at + i) % count;
        if (strcmp(facts->vms[place], id) != 0)
            continue;
        *at = place;
        return (struct plan_inventory_vm *)facts->inventory.vms.items + place;
    }
    return NULL;
}

static bool load_disks(struct db *db, const char *scope, struct plan_facts *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    size_t at = 0;
    if (!db_query(db, sql_disks, DB_PARAMS(scope), &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct plan_inventory_vm *vm = next_vm(out, db_value(rows, i, "vm_id"), &at);
        if (!vm)
            continue;
        vm->disks.items =
            memory_resize(vm->disks.items, vm->disks.count + 1, sizeof(struct plan_inventory_disk));
        struct plan_inventory_disk *disk =
            (struct plan_inventory_disk *)vm->disks.items + vm->disks.count++;
        *disk = (struct plan_inventory_disk){
            .size_bytes = (uint64_t)db_value_int(rows, i, "size_bytes"),
            .allocated_bytes = (uint64_t)db_value_int(rows, i, "allocated_bytes")};
        COPY(disk->sr, rows, i, "sr_id");
    }
    return true;
}

static const char sql_vifs[] =
    "SELECT DISTINCT h.name AS host, v.name, v.id, f.network FROM vif f JOIN vm v ON v.id = f.vm_id"
    " JOIN host h ON h.id = v.host_id WHERE f.network <> '' AND " IN_SCOPE(
        "$1", "v.pool_id") " ORDER BY h.name, v.name, v.id, f.network";

static bool load_vifs(struct db *db, const char *scope, struct plan_facts *out, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    size_t at = 0;
    if (!db_query(db, sql_vifs, DB_PARAMS(scope), &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct plan_inventory_vm *vm = next_vm(out, db_value(rows, i, "id"), &at);
        if (!vm)
            continue;
        add_text(&vm->networks, db_value(rows, i, "network"));
    }
    return true;
}

static bool load(struct db *db, const char *scope, const char *seconds, struct plan_facts *out,
                 struct error *err)
{
    return load_pools(db, scope, out, err) && load_hosts(db, scope, seconds, out, err) &&
           load_networks(db, scope, out, err) && load_features(db, scope, out, err) &&
           load_srs(db, scope, out, err) && load_vms(db, scope, seconds, out, err) &&
           load_disks(db, scope, out, err) && load_vifs(db, scope, out, err);
}

bool plan_facts_load(struct db *db, const char *scope, int host_lost_after_s,
                     struct plan_facts *facts, struct error *err)
{
    struct plan_facts made = {0};
    struct db_text seconds = db_int(host_lost_after_s);
    if (load(db, scope, seconds.text, &made, err)) {
        *facts = made;
        return true;
    }
    plan_facts_done(&made);
    return false;
}

void plan_facts_done(struct plan_facts *facts)
{
    json_release(plan_inventory_fields, &facts->inventory);
    free(facts->pools);
    free(facts->hosts);
    free(facts->vms);
    *facts = (struct plan_facts){0};
}

static int find(char (*ids)[UUID_SIZE], size_t count, const char *id)
{
    for (size_t i = 0; id && i < count; i++) {
        if (strcmp(ids[i], id) == 0)
            return (int)i;
    }
    return -1;
}

int plan_facts_vm(const struct plan_facts *facts, const char *id)
{
    return find(facts->vms, facts->inventory.vms.count, id);
}

int plan_facts_host(const struct plan_facts *facts, const char *id)
{
    return find(facts->hosts, facts->inventory.hosts.count, id);
}

int plan_facts_pool(const struct plan_facts *facts, const char *id)
{
    return find(facts->pools, facts->inventory.pools.count, id);
}

static const char sql_network_name[] =
    "SELECT name FROM network WHERE id = $1::uuid OR vlan = $2::integer ORDER BY name LIMIT 1";

bool plan_facts_network_name(struct db *db, const char *word, struct plan_name *name,
                             struct error *err)
{
    int vlan = 0;
    bool is_id = uuid_is_valid(word);
    bool is_vlan = sscanf(word, "vlan:%d", &vlan) == 1 && vlan >= 1 && vlan <= 4094;
    copy_text(name->text, sizeof name->text, word);
    if (!is_id && !is_vlan)
        return true;
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text number = db_int(vlan);
    if (!db_query(db, sql_network_name,
                  DB_PARAMS(is_id ? word : NULL, is_vlan ? number.text : NULL), &rows, err))
        return false;
    if (db_count(rows) == 1)
        COPY(name->text, rows, 0, "name");
    return true;
}
