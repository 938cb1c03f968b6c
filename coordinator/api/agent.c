/* The two calls of an agent; see protocol/agent_api.h. Its certificate says which host it is. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "coordinator/scheduler/poll.h"
#include "coordinator/scheduler/report.h"
#include "coordinator/security/config.h"

#include <stdio.h>
#include <string.h>

enum { PARK_LONGEST_MS = 25000 };

/* What the host's clock is ahead of ours. The time that the report was under way makes it less. */
static int64_t clock_offset_ms(const struct http_request *request,
                               const struct agent_report *report)
{
    int64_t waited_ms = (clock_monotonic_us() - request->started_us) / 1000;
    return report->clock_ms - ((int64_t)(clock_wall_precise_s() * 1000) - waited_ms);
}

/* The first report of a connection may have waited for it, as in the crowd after a coordinator's
 * restart, so it says nothing of a clock that seems to be behind by no more than that wait. */
static bool tells_clock(const struct http_request *request, const struct agent_report *report,
                        int64_t offset_ms)
{
    return report->clock_ms && (!request->is_first || offset_ms >= 0 ||
                                offset_ms < -(int64_t)AGENT_REPORT_TIMEOUT_S * 1000);
}

static bool apply(const struct api_context *api, struct http_request *request,
                  const struct agent_report *report, struct error *err)
{
    int lost_after_s = api->config->host_lost_after_s;
    int64_t offset_ms = clock_offset_ms(request, report);
    if (tells_clock(request, report, offset_ms) &&
        !report_clock(request->db, request->host, offset_ms, err))
        return false;
    if (!report_apply(request->db, request->host, lost_after_s, report, err))
        return false;
    http_give_db(request);
    return report_apply_results(api->pool, request->host, report, err);
}

bool api_agent_report(void *context, struct http_request *request, bool is_last_call,
                      struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct agent_report report = {0};
    if (!http_body(request, agent_report_fields, &report, err))
        return false;
    bool is_done = failpoint("report.received", err) && apply(api, request, &report, err) &&
                   failpoint("report.applied", err);
    json_release(agent_report_fields, &report);
    answer->status = 204;
    if (!is_done && err->code == ERROR_INVALID)
        return http_wrong_member(request, "", "a report that agrees with itself", err);
    return is_done;
}

/* A parked poll is silent, so it must come back well before its host counts as lost. */
static int park_ms(const struct api_context *api)
{
    int third_ms = api->config->host_lost_after_s * 1000 / 3;
    return third_ms < PARK_LONGEST_MS ? third_ms : PARK_LONGEST_MS;
}

static bool check_ids(struct http_request *request, const char *member,
                      const struct json_array *ids, struct error *err)
{
    char pointer[40];
    for (size_t i = 0; i < ids->count; i++) {
        snprintf(pointer, sizeof pointer, "/%s/%zu", member, i);
        if (!uuid_is_valid(((char *const *)ids->items)[i]))
            return field_wrong(&request->errors, pointer, "is no UUID", "a UUID in lower case",
                               err);
    }
    return true;
}

bool api_agent_poll(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    struct agent_poll poll = {0};
    if (!http_body(request, agent_poll_fields, &poll, err))
        return false;
    http_give_db(request);
    struct step_poll asked = {.host = request->host, .poll = &poll};
    bool is_done = check_ids(request, "known", &poll.known, err) &&
                   check_ids(request, "cancelling", &poll.cancelling, err) &&
                   poll_answer(api->pool, &asked, api->config->host_lost_after_s, err);
    json_release(agent_poll_fields, &poll);
    if (!is_done)
        return false;
    struct agent_poll_answer *found = &asked.answer;
    answer->body = json_encode_text(agent_poll_answer_fields, found);
    if (!found->steps.count && !found->cancel.count && !found->settings.count && !is_last_call) {
        answer->park_ms = park_ms(api);
        memcpy(answer->park_key, request->host, UUID_SIZE);
    }
    json_release(agent_poll_answer_fields, found);
    return true;
}
