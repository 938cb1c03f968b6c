/* API tokens as the API shows them: never their text or its hash. */
#pragma once

#include "coordinator/store/page.h"

extern const struct page_list token_list; /* no own parameter */
bool token_view_show(struct db *db, const char *id, char **text, struct error *err) must_check;
