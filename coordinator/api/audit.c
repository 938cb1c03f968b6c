/* The audit log: list. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"
#include "coordinator/store/audit_view.h"

static bool read_filter(struct http_request *request, struct audit_filter *filter,
                        struct error *err)
{
    *filter = (struct audit_filter){.actor = http_query(request, "actor"),
                                    .object = http_query(request, "object"),
                                    .since = http_query(request, "since"),
                                    .until = http_query(request, "until")};
    if (filter->since && !api_is_time(filter->since))
        return http_wrong_parameter(request, "since", API_TIME_EXPECTED, err);
    return !filter->until || api_is_time(filter->until) ||
           http_wrong_parameter(request, "until", API_TIME_EXPECTED, err);
}

bool api_audit_list(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    static const char *const more[] = {"actor", "object", "since", "until", NULL};
    (void)context;
    (void)is_last_call;
    struct page page;
    struct audit_filter filter;
    return api_page(request, more, &page, err) && read_filter(request, &filter, err) &&
           audit_view_list(request->db, &page, &filter, &answer->body, err);
}
