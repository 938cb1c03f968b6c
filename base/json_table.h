/* One line per field of a decoding table (base/json.h). `type` is the struct's tag without the word
 * struct; `required` is true or false. A table ends with {0}. */
#pragma once

#include "base/json.h"

#define JSON_MEMBER_SIZE(type, member) sizeof(((struct type *)0)->member)
#define JSON_ROW(word, type, member, field_kind, required)                                         \
    .name = word, .kind = field_kind, .offset = offsetof(struct type, member),                     \
    .is_required = required

/* char[] of at least `shortest` bytes and at most what fits */
#define JSON_CHARS(word, type, member, shortest, required)                                         \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_CHARS, required),                                  \
            .size = JSON_MEMBER_SIZE(type, member), .min = shortest                                \
    }
/* char *, owned */
#define JSON_TEXT(word, type, member, shortest, longest, required)                                 \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_TEXT, required), .min = shortest, .max = longest   \
    }
#define JSON_UUID(word, type, member, required)                                                    \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_UUID, required)                                    \
    }
#define JSON_BOOL(word, type, member, required)                                                    \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_BOOL, required)                                    \
    }
#define JSON_INT(word, type, member, low, high, required)                                          \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_INT, required), .min = low, .max = high            \
    }
#define JSON_INT64(word, type, member, low, high, required)                                        \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_INT64, required), .min = low, .max = high          \
    }
#define JSON_UINT64(word, type, member, low, high, required)                                       \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_UINT64, required), .min = low, .max = high         \
    }
/* A size or count in bytes, any value that JSON can hold */
#define JSON_BYTES(word, type, member, required)                                                   \
    JSON_UINT64(word, type, member, 0, INT64_MAX, required)
#define JSON_ENUM(word, type, member, words, required)                                             \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_ENUM, required), .names = words                    \
    }
#define JSON_OBJECT(word, type, member, table, required)                                           \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_OBJECT, required), .fields = table                 \
    }
/* struct json_array of struct `element`, at most `limit` */
#define JSON_LIST(word, type, member, element, limit, table, required)                             \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_ARRAY, required), .size = sizeof(struct element),  \
                                                                  .max = limit, .fields = table    \
    }
/* struct json_array of char * */
#define JSON_TEXTS(word, type, member, limit, required)                                            \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_ARRAY, required), .max = limit                     \
    }
/* struct json_array of struct json_pair */
#define JSON_MAP(word, type, member, limit, required)                                              \
    {                                                                                              \
        JSON_ROW(word, type, member, JSON_FIELD_MAP, required), .max = limit                       \
    }
