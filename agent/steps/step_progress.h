/* Progress of the migrations whose source is this host. */
#pragma once

#include "agent/steps/handlers.h"

/* Appends a struct migration_progress for each to *out; released with migration_progress_fields. */
void step_progress_collect(struct step_environment *environment, struct step_engine *engine,
                           struct json_array *out);
