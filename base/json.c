/* Strict decoding by tables; see json.h. */
#include "base/json.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/uuid.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DEPTH = 16, POINTER_SIZE = 160, EXPECTED_SIZE = 200 };
#define DOCUMENT_EXPECTED "one JSON object in UTF-8, each key once, at most 16 levels deep"
#define TEXT_EXPECTED     "text of %" PRId64 " to %" PRId64 " bytes"

/* Where the decoder stands, as a JSON pointer (RFC 6901), for error texts. */
struct place {
    const struct place *parent;
    const char *key; /* NULL: an array index */
    size_t index;
};

static void place_text(const struct place *place, char out[POINTER_SIZE])
{
    if (!place) {
        out[0] = '\0';
        return;
    }
    place_text(place->parent, out);
    char index[24];
    snprintf(index, sizeof index, "%zu", place->index);
    field_pointer_append(out, POINTER_SIZE, place->key ? place->key : index);
}

/* One run over a document: `err` gets the first of what is wrong, `errors` all of it. */
struct decoder {
    struct field_errors *errors; /* NULL: the first is enough */
    struct error *err;
    bool has_failed;
};

static bool is_over(const struct decoder *decoder)
{
    return decoder->has_failed && field_errors_is_full(decoder->errors);
}

/* `said`: the sentence for the error, the pointer before it. */
static bool wrong(struct decoder *decoder, const struct place *place, const char *said,
                  const char *detail, const char *expected)
{
    char pointer[POINTER_SIZE];
    place_text(place, pointer);
    if (!decoder->has_failed)
        error_write(decoder->err, ERROR_INVALID, "%s: %s", pointer[0] ? pointer : "the document",
                    said);
    decoder->has_failed = true;
    field_errors_add(decoder->errors, FIELD_BODY, pointer, detail, expected);
    return false;
}

/* What a value is, without the value of a text. */
static void describe(const json_t *value, char out[EXPECTED_SIZE])
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        snprintf(out, EXPECTED_SIZE, "is an object of %zu members", json_object_size(value));
        return;
    case JSON_ARRAY:
        snprintf(out, EXPECTED_SIZE, "is an array of %zu items", json_array_size(value));
        return;
    case JSON_STRING:
        snprintf(out, EXPECTED_SIZE, "is text of %zu bytes", json_string_length(value));
        return;
    case JSON_INTEGER:
        snprintf(out, EXPECTED_SIZE, "is %" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        snprintf(out, EXPECTED_SIZE, "is a number that is no integer");
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        snprintf(out, EXPECTED_SIZE, "is %s", json_is_true(value) ? "true" : "false");
        return;
    case JSON_NULL:
        snprintf(out, EXPECTED_SIZE, "is null");
        return;
    }
}

static bool unlike(struct decoder *decoder, const struct place *place, const json_t *value,
                   const char *expected)
{
    char said[EXPECTED_SIZE + 16], detail[EXPECTED_SIZE];
    describe(value, detail);
    snprintf(said, sizeof said, "expected %s", expected);
    return wrong(decoder, place, said, detail, expected);
}

static void names_text(const char *const *names, char out[EXPECTED_SIZE])
{
    size_t used = (size_t)snprintf(out, EXPECTED_SIZE, "one of");
    for (int i = 0; names[i] && used < EXPECTED_SIZE; i++)
        used +=
            (size_t)snprintf(out + used, EXPECTED_SIZE - used, "%s \"%s\"", i ? "," : "", names[i]);
}

static int64_t longest(const struct json_field *field)
{
    return field->kind == JSON_FIELD_CHARS ? (int64_t)field->size - 1 : field->max;
}

