/* Names, roles and decoding tables of steps; see step.h. */
#include "protocol/step.h"

#include "base/error.h"
#include "base/json_table.h"

const char *const step_kind_names[] = {
#define STEP(symbol, word, role, what) [STEP_##symbol] = word,
    STEP_LIST(STEP)
#undef STEP
        NULL,
};

static const enum migration_role step_roles[] = {
#define STEP(symbol, word, role, what) [STEP_##symbol] = role,
    STEP_LIST(STEP)
#undef STEP
};

enum migration_role step_role(enum step_kind kind)
{
    return step_roles[kind];
}

const struct json_field step_fields[] = {
    JSON_UUID("id", step, id, true),
    JSON_ENUM("kind", step, kind, step_kind_names, true),
    JSON_INT64("epoch", step, epoch, 0, INT64_MAX, true),
    JSON_ENUM("verdict", step, verdict, handoff_verdict_names, false),
    JSON_OBJECT("spec", step, spec, migration_spec_fields, true),
    {0},
};

const struct json_field step_result_fields[] = {
    JSON_UUID("step", step_result, step, true),
    JSON_BOOL("is_done", step_result, is_done, true),
    JSON_ENUM("error", step_result, error, error_code_names, false),
    JSON_CHARS("error_text", step_result, error_text, 0, false),
    JSON_ENUM("verdict", step_result, verdict, handoff_verdict_names, false),
    JSON_INT64("pause_us", step_result, pause_us, 0, INT64_MAX, false),
    {0},
};
