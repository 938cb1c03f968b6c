/* The audit log as the API shows it. */
#pragma once

#include "coordinator/store/page.h"

/* NULL members take everything. */
struct audit_filter {
    const char *actor;         /* name, or the token's id */
    const char *object;        /* id, or kind */
    const char *since, *until; /* times: from `since`, before `until` */
};
/* Newest first. ERROR_INVALID: a time that is none. */
bool audit_view_list(struct db *db, const struct page *page, const struct audit_filter *filter,
                     char **text, struct error *err) must_check;