static void expectation(const struct json_field *field, char out[EXPECTED_SIZE])
{
    switch (field->kind) {
    case JSON_FIELD_TEXT:
    case JSON_FIELD_CHARS:
        snprintf(out, EXPECTED_SIZE, TEXT_EXPECTED, field->min, longest(field));
        return;
    case JSON_FIELD_UUID:
        snprintf(out, EXPECTED_SIZE, "a UUID in lower case");
        return;
    case JSON_FIELD_BOOL:
        snprintf(out, EXPECTED_SIZE, "true or false");
        return;
    case JSON_FIELD_INT64:
    case JSON_FIELD_UINT64:
    case JSON_FIELD_INT:
        snprintf(out, EXPECTED_SIZE, "an integer of %" PRId64 " to %" PRId64, field->min,
                 field->max);
        return;
    case JSON_FIELD_ENUM:
        names_text(field->names, out);
        return;
    case JSON_FIELD_OBJECT:
        snprintf(out, EXPECTED_SIZE, "an object");
        return;
    case JSON_FIELD_ARRAY:
        snprintf(out, EXPECTED_SIZE, "an array of at most %" PRId64 " items", field->max);
        return;
    case JSON_FIELD_MAP:
        snprintf(out, EXPECTED_SIZE, "an object of at most %" PRId64 " members", field->max);
        return;
    case JSON_FIELD_ANY:
        snprintf(out, EXPECTED_SIZE, "a value of at most %" PRId64 " bytes", field->max);
        return;
    }
}

static bool unlike_field(struct decoder *decoder, const struct place *place, const json_t *value,
                         const struct json_field *field)
{
    char expected[EXPECTED_SIZE];
    expectation(field, expected);
    return unlike(decoder, place, value, expected);
}

static bool decode_object(struct decoder *decoder, const json_t *object,
                          const struct json_field *fields, void *out, const struct place *place);

static bool is_plain_text(const json_t *value)
{
    /* a NUL inside would cut the text behind the caller's back */
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static bool has_length(const json_t *value, int64_t min, int64_t max)
{
    int64_t length = is_plain_text(value) ? (int64_t)json_string_length(value) : -1;
    return length >= min && length <= max;
}

/* Text of an array or a map, which has no row of its own. */
static bool check_item(struct decoder *decoder, const json_t *value, int64_t min,
                       const struct place *place)
{
    char expected[EXPECTED_SIZE];
    if (has_length(value, min, INT16_MAX))
        return true;
    snprintf(expected, sizeof expected, TEXT_EXPECTED, min, (int64_t)INT16_MAX);
    return unlike(decoder, place, value, expected);
}

static bool decode_integer(struct decoder *decoder, const json_t *value,
                           const struct json_field *field, void *at, const struct place *place)
{
    int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < field->min || number > field->max)
        return unlike_field(decoder, place, value, field);
    if (field->kind == JSON_FIELD_INT)
        *(int *)at = (int)number;
    else
        *(int64_t *)at = number; /* UINT64 too: min is never negative there */
    return true;
}

static bool decode_enum(struct decoder *decoder, const json_t *value,
                        const struct json_field *field, void *at, const struct place *place)
{
    for (int i = 0; field->names[i]; i++) {
        if (is_plain_text(value) && strcmp(json_string_value(value), field->names[i]) == 0) {
            *(int *)at = i;
            return true;
        }
    }
    return unlike_field(decoder, place, value, field);
}

/* One item of an array: an object by the field's table, or text when it has none. */
static bool decode_item(struct decoder *decoder, const json_t *value,
                        const struct json_field *field, void *item, const struct place *place)
{
    if (field->fields)
        return decode_object(decoder, value, field->fields, item, place);
    if (!check_item(decoder, value, 0, place))
        return false;
    *(char **)item = memory_copy_text(json_string_value(value));
    return true;
}

static size_t item_size(const struct json_field *field)
{
    return field->fields ? field->size : sizeof(char *);
}

static void release_array(const struct json_field *field, struct json_array *array)
{
    for (size_t i = 0; i < array->count; i++) {
        char *item = (char *)array->items + i * item_size(field);
        if (field->fields)
            json_release(field->fields, item);
        else
            free(*(char **)item);
    }
    free(array->items);
    *array = (struct json_array){0};
}

static bool decode_array(struct decoder *decoder, const json_t *value,
                         const struct json_field *field, void *at, const struct place *place)
{
    if (!json_is_array(value) || json_array_size(value) > (size_t)field->max)
        return unlike_field(decoder, place, value, field);
    struct json_array array = {.items = memory_array(json_array_size(value), item_size(field))};
    bool is_good = true;
    for (; array.count < json_array_size(value) && !is_over(decoder); array.count++) {
        struct place here = {.parent = place, .index = array.count};
        void *item = (char *)array.items + array.count * item_size(field);
        is_good &= decode_item(decoder, json_array_get(value, array.count), field, item, &here);
    }
    if (is_good)
        *(struct json_array *)at = array;
    else
        release_array(field, &array);
    return is_good;
}

