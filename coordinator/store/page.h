/* Lists of objects by pages. Each list is a table: its statement, the filters that stand in it, the
 * orders that can be asked for, the members that can be chosen. Everything that becomes SQL comes
 * from the table; what the caller said is a bound parameter.
 *
 * A page goes on after the last object of the page before it, by that object's place in the order
 * (keyset), so that objects that come and go meanwhile neither hide nor repeat others. */
#pragma once

#include "coordinator/db/db.h"

enum {
    PAGE_DEFAULT = 100,
    PAGE_MOST = 500,
    PAGE_OWN = 2,
    PAGE_FILTERS = 6,
    PAGE_KEY_SIZE = 160,
    PAGE_CURSOR_SIZE = 16 + 1 + UUID_SIZE + 1 + 2 * PAGE_KEY_SIZE,
};

enum page_filter_kind { PAGE_TEXT, PAGE_UUID, PAGE_TIME, PAGE_WORD };
struct page_filter {
    const char *name; /* of the query parameter; NULL ends a table */
    enum page_filter_kind kind;
    const char *const *words; /* PAGE_WORD */
};

struct page_sort {
    const char *name;   /* as the caller says it; NULL ends a table */
    const char *column; /* SQL, never NULL */
    const char *type;   /* of the column */
};

struct page_list {
    const char *name; /* its path below /v1/ */
    /* "SELECT id, ... AS body FROM ... WHERE condition": $1.. are the list's own parameters, then
     * the filters in the order of their table (text, NULL = all). Order and limit are appended. */
    const char *sql;
    int own;        /* parameters besides filters, at most PAGE_OWN */
    const char *id; /* column that tells objects apart where the sorted one does not */
    const struct page_filter *filters;
    const struct page_sort *sorts; /* the first one is the default ... */
    bool is_newest_first;          /* ... downwards */
    const char *const *fields;     /* members of an object, at most 64, "id" first */
};

/* What a caller asked for. */
struct page {
    const struct page_list *list;
    int limit; /* 1..PAGE_MOST */
    const struct page_sort *sort;
    bool is_descending;
    const char *filters[PAGE_FILTERS]; /* in the order of the table; NULL = all */
    uint64_t fields;                   /* bit i: list->fields[i]; 0 = all */
    bool is_first;                     /* no cursor; else after this object: */
    char after_id[UUID_SIZE], after_key[PAGE_KEY_SIZE];
};

/* The cursor that goes on after an object; bound to the list, its order and its filters. */
void page_cursor_make(const struct page *page, const char *id, const char *key,
                      char out[PAGE_CURSOR_SIZE]);
/* Sets the place of a page whose order and filters are set. False: it is none, or of another list,
 * order or filter. */
bool page_cursor_read(const char *cursor, struct page *page);

/* Runs the list's statement with its own parameters; *text (owned) is {"items": [...], "next":
 * "cursor" or null}. */
bool page_query(struct db *db, const struct page *page, const char *const own[], char **text,
                struct error *err) must_check;
/* The `body` of the one row. ERROR_NOT_FOUND when there is none (any more). */
bool page_one(struct db *db, const char *sql, int count, const char *const params[], char **text,
              struct error *err) must_check;
