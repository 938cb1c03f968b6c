/* A list of what is wrong with single fields; see field_error.h. */
#include "base/field_error.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
    char *made = memory_copy_text(text);
    utf8_repair(made); /* it may have been cut to fit */
    return made;
}

void field_errors_add(struct field_errors *errors, enum field_place place, const char *name,
                      const char *detail, const char *expected)
{
    if (field_errors_is_full(errors))
        return;
    if (!errors->items)
        errors->items = memory_array(FIELD_ERRORS_MOST, sizeof *errors->items);
    errors->items[errors->count++] = (struct field_error){
        .place = place, .name = copy(name), .detail = copy(detail), .expected = copy(expected)};
}

bool field_wrong(struct field_errors *errors, const char *pointer, const char *detail,
                 const char *expected, struct error *err)
{
    field_errors_add(errors, FIELD_BODY, pointer, detail, expected);
    return error_set(err, ERROR_INVALID, "%s%sexpected %s", pointer, pointer[0] ? ": " : "",
                     expected);
}

void field_pointer_append(char *pointer, size_t size, const char *key)
{
    size_t used = strlen(pointer);
    if (used + 1 < size)
        pointer[used++] = '/';
    for (; *key && used + 2 < size; key++) {
        bool is_escaped = *key == '~' || *key == '/';
        if (is_escaped)
            pointer[used++] = '~';
        pointer[used++] = (char)(!is_escaped ? *key : *key == '~' ? '0' : '1');
    }
    pointer[used] = '\0';
}

void field_errors_prefix(struct field_errors *errors, size_t from, const char *pointer)
{
    for (size_t i = from; i < field_errors_count(errors); i++) {
        char *name = memory_format("%s%s", pointer, errors->items[i].name);
        free(errors->items[i].name);
        errors->items[i].name = name;
    }
}

bool field_errors_is_full(const struct field_errors *errors)
{
    return !errors || errors->count == FIELD_ERRORS_MOST;
}

size_t field_errors_count(const struct field_errors *errors)
{
    return errors ? errors->count : 0;
}

void field_errors_done(struct field_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        free(errors->items[i].name);
        free(errors->items[i].detail);
        free(errors->items[i].expected);
    }
    free(errors->items);
    *errors = (struct field_errors){0};
}