static void release_map(struct json_array *map)
{
    struct json_pair *pairs = map->items;
    for (size_t i = 0; i < map->count; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
    }
    free(pairs);
    *map = (struct json_array){0};
}

static bool decode_map(struct decoder *decoder, const json_t *value, const struct json_field *field,
                       void *at, const struct place *place)
{
    if (!json_is_object(value) || json_object_size(value) > (size_t)field->max)
        return unlike_field(decoder, place, value, field);
    struct json_pair *pairs = memory_array(json_object_size(value), sizeof *pairs);
    struct json_array map = {.items = pairs};
    bool is_good = true;
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)value, key, member)
    {
        struct place here = {.parent = place, .key = key};
        if (is_over(decoder))
            break;
        if (check_item(decoder, member, 1, &here))
            pairs[map.count++] = (struct json_pair){memory_copy_text(key),
                                                    memory_copy_text(json_string_value(member))};
        else
            is_good = false;
    }
    if (is_good)
        *(struct json_array *)at = map;
    else
        release_map(&map);
    return is_good;
}

static bool decode_any(struct decoder *decoder, const json_t *value, const struct json_field *field,
                       void *at, const struct place *place)
{
    auto_free char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text || strlen(text) > (size_t)field->max)
        return unlike_field(decoder, place, value, field);
    *(char **)at = take(text);
    return true;
}

static bool decode_text(struct decoder *decoder, const json_t *value,
                        const struct json_field *field, void *at, const struct place *place)
{
    if (!has_length(value, field->min, longest(field)))
        return unlike_field(decoder, place, value, field);
    const char *text = json_string_value(value);
    if (field->kind == JSON_FIELD_CHARS)
        memcpy(at, text, strlen(text) + 1);
    else
        *(char **)at = memory_copy_text(text);
    return true;
}

static bool decode_value(struct decoder *decoder, const json_t *value,
                         const struct json_field *field, void *at, const struct place *place)
{
    switch (field->kind) {
    case JSON_FIELD_TEXT:
    case JSON_FIELD_CHARS:
        return decode_text(decoder, value, field, at, place);
    case JSON_FIELD_UUID:
        if (!is_plain_text(value) || !uuid_is_valid(json_string_value(value)))
            return unlike_field(decoder, place, value, field);
        memcpy(at, json_string_value(value), UUID_SIZE);
        return true;
    case JSON_FIELD_BOOL:
        if (!json_is_boolean(value))
            return unlike_field(decoder, place, value, field);
        *(bool *)at = json_is_true(value);
        return true;
    case JSON_FIELD_INT64:
    case JSON_FIELD_UINT64:
    case JSON_FIELD_INT:
        return decode_integer(decoder, value, field, at, place);
    case JSON_FIELD_ENUM:
        return decode_enum(decoder, value, field, at, place);
    case JSON_FIELD_OBJECT:
        return decode_object(decoder, value, field->fields, at, place);
    case JSON_FIELD_ARRAY:
        return decode_array(decoder, value, field, at, place);
    case JSON_FIELD_MAP:
        return decode_map(decoder, value, field, at, place);
    case JSON_FIELD_ANY:
        return decode_any(decoder, value, field, at, place);
    }
    abort(); /* a table names no other kind */
}

static const struct json_field *find_field(const struct json_field *fields, const char *key)
{
    for (; fields->name; fields++) {
        if (strcmp(fields->name, key) == 0)
            return fields;
    }
    return NULL;
}

static bool unknown(struct decoder *decoder, const struct json_field *fields,
                    const struct place *place)
{
    char expected[EXPECTED_SIZE];
    size_t used = (size_t)snprintf(expected, sizeof expected, "one of");
    for (int i = 0; fields[i].name && used < sizeof expected; i++)
        used += (size_t)snprintf(expected + used, sizeof expected - used, "%s \"%s\"", i ? "," : "",
                                 fields[i].name);
    return wrong(decoder, place, "unknown key", "is not known here", expected);
}

