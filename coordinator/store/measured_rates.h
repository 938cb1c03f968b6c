/* What ended migrations have measured between two hosts. */
#pragma once

#include "coordinator/db/db.h"
#include "coordinator/domain/preflight.h"

/* Fills the rates of the input's hosts for moves from its source. */
bool measured_rates_load(struct db *db, struct preflight_input *in, struct error *err) must_check;
