/* Cursors: "<digest>.<id>.<key in hex>", where key is the sorted column of the last object as text.
 * The digest tells a cursor of another list, order or filter, and one that was cut. It is no
 * secret: whatever stands in a cursor is a bound parameter, and the caller's scope is no part of
 * it. */
#include "coordinator/store/page.h"

#include "base/buffer.h"
#include "base/x509.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST = 16, DIGESTED_BYTES = 256 << 10 };

static bool append(struct buffer *out, const char *text, struct error *err)
{
    return text ? buffer_printf(out, err, "%zu:%s ", strlen(text), text)
                : buffer_printf(out, err, "- ");
}

static bool append_all(const struct page *page, const char *id, const char *key, struct buffer *out,
                       struct error *err)
{
    if (!append(out, page->list->name, err) || !append(out, page->sort->name, err) ||
        !append(out, page->is_descending ? "down" : "up", err) || !append(out, id, err) ||
        !append(out, key, err))
        return false;
    for (int i = 0; page->list->filters[i].name; i++) {
        if (!append(out, page->filters[i], err))
            return false;
    }
    return true;
}

/* "" when the filters are longer than any request. */
static void digest(const struct page *page, const char *id, const char *key, char out[DIGEST + 1])
{
    struct error ignored;
    struct buffer text;
    char hash[65] = "";
    buffer_init(&text, DIGESTED_BYTES);
    if (append_all(page, id, key, &text, &ignored))
        x509_sha256_hex(text.data, text.size, hash);
    snprintf(out, DIGEST + 1, "%.*s", DIGEST, hash);
    buffer_done(&text);
}

void page_cursor_make(const struct page *page, const char *id, const char *key,
                      char out[PAGE_CURSOR_SIZE])
{
    char hash[DIGEST + 1];
    digest(page, id, key, hash);
    int used = snprintf(out, PAGE_CURSOR_SIZE, "%s.%s.", hash, id);
    for (; *key && used + 2 < PAGE_CURSOR_SIZE; key++, used += 2)
        snprintf(out + used, 3, "%02x", (unsigned char)*key);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool read_key(const char *hex, char out[PAGE_KEY_SIZE])
{
    size_t size = strlen(hex) / 2;
    if (strlen(hex) % 2 != 0 || size >= PAGE_KEY_SIZE)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (char)(16 * high + low);
    }
    out[size] = '\0';
    return strlen(out) == size;
}

bool page_cursor_read(const char *cursor, struct page *page)
{
    char hash[DIGEST + 1];
    if (strlen(cursor) < DIGEST + 1 + UUID_SIZE || cursor[DIGEST] != '.' ||
        cursor[DIGEST + UUID_SIZE] != '.')
        return false;
    snprintf(page->after_id, UUID_SIZE, "%s", cursor + DIGEST + 1);
    if (!uuid_is_valid(page->after_id) ||
        !read_key(cursor + DIGEST + 1 + UUID_SIZE, page->after_key))
        return false;
    digest(page, page->after_id, page->after_key, hash);
    page->is_first = false;
    return hash[0] && strncmp(cursor, hash, DIGEST) == 0;
}
