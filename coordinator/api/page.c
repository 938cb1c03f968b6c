/* The parameters of lists, read by the list's own table: limit, cursor, sort, fields, filters. */
#include "coordinator/api/api.h"

#include "base/uuid.h"
#include "coordinator/store/page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMON = 4, WORDS_SIZE = 1024 };
#define CURSOR_EXPECTED "the `next` of the page before, with the same sort and filters"

bool api_limit(struct http_request *request, int *limit, struct error *err)
{
    const char *text = http_query(request, "limit");
    *limit = PAGE_DEFAULT;
    if (!text)
        return true;
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text || value < 1 || value > PAGE_MOST)
        return http_wrong_parameter(request, "limit", "1 to 500", err);
    *limit = (int)value;
    return true;
}

static bool check_names(struct http_request *request, const struct page_list *list,
                        struct error *err)
{
    const char *allowed[COMMON + PAGE_FILTERS + 1] = {"limit", "cursor", "sort", "fields"};
    for (int i = 0; list->filters[i].name; i++)
        allowed[COMMON + i] = list->filters[i].name;
    return http_query_only(request, allowed, err);
}

static void append_word(char out[WORDS_SIZE], const char *word)
{
    size_t used = strlen(out);
    snprintf(out + used, WORDS_SIZE - used, "%s%s", used ? ", " : "", word);
}

static bool wrong_sort(struct http_request *request, const struct page_list *list,
                       struct error *err)
{
    char words[WORDS_SIZE] = "";
    for (int i = 0; list->sorts[i].name; i++) {
        append_word(words, list->sorts[i].name);
        append_word(words, "-");
        size_t used = strlen(words);
        snprintf(words + used, WORDS_SIZE - used, "%s", list->sorts[i].name);
    }
    return http_wrong_parameter(request, "sort", words, err);
}

/* "name" upwards, "-name" downwards. */
static bool read_sort(struct http_request *request, struct page *page, struct error *err)
{
    const char *word = http_query(request, "sort");
    page->sort = page->list->sorts;
    page->is_descending = page->list->is_newest_first;
    if (!word)
        return true;
    page->is_descending = word[0] == '-';
    for (; page->sort->name; page->sort++) {
        if (strcmp(page->sort->name, word + page->is_descending) == 0)
            return true;
    }
    return wrong_sort(request, page->list, err);
}

static int index_of(const char *const words[], const char *word, size_t length)
{
    for (int i = 0; words[i]; i++) {
        if (strlen(words[i]) == length && memcmp(words[i], word, length) == 0)
            return i;
    }
    return -1;
}

static bool wrong_words(struct http_request *request, const char *name, const char *const words[],
                        const char *rule, struct error *err)
{
    char known[WORDS_SIZE] = "";
    char expected[WORDS_SIZE + 64];
    for (int i = 0; words[i]; i++)
        append_word(known, words[i]);
    snprintf(expected, sizeof expected, "%s %s", rule, known);
    return http_wrong_parameter(request, name, expected, err);
}

/* "id" comes along always. */
static bool read_fields(struct http_request *request, struct page *page, struct error *err)
{
    const char *text = http_query(request, "fields");
    if (!text)
        return true;
    page->fields = 1;
    for (;;) {
        size_t length = strcspn(text, ",");
        int i = index_of(page->list->fields, text, length);
        if (i < 0)
            return wrong_words(request, "fields", page->list->fields,
                               "names with commas between them, of", err);
        page->fields |= UINT64_C(1) << i;
        if (!text[length])
            return true;
        text += length + 1;
    }
}

static bool check_filter(struct http_request *request, const struct page_filter *filter,
                         const char *value, struct error *err)
{
    switch (filter->kind) {
    case PAGE_TEXT:
        return true;
    case PAGE_UUID:
        return uuid_is_valid(value) ||
               http_wrong_parameter(request, filter->name, "a UUID in lower case", err);
    case PAGE_TIME:
        return api_is_time(value) ||
               http_wrong_parameter(request, filter->name, API_TIME_EXPECTED, err);
    case PAGE_WORD:
        return index_of(filter->words, value, strlen(value)) >= 0 ||
               wrong_words(request, filter->name, filter->words, "one of", err);
    }
    abort(); /* a table names no other kind */
}

static bool read_filters(struct http_request *request, struct page *page, struct error *err)
{
    for (int i = 0; page->list->filters[i].name; i++) {
        const char *value = http_query(request, page->list->filters[i].name);
        if (value && !check_filter(request, &page->list->filters[i], value, err))
            return false;
        page->filters[i] = value;
    }
    return true;
}

static bool read_page(struct http_request *request, const struct page_list *list, struct page *page,
                      struct error *err)
{
    *page = (struct page){.list = list, .is_first = true};
    if (!check_names(request, list, err) || !api_limit(request, &page->limit, err) ||
        !read_sort(request, page, err) || !read_fields(request, page, err) ||
        !read_filters(request, page, err))
        return false;
    const char *cursor = http_query(request, "cursor");
    return !cursor || page_cursor_read(cursor, page) ||
           http_wrong_parameter(request, "cursor", CURSOR_EXPECTED, err);
}

/* A cursor that somebody made by himself can hold what does not fit the column. */
bool api_list(struct http_request *request, const struct page_list *list, const char *const own[],
              struct http_answer *answer, struct error *err)
{
    struct page page;
    if (!read_page(request, list, &page, err))
        return false;
    if (page_query(request->db, &page, own, &answer->body, err))
        return true;
    if (err->code != ERROR_INVALID || page.is_first)
        return false;
    return http_wrong_parameter(request, "cursor", CURSOR_EXPECTED, err);
}
