/* Rates between hosts; see measured_rates.h. */
#include "coordinator/store/measured_rates.h"

/* The last 5 moves of each pair that no cap, pause or second handoff slowed. Copies below 16 MiB
 * and memory below 4 MiB are mostly setting up. $1 source, $2 destination host. */
static const char sql_rates[] =
    "SELECT count(*) AS samples,"
    " (sum(r.copy_bytes) FILTER (WHERE r.copy_bytes >= 16777216) / nullif(sum(r.copy_s)"
    "  FILTER (WHERE r.copy_bytes >= 16777216), 0))::bigint AS copy_rate,"
    " (sum(r.memory_bytes) FILTER (WHERE r.memory_bytes >= 4194304) / nullif(sum(r.memory_s)"
    "  FILTER (WHERE r.memory_bytes >= 4194304), 0))::bigint AS memory_rate,"
    " (avg(r.pause_us) FILTER (WHERE r.is_live AND r.pause_us > 0))::bigint AS pause_us"
    " FROM (SELECT m.pause_us, coalesce(m.spec ->> 'mode', 'live') = 'live' AS is_live,"
    "  extract(epoch FROM m.copy_ended_at - m.copy_began_at) AS copy_s,"
    "  extract(epoch FROM m.handoff_ended_at - m.handoff_began_at) AS memory_s,"
    "  coalesce((p.progress #>> '{memory,sent_bytes}')::numeric, 0) AS memory_bytes,"
    "  (SELECT coalesce(sum(d.copied_bytes - d.zero_bytes + d.resent_bytes), 0)"
    "   FROM jsonb_to_recordset(p.progress -> 'disks') AS d(copied_bytes bigint,"
    "    zero_bytes bigint, resent_bytes bigint)) AS copy_bytes"
    "  FROM migration m JOIN migration_progress p ON p.migration_id = m.id"
    "  WHERE m.source_host_id = $1 AND m.destination_host_id = $2 AND m.state = 'succeeded'"
    "  AND NOT m.was_slowed ORDER BY m.sequence DESC LIMIT 5) AS r";

bool measured_rates_load(struct db *db, struct preflight_input *in, struct error *err)
{
    for (size_t i = 0; i < in->host_count && in->source.id[0]; i++) {
        auto_db_rows struct db_rows *rows = NULL;
        if (!db_query(db, sql_rates, DB_PARAMS(in->source.id, in->hosts[i].id), &rows, err))
            return false;
        in->hosts[i].rates = (struct preflight_rates){
            .samples = (int)db_value_int(rows, 0, "samples"),
            .copy_bytes_per_s = (uint64_t)db_value_int(rows, 0, "copy_rate"),
            .memory_bytes_per_s = (uint64_t)db_value_int(rows, 0, "memory_rate"),
            .pause_us = db_value_int(rows, 0, "pause_us"),
        };
    }
    return true;
}