static bool check_keys(struct decoder *decoder, const json_t *object,
                       const struct json_field *fields, const struct place *place)
{
    bool is_good = true;
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)object, key, member)
    {
        struct place here = {.parent = place, .key = key};
        if (!find_field(fields, key) && !is_over(decoder))
            is_good &= unknown(decoder, fields, &here);
    }
    return is_good;
}

static bool missing(struct decoder *decoder, const struct json_field *field,
                    const struct place *place)
{
    char expected[EXPECTED_SIZE];
    expectation(field, expected);
    return wrong(decoder, place, "is missing", "is missing", expected);
}

static bool decode_member(struct decoder *decoder, const json_t *object,
                          const struct json_field *field, char *out, const struct place *place)
{
    const json_t *value = json_object_get(object, field->name);
    if (!value || (json_is_null(value) && !field->is_required))
        return !field->is_required || missing(decoder, field, place);
    if (!decode_value(decoder, value, field, out + field->offset, place))
        return false;
    if (field->presence_offset)
        *(bool *)(out + field->presence_offset) = true;
    return true;
}

static bool decode_object(struct decoder *decoder, const json_t *object,
                          const struct json_field *fields, void *out, const struct place *place)
{
    if (!json_is_object(object))
        return unlike(decoder, place, object, "an object");
    bool is_good = check_keys(decoder, object, fields, place);
    for (const struct json_field *field = fields; field->name && !is_over(decoder); field++) {
        struct place here = {.parent = place, .key = field->name};
        is_good &= decode_member(decoder, object, field, out, &here);
    }
    if (!is_good)
        json_release(fields, out);
    return is_good;
}

bool json_decode_all(const json_t *object, const struct json_field *fields, void *out,
                     struct field_errors *errors, struct error *err)
{
    struct decoder decoder = {.errors = errors, .err = err};
    return decode_object(&decoder, object, fields, out, NULL);
}

bool json_decode(const json_t *object, const struct json_field *fields, void *out,
                 struct error *err)
{
    return json_decode_all(object, fields, out, NULL, err);
}

static bool is_too_deep(const json_t *value, int levels)
{
    if (levels == 0)
        return json_is_object(value) || json_is_array(value);
    const char *key;
    json_t *member;
    size_t i;
    json_object_foreach((json_t *)value, key, member)
    {
        if (is_too_deep(member, levels - 1))
            return true;
    }
    json_array_foreach(value, i, member)
    {
        if (is_too_deep(member, levels - 1))
            return true;
    }
    return false;
}

bool json_parse(const char *text, size_t size, json_t **root, struct error *err)
{
    json_error_t why;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    if (!value)
        return error_set(err, ERROR_INVALID, "not valid JSON at line %d column %d: %s", why.line,
                         why.column, why.text);
    if (is_too_deep(value, JSON_DEPTH)) {
        json_decref(value);
        return error_set(err, ERROR_INVALID, "JSON nested deeper than %d levels", JSON_DEPTH);
    }
    *root = value;
    return true;
}

bool json_decode_text_all(const char *text, size_t size, const struct json_field *fields, void *out,
                          struct field_errors *errors, struct error *err)
{
    json_t *root;
    if (!json_parse(text, size, &root, err)) {
        field_errors_add(errors, FIELD_BODY, "", err->text, DOCUMENT_EXPECTED);
        return false;
    }
    bool is_done = json_decode_all(root, fields, out, errors, err);
    json_decref(root);
    return is_done;
}

bool json_decode_text(const char *text, size_t size, const struct json_field *fields, void *out,
                      struct error *err)
{
    return json_decode_text_all(text, size, fields, out, NULL, err);
}

void json_release(const struct json_field *fields, void *out)
{
    for (const struct json_field *field = fields; field->name; field++) {
        char *at = (char *)out + field->offset;
        if (field->kind == JSON_FIELD_TEXT || field->kind == JSON_FIELD_ANY) {
            free(*(char **)(void *)at);
            *(char **)(void *)at = NULL;
        } else if (field->kind == JSON_FIELD_OBJECT) {
            json_release(field->fields, at);
        } else if (field->kind == JSON_FIELD_ARRAY) {
            release_array(field, (struct json_array *)(void *)at);
        } else if (field->kind == JSON_FIELD_MAP) {
            release_map((struct json_array *)(void *)at);
        }
    }
}
