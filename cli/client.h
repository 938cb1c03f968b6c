/* Calls of the REST API with libcurl, which is included here only. */
#pragma once

#include "base/json.h"
#include "cli/session.h"

struct client;

bool client_open(struct client **out, const struct session *session, struct error *err) must_check;
void client_close(struct client *client);
static inline void cleanup_client(struct client **client)
{
    client_close(*client);
}
#define auto_client __attribute__((cleanup(cleanup_client)))

/* GET, or POST with an Idempotency-Key of its own when `body` is not NULL. A call that did not
 * reach the coordinator is made again, three times at most. *answer is the caller's. An answer of
 * 400 or above is an error with its `detail`; then *answer, when not NULL, is the problem.
 * ERROR_UNREACHABLE: nobody answers, or nobody can at the moment; later it may go. */
bool client_call(struct client *client, const char *path, const char *body, json_t **answer,
                 struct error *err) must_check;
/* All items of a list, page by page: an array. */
bool client_list(struct client *client, const char *path, json_t **items,
                 struct error *err) must_check;
