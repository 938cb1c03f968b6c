/* PostgreSQL's manual, "Array Input and Output Syntax": every element is quoted, so that none is
 * taken for NULL or for an inner array. */
#include "coordinator/db/db_array.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static const char null_text[] = "NULL";

/* Room for so many bytes more, the closing brace and the NUL. */
static void make_room(struct db_array *array, size_t size)
{
    size_t wanted = array->size + size + 2;
    if (wanted <= array->capacity)
        return;
    array->capacity = wanted * 2;
    array->text = memory_resize(array->text, array->capacity, 1);
}

static void add_quoted(struct db_array *array, const char *value)
{
    array->text[array->size++] = '"';
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            array->text[array->size++] = '\\';
        array->text[array->size++] = *value;
    }
    array->text[array->size++] = '"';
}

void db_array_add(struct db_array *array, const char *value)
{
    make_room(array, value ? 3 + 2 * strlen(value) : sizeof null_text);
    array->text[array->size] = array->size ? ',' : '{';
    array->size++;
    if (value) {
        add_quoted(array, value);
    } else {
        memcpy(array->text + array->size, null_text, strlen(null_text));
        array->size += strlen(null_text);
    }
    memcpy(array->text + array->size, "}", 2);
}

const char *db_array_text(const struct db_array *array)
{
    return array->size ? array->text : "{}";
}

void db_array_done(struct db_array *array)
{
    free(array->text);
    *array = (struct db_array){0};
}
