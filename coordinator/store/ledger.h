/* Everything that migrations create, written down before it is made, and whether it is gone. */
#pragma once

#include "coordinator/store/page.h"
#include "protocol/agent_api.h"

/* Inside the transaction that starts a migration: its VDIs ("<sr>/<vdi>") and its domain at the
 * destination. The agent's own entries of the same kind and reference merge with these. */
bool ledger_plan(struct db *db, const struct migration_spec *spec, struct error *err) must_check;
/* What a host reports; older sequences never overwrite newer ones. Objects of migrations in which
 * the host has no part are left out. */
bool ledger_report(struct db *db, const char *host, const struct json_array *entries,
                   struct error *err) must_check;
/* The host has ended its part and never spoke of these planned objects: it never made them. */
bool ledger_settle(struct db *db, const char *migration, const char *host,
                   struct error *err) must_check;
/* Objects that are there although their migration has ended or is unknown. Its own parameter: the
 * scope, of their hosts. */
extern const struct page_list leftover_list;
