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

enum { JSON_DEPTH = 16, POINTER_SIZE = 160 };

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
    size_t used = strlen(out);
    if (!place->key) {
        snprintf(out + used, POINTER_SIZE - used, "/%zu", place->index);
        return;
    }
    if (used < POINTER_SIZE - 1)
        out[used++] = '/';
    for (const char *p = place->key; *p && used < POINTER_SIZE - 3; p++) {
        if (*p == '~' || *p == '/') {
            out[used++] = '~';
            out[used++] = *p == '~' ? '0' : '1';
        } else {
            out[used++] = *p;
        }
    }
    out[used] = '\0';
}

static bool wrong(const struct place *place, struct error *err, const char *expected)
{
    char pointer[POINTER_SIZE];
    place_text(place, pointer);
    return error_set(err, ERROR_INVALID, "%s: %s", pointer[0] ? pointer : "the document", expected);
}

static bool decode_object(const json_t *object, const struct json_field *fields, void *out,
                          const struct place *place, struct error *err);

static bool is_plain_text(const json_t *value)
{
    /* a NUL inside would cut the text behind the caller's back */
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static bool check_length(const json_t *value, int64_t min, int64_t max, const struct place *place,
                         struct error *err)
{
    char expected[96];
    snprintf(expected, sizeof expected, "expected text of %" PRId64 " to %" PRId64 " bytes", min,
             max);
    if (!is_plain_text(value))
        return wrong(place, err, expected);
    int64_t length = (int64_t)json_string_length(value);
    return length >= min && length <= max ? true : wrong(place, err, expected);
}

static bool decode_integer(const json_t *value, const struct json_field *field, void *at,
                           const struct place *place, struct error *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < field->min ||
        json_integer_value(value) > field->max) {
        char expected[96];
        snprintf(expected, sizeof expected, "expected an integer of %" PRId64 " to %" PRId64,
                 field->min, field->max);
        return wrong(place, err, expected);
    }
    int64_t number = json_integer_value(value);
    if (field->kind == JSON_FIELD_INT)
        *(int *)at = (int)number;
    else
        *(int64_t *)at = number; /* UINT64 too: min is never negative there */
    return true;
}

static bool decode_enum(const json_t *value, const struct json_field *field, void *at,
                        const struct place *place, struct error *err)
{
    char expected[200] = "expected one of";
    for (int i = 0; field->names[i]; i++) {
        if (is_plain_text(value) && strcmp(json_string_value(value), field->names[i]) == 0) {
            *(int *)at = i;
            return true;
        }
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s \"%s\"", i ? "," : "",
                 field->names[i]);
    }
    return wrong(place, err, expected);
}

/* One item of an array: an object by the field's table, or text when it has none. */
static bool decode_item(const json_t *value, const struct json_field *field, void *item,
                        const struct place *place, struct error *err)
{
    if (field->fields)
        return decode_object(value, field->fields, item, place, err);
    if (!check_length(value, 0, INT16_MAX, place, err))
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

static bool decode_array(const json_t *value, const struct json_field *field, void *at,
                         const struct place *place, struct error *err)
{
    char expected[96];
    snprintf(expected, sizeof expected, "expected an array of at most %" PRId64 " items",
             field->max);
    if (!json_is_array(value) || json_array_size(value) > (size_t)field->max)
        return wrong(place, err, expected);
    struct json_array array = {.items = memory_array(json_array_size(value), item_size(field))};
    for (; array.count < json_array_size(value); array.count++) {
        struct place here = {.parent = place, .index = array.count};
        void *item = (char *)array.items + array.count * item_size(field);
        if (!decode_item(json_array_get(value, array.count), field, item, &here, err)) {
            release_array(field, &array);
            return false;
        }
    }
    *(struct json_array *)at = array;
    return true;
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

static bool decode_map(const json_t *value, const struct json_field *field, void *at,
                       const struct place *place, struct error *err)
{
    char expected[96];
    snprintf(expected, sizeof expected, "expected an object of at most %" PRId64 " members",
             field->max);
    if (!json_is_object(value) || json_object_size(value) > (size_t)field->max)
        return wrong(place, err, expected);
    struct json_pair *pairs = memory_array(json_object_size(value), sizeof *pairs);
    struct json_array map = {.items = pairs};
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)value, key, member)
    {
        struct place here = {.parent = place, .key = key};
        if (!check_length(member, 1, INT16_MAX, &here, err)) {
            release_map(&map);
            return false;
        }
        pairs[map.count++] =
            (struct json_pair){memory_copy_text(key), memory_copy_text(json_string_value(member))};
    }
    *(struct json_array *)at = map;
    return true;
}

static bool decode_any(const json_t *value, const struct json_field *field, void *at,
                       const struct place *place, struct error *err)
{
    auto_free char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text || strlen(text) > (size_t)field->max) {
        char expected[96];
        snprintf(expected, sizeof expected, "expected a value of at most %" PRId64 " bytes",
                 field->max);
        return wrong(place, err, expected);
    }
    *(char **)at = take(text);
    return true;
}

static bool decode_text(const json_t *value, const struct json_field *field, void *at,
                        const struct place *place, struct error *err)
{
    int64_t max = field->kind == JSON_FIELD_CHARS ? (int64_t)field->size - 1 : field->max;
    if (!check_length(value, field->min, max, place, err))
        return false;
    const char *text = json_string_value(value);
    if (field->kind == JSON_FIELD_CHARS)
        memcpy(at, text, strlen(text) + 1);
    else
        *(char **)at = memory_copy_text(text);
    return true;
}

