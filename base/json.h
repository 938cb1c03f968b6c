/* Strict decoding of JSON objects into structs, once, at the edge. A table says what an object
 * holds; everything else (unknown key, wrong type, out of range, too long, missing, duplicate, too
 * deep) is ERROR_INVALID with the JSON pointer and what was expected, such as
 * "/disks/0/size_bytes: expected an integer of 1 to 70368744177664".
 *
 * No json_t leaves the function that parsed it: decode into structs, keep those. */
#pragma once

#include "base/error.h"
#include "base/field_error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_FIELD_TEXT,   /* char * (owned, memory_copy_text); min..max = length in bytes */
    JSON_FIELD_CHARS,  /* char[size]; min..size-1 = length in bytes */
    JSON_FIELD_UUID,   /* char[UUID_SIZE] */
    JSON_FIELD_BOOL,   /* bool */
    JSON_FIELD_INT64,  /* int64_t, min..max */
    JSON_FIELD_UINT64, /* uint64_t, min..max (JSON integers are at most INT64_MAX) */
    JSON_FIELD_INT,    /* int, min..max */
    JSON_FIELD_ENUM,   /* int/enum (4 bytes): index into `names` (NULL-terminated) */
    JSON_FIELD_OBJECT, /* embedded struct, `fields` */
    JSON_FIELD_ARRAY,  /* struct json_array at offset: items owned; element = `fields`, or a
                          plain text element (char *) when `fields` is NULL; max = item limit */
    JSON_FIELD_MAP,    /* struct json_array of struct json_pair: an object of text to text */
    JSON_FIELD_ANY,    /* char *: the value re-encoded as compact JSON text, max bytes */
};

struct json_array {
    void *items;
    size_t count;
};
struct json_pair {
    char *key;
    char *value;
};

struct json_field {
    const char *name;
    enum json_kind kind;
    size_t offset;
    size_t size; /* JSON_FIELD_CHARS: the array's size; JSON_FIELD_ARRAY: sizeof the element */
    int64_t min, max;
    bool is_required;
    const char *const *names;        /* ENUM */
    const struct json_field *fields; /* OBJECT, ARRAY: terminated by .name == NULL */
    size_t presence_offset;          /* non-zero: a bool at that offset is set when present */
};

/* Parses text (duplicate keys and more than 16 levels refused). Caller json_decref()s. */
bool json_parse(const char *text, size_t size, json_t **root, struct error *err) must_check;
/* Decodes `object`; `out` must be zeroed. On failure `out` holds nothing owned. */
bool json_decode(const json_t *object, const struct json_field *fields, void *out,
                 struct error *err) must_check;
/* Both at once. */
bool json_decode_text(const char *text, size_t size, const struct json_field *fields, void *out,
                      struct error *err) must_check;
/* The same, and all that is wrong (FIELD_BODY) goes to `errors`; NULL: the first is enough. */
bool json_decode_all(const json_t *object, const struct json_field *fields, void *out,
                     struct field_errors *errors, struct error *err) must_check;
bool json_decode_text_all(const char *text, size_t size, const struct json_field *fields, void *out,
                          struct field_errors *errors, struct error *err) must_check;
/* Encodes a struct by the same table (absent optional TEXT = NULL is left out). New reference. */
json_t *json_encode(const struct json_field *fields, const void *in);
char *json_encode_text(const struct json_field *fields, const void *in); /* compact; caller frees */
/* Frees what decoding allocated and zeroes the members named by the table. */
void json_release(const struct json_field *fields, void *out);
