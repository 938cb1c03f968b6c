/* Lists of objects by pages. The statements of a listing select `id` and `body` (the object as
 * JSON, built by PostgreSQL), ordered, with $1 = the last id of the page before or NULL, and $2 =
 * the limit. */
#pragma once

#include "coordinator/db/db.h"

enum { PAGE_DEFAULT = 100, PAGE_MOST = 500 };

struct page {
    int limit;         /* 1..PAGE_MOST */
    const char *after; /* cursor: the id that `next` named, or NULL */
    const char *scope; /* pools that the caller may see (coordinator/security/scope.h); NULL = all:
                          a parameter of each statement that lists what belongs to pools */
};

/* Runs the statement with $1, $2 and `filters` as $3..; *text (owned) is
 * {"items": [...], "next": "cursor" or null}. */
bool page_query(struct db *db, const char *sql, const struct page *page, int filter_count,
                const char *const filters[], char **text, struct error *err) must_check;
/* The `body` of the one row. ERROR_NOT_FOUND when there is none (any more). */
bool page_one(struct db *db, const char *sql, int count, const char *const params[], char **text,
              struct error *err) must_check;
