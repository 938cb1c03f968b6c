/* After a restart: migrations that are prepared here can be received again. */
#pragma once

#include "agent/steps/handlers.h"

/* Admits the receivers of every migration in the journal that has VDIs here which are not its own
 * yet. Those with an unfinished receive step are left to it: it first brings its epoch to an end.
 * Before the engine resumes the steps. */
bool readmit_receivers(struct step_environment *environment, struct error *err) must_check;