static bool decode_value(const json_t *value, const struct json_field *field, void *at,
                         const struct place *place, struct error *err)
{
    switch (field->kind) {
    case JSON_FIELD_TEXT:
    case JSON_FIELD_CHARS:
        return decode_text(value, field, at, place, err);
    case JSON_FIELD_UUID:
        if (!is_plain_text(value) || !uuid_is_valid(json_string_value(value)))
            return wrong(place, err, "expected a UUID in lower case");
        memcpy(at, json_string_value(value), UUID_SIZE);
        return true;
    case JSON_FIELD_BOOL:
        if (!json_is_boolean(value))
            return wrong(place, err, "expected true or false");
        *(bool *)at = json_is_true(value);
        return true;
    case JSON_FIELD_INT64:
    case JSON_FIELD_UINT64:
    case JSON_FIELD_INT:
        return decode_integer(value, field, at, place, err);
    case JSON_FIELD_ENUM:
        return decode_enum(value, field, at, place, err);
    case JSON_FIELD_OBJECT:
        return decode_object(value, field->fields, at, place, err);
    case JSON_FIELD_ARRAY:
        return decode_array(value, field, at, place, err);
    case JSON_FIELD_MAP:
        return decode_map(value, field, at, place, err);
    case JSON_FIELD_ANY:
        return decode_any(value, field, at, place, err);
    }
    return error_set(err, ERROR_INTERNAL, "unknown field kind %d", (int)field->kind);
}

static const struct json_field *find_field(const struct json_field *fields, const char *key)
{
    for (; fields->name; fields++) {
        if (strcmp(fields->name, key) == 0)
            return fields;
    }
    return NULL;
}

static bool check_keys(const json_t *object, const struct json_field *fields,
                       const struct place *place, struct error *err)
{
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)object, key, member)
    {
        struct place here = {.parent = place, .key = key};
        if (!find_field(fields, key))
            return wrong(&here, err, "unknown key");
    }
    return true;
}

static bool decode_object(const json_t *object, const struct json_field *fields, void *out,
                          const struct place *place, struct error *err)
{
    if (!json_is_object(object))
        return wrong(place, err, "expected an object");
    if (!check_keys(object, fields, place, err))
        return false;
    for (const struct json_field *field = fields; field->name; field++) {
        const json_t *value = json_object_get(object, field->name);
        struct place here = {.parent = place, .key = field->name};
        bool is_absent = !value || (json_is_null(value) && !field->is_required);
        bool is_right = !is_absent
                            ? decode_value(value, field, (char *)out + field->offset, &here, err)
                            : !field->is_required || wrong(&here, err, "is missing");
        if (!is_right) {
            json_release(fields, out);
            return false;
        }
        if (!is_absent && field->presence_offset)
            *(bool *)((char *)out + field->presence_offset) = true;
    }
    return true;
}

bool json_decode(const json_t *object, const struct json_field *fields, void *out,
                 struct error *err)
{
    return decode_object(object, fields, out, NULL, err);
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

bool json_decode_text(const char *text, size_t size, const struct json_field *fields, void *out,
                      struct error *err)
{
    json_t *root;
    if (!json_parse(text, size, &root, err))
        return false;
    bool is_done = json_decode(root, fields, out, err);
    json_decref(root);
    return is_done;
}

static json_t *encode_value(const struct json_field *field, const void *at);

static json_t *encode_array(const struct json_field *field, const struct json_array *array)
{
    json_t *list = json_array();
    for (size_t i = 0; i < array->count; i++) {
        const char *item = (const char *)array->items + i * item_size(field);
        json_t *value = field->fields ? json_encode(field->fields, item)
                                      : json_string(*(char *const *)(const void *)item);
        json_array_append_new(list, value);
    }
    return list;
}

static json_t *encode_map(const struct json_array *map)
{
    json_t *object = json_object();
    const struct json_pair *pairs = map->items;
    for (size_t i = 0; i < map->count; i++)
        json_object_set_new(object, pairs[i].key, json_string(pairs[i].value));
    return object;
}

/* NULL when the value is absent. */
static json_t *encode_value(const struct json_field *field, const void *at)
{
    const char *text;
    switch (field->kind) {
    case JSON_FIELD_TEXT:
        text = *(char *const *)at;
        return text ? json_string(text) : NULL;
    case JSON_FIELD_CHARS:
        return json_string(at);
    case JSON_FIELD_UUID:
        return *(const char *)at ? json_string(at) : NULL;
    case JSON_FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case JSON_FIELD_INT:
        return json_integer(*(const int *)at);
    case JSON_FIELD_INT64:
    case JSON_FIELD_UINT64:
        return json_integer(*(const int64_t *)at);
    case JSON_FIELD_ENUM:
        return json_string(field->names[*(const int *)at]);
    case JSON_FIELD_OBJECT:
        return json_encode(field->fields, at);
    case JSON_FIELD_ARRAY:
        return encode_array(field, at);
    case JSON_FIELD_MAP:
        return encode_map(at);
    case JSON_FIELD_ANY:
        text = *(char *const *)at;
        return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    }
    return NULL;
}

json_t *json_encode(const struct json_field *fields, const void *in)
{
    json_t *object = json_object();
    for (const struct json_field *field = fields; field->name; field++) {
        if (field->presence_offset && !*(const bool *)((const char *)in + field->presence_offset))
            continue;
        json_t *value = encode_value(field, (const char *)in + field->offset);
        if (value)
            json_object_set_new(object, field->name, value);
    }
    return object;
}

char *json_encode_text(const struct json_field *fields, const void *in)
{
    json_t *object = json_encode(fields, in);
    char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(object);
    if (!text)
        abort(); /* only memory can be missing */
    return text;
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
