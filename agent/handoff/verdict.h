/* Asking the destination what became of an epoch. */
#pragma once

#include "agent/handoff/handoff.h"

/* One question over LINK_CONTROL; what the destination answers it has on its disk. */
bool verdict_ask(const struct handoff_environment *environment, const struct migration_spec *spec,
                 int64_t epoch, enum handoff_verdict *verdict, struct error *err) must_check;
