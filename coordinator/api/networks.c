/* Networks: list. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"
#include "coordinator/store/listing.h"

bool api_networks_list(void *context, struct http_request *request, bool is_last_call,
                       struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    struct page page;
    return api_page(request, NULL, &page, err) &&
           listing_networks(request->db, &page, &answer->body, err);
}
