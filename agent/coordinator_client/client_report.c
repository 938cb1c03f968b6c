/* The report thread: what the coordinator must know (results, ledger) in one call, what it likes to
 * know (inventory, progress) in another, so that the one never waits for the other to be well
 * formed. */
#include "agent/coordinator_client/client_state.h"

#include "agent/inventory/inventory_watch.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <string.h>

enum {
    REPORT_INTERVAL_MS = 1000,
    RENEW_CHECK_MS = 60000,
    LEDGER_BATCH = 1000 /* entries; the journal gives no more at once */
};

static bool collect_entry(void *context, const struct ledger_entry *entry, struct error *err)
{
    struct json_array *array = context;
    (void)err;
    struct ledger_entry *items = memory_resize(array->items, array->count + 1, sizeof *items);
    items[array->count++] = *entry;
    array->items = items;
    return true;
}

static bool post_report(struct client_call *call, struct agent_report *report, struct error *err)
{
    report->clock_ms = (int64_t)(clock_wall_precise_s() * 1000);
    auto_free char *body = json_encode_text(agent_report_fields, report);
    return client_call_post(call, "/agent/v1/report", body, AGENT_REPORT_TIMEOUT_S, err);
}

static bool mark_reported(struct coordinator_client *client, const struct agent_report *report,
                          struct error *err)
{
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    const struct step_result *results = report->results.items;
    const struct ledger_entry *entries = report->ledger.items;
    for (size_t i = 0; i < report->results.count; i++)
        if (!hooks->reported(hooks->context, results[i].step, err))
            return false;
    return report->ledger.count == 0 ||
           journal_ledger_reported(client->config.journal,
                                   entries[report->ledger.count - 1].sequence, err);
}

/* The ledger is read after the results, and results wait for a ledger that needs several reports:
 * what a step created and removed is known before its end. */
static bool read_outcomes(struct coordinator_client *client, struct agent_report *report,
                          struct error *err)
{
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    if (!hooks->results(hooks->context, &report->results, err) ||
        !journal_unreported_ledger(client->config.journal, collect_entry, &report->ledger, err))
        return false;
    if (report->ledger.count >= LEDGER_BATCH) {
        free(report->results.items);
        report->results = (struct json_array){0};
    }
    return journal_current(client->config.journal, "inventory", &report->inventory_generation, err);
}

static void report_outcomes(struct client_call *call)
{
    struct agent_report report = {0};
    struct error err;
    bool ok = read_outcomes(call->client, &report, &err);
    if (!ok)
        log_error("report: %s", err.text);
    ok = ok && (report.results.count > 0 || report.ledger.count > 0) &&
         post_report(call, &report, &err);
    if (ok && !mark_reported(call->client, &report, &err))
        log_error("report: it will be sent again: %s", err.text);
    json_release(agent_report_fields, &report);
}

static bool has_urgent_inventory(struct coordinator_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool is_urgent = client->inventory.is_urgent;
    pthread_mutex_unlock(&client->lock);
    return is_urgent;
}

/* Moves the latest inventory out when it may be sent and is worth it. A step that ends from now on
 * is no matter: its result waits for the next turn of this thread. */
static void take_inventory(struct coordinator_client *client, const struct inventory_watch *watch,
                           struct agent_report *report)
{
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    struct inventory taken;
    pthread_mutex_lock(&client->lock);
    bool is_taken =
        inventory_slot_take(&client->inventory, hooks->finished(hooks->context), &taken);
    pthread_mutex_unlock(&client->lock);
    if (!is_taken)
        return;
    report->has_inventory = inventory_watch_is_due(watch, &taken, clock_monotonic_ms());
    if (report->has_inventory)
        report->inventory = taken;
    else
        json_release(inventory_fields, &taken);
}

static void report_state(struct client_call *call, struct inventory_watch *watch)
{
    struct coordinator_client *client = call->client;
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    struct agent_report report = {0};
    struct error err;
    take_inventory(client, watch, &report);
    hooks->progress(hooks->context, &report.progress);
    bool is_needed = report.has_inventory || report.progress.count > 0;
    bool has_generation =
        report.has_inventory
            ? journal_next(client->config.journal, "inventory", &report.inventory_generation, &err)
            : journal_current(client->config.journal, "inventory", &report.inventory_generation,
                              &err);
    if (!has_generation)
        log_error("report: %s", err.text);
    if (report.has_inventory)
        inventory_watch_forget(watch); /* a call that fails may have been obeyed or not */
    if (has_generation && is_needed && post_report(call, &report, &err) && report.has_inventory)
        inventory_watch_sent(watch, &report.inventory, clock_monotonic_ms());
    json_release(agent_report_fields, &report);
}

void *client_report_thread(void *argument)
{
    struct coordinator_client *client = argument;
    const struct coordinator_client_hooks *hooks = &client->config.hooks;
    struct inventory_watch watch = {0};
    struct client_call call;
    struct error err;
    if (!client_call_init(&call, client, "report", &err)) {
        log_error("report: %s", err.text);
        abort();
    }
    int64_t state_at = 0;
    int64_t renew_at = 0;
    while (!atomic_load(&client->is_stopped)) {
        client_notice(client);
        report_outcomes(&call);
        int64_t now = clock_monotonic_ms();
        if (now >= state_at || has_urgent_inventory(client)) {
            report_state(&call, &watch);
            state_at = now + REPORT_INTERVAL_MS;
        }
        if (now >= renew_at) {
            client_renew(&call);
            renew_at = now + RENEW_CHECK_MS;
        }
        int64_t rest = state_at - clock_monotonic_ms();
        if (rest > 0 && !atomic_load(&client->is_stopped))
            hooks->wait(hooks->context, (int)rest);
    }
    client_call_done(&call);
    return NULL;
}
