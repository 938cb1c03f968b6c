/* Encoding by the tables that decode; see json.h. */
#include "base/json.h"

#include <stdlib.h>

static json_t *encode_value(const struct json_field *field, const void *at);

static json_t *encode_array(const struct json_field *field, const struct json_array *array)
{
    size_t item_size = field->fields ? field->size : sizeof(char *);
    json_t *list = json_array();
    for (size_t i = 0; i < array->count; i++) {
        const char *item = (const char *)array->items + i * item_size;
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
