/* Decoding tables of the agent's calls; see agent_api.h. */
#include "protocol/agent_api.h"

#include "base/json_table.h"

enum { LIMIT_BATCH = 1024, LIMIT_LEDGER_BATCH = 4096, LIMIT_PEM = 16384 };

static const struct json_field ledger_fields[] = {
    JSON_INT64("sequence", ledger_entry, sequence, 1, INT64_MAX, true),
    JSON_UUID("migration", ledger_entry, migration, true),
    JSON_CHARS("kind", ledger_entry, kind, 1, true),
    JSON_CHARS("reference", ledger_entry, reference, 1, true),
    JSON_BOOL("is_removed", ledger_entry, is_removed, true),
    {0},
};

const struct json_field agent_report_fields[] = {
    JSON_INT64("inventory_generation", agent_report, inventory_generation, 0, INT64_MAX, true),
    JSON_INT64("clock_ms", agent_report, clock_ms, 0, LIMIT_CLOCK_MS, false),
    {JSON_ROW("inventory", agent_report, inventory, JSON_FIELD_OBJECT, false),
     .fields = inventory_fields, .presence_offset = offsetof(struct agent_report, has_inventory)},
    JSON_LIST("progress", agent_report, progress, migration_progress, LIMIT_BATCH,
              migration_progress_fields, false),
    JSON_LIST("results", agent_report, results, step_result, LIMIT_BATCH, step_result_fields,
              false),
    JSON_LIST("ledger", agent_report, ledger, ledger_entry, LIMIT_LEDGER_BATCH, ledger_fields,
              false),
    {0},
};

static const struct json_field settings_known_fields[] = {
    JSON_UUID("migration", settings_known, migration, true),
    JSON_INT64("version", settings_known, version, 0, INT64_MAX, true),
    {0},
};

const struct json_field agent_poll_fields[] = {
    JSON_TEXTS("known", agent_poll, known, LIMIT_BATCH, true),
    JSON_TEXTS("cancelling", agent_poll, cancelling, LIMIT_BATCH, true),
    {JSON_ROW("settings", agent_poll, settings, JSON_FIELD_ARRAY, false),
     .size = sizeof(struct settings_known), .max = LIMIT_BATCH, .fields = settings_known_fields,
     .presence_offset = offsetof(struct agent_poll, has_settings)},
    JSON_BOOL("takes_traceparent", agent_poll, takes_traceparent, false),
    {0},
};

static const struct json_field transfer_settings_fields[] = {
    JSON_UUID("migration", transfer_settings, migration, true),
    JSON_INT64("version", transfer_settings, version, 1, INT64_MAX, true),
    JSON_BYTES("bandwidth_bytes_per_s", transfer_settings, bandwidth_bytes_per_s, true),
    JSON_BOOL("is_copy_paused", transfer_settings, is_copy_paused, true),
    JSON_BOOL("is_switchover_held", transfer_settings, is_switchover_held, true),
    {0},
};

const struct json_field agent_poll_answer_fields[] = {
    JSON_LIST("steps", agent_poll_answer, steps, step, LIMIT_BATCH, step_fields, true),
    JSON_TEXTS("cancel", agent_poll_answer, cancel, LIMIT_BATCH, true),
    {JSON_ROW("settings", agent_poll_answer, settings, JSON_FIELD_ARRAY, false),
     .size = sizeof(struct transfer_settings), .max = LIMIT_BATCH,
     .fields = transfer_settings_fields,
     .presence_offset = offsetof(struct agent_poll_answer, has_settings)},
    {0},
};

const struct json_field agent_enrol_fields[] = {
    JSON_CHARS("token", agent_enrol, token, 1, true),
    JSON_TEXT("csr", agent_enrol, csr, 1, LIMIT_PEM, true),
    {0},
};

const struct json_field agent_enrol_answer_fields[] = {
    JSON_UUID("host", agent_enrol_answer, host, true),
    JSON_TEXT("certificate", agent_enrol_answer, certificate, 1, LIMIT_PEM, true),
    JSON_TEXT("ca", agent_enrol_answer, ca, 1, LIMIT_PEM, true),
    JSON_INT("agent_port", agent_enrol_answer, agent_port, 1, 65535, true),
    {0},
};

const struct json_field agent_renew_fields[] = {
    JSON_TEXT("csr", agent_renew, csr, 1, LIMIT_PEM, true),
    {0},
};
