/* API tokens as the API shows them: never their text or its hash. */
#pragma once

#include "coordinator/store/page.h"

bool token_view_list(struct db *db, const struct page *page, char **text,
                     struct error *err) must_check;
bool token_view_show(struct db *db, const char *id, char **text, struct error *err) must_check;
