/* See hello.h. */
#include "agent/link/hello.h"

#include "base/cleanup.h"
#include "base/json_table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *const link_channel_names[] = {"mirror", "copy", "memory", "control", NULL};

struct hello_line {
    struct link_hello hello;
    bool has_disk;
};
static const struct json_field hello_fields[] = {
    JSON_UUID("migration", hello_line, hello.migration, true),
    JSON_ENUM("channel", hello_line, hello.channel, link_channel_names, true),
    JSON_INT64("epoch", hello_line, hello.epoch, 0, INT64_MAX, true),
    {JSON_ROW("disk", hello_line, hello.disk, JSON_FIELD_INT, false), .min = 0,
     .max = LIMIT_DISKS - 1, .presence_offset = offsetof(struct hello_line, has_disk)},
    {0},
};

struct answer_line {
    bool is_accepted;
    char code[32];
    char text[sizeof((struct error *)0)->text];
};
static const struct json_field answer_fields[] = {
    JSON_BOOL("accepted", answer_line, is_accepted, true),
    JSON_CHARS("code", answer_line, code, 0, true),
    JSON_CHARS("text", answer_line, text, 0, true),
    {0},
};

static bool channel_has_disk(enum link_channel channel)
{
    return channel == LINK_MIRROR || channel == LINK_COPY;
}

static void encode_line(const struct json_field *fields, const void *in, char *line, size_t size)
{
    auto_free char *text = json_encode_text(fields, in);
    int length = snprintf(line, size, "%s\n", text);
    assert(length > 0 && (size_t)length < size);
    (void)length;
}

void hello_encode(const struct link_hello *hello, char line[HELLO_LIMIT + 1])
{
    struct hello_line in = {.hello = *hello, .has_disk = channel_has_disk(hello->channel)};
    encode_line(hello_fields, &in, line, HELLO_LIMIT + 1);
}

bool hello_decode(const char *line, size_t size, struct link_hello *hello, struct error *err)
{
    struct hello_line out = {0};
    if (!json_decode_text(line, size, hello_fields, &out, err))
        return error_prefix(err, "hello");
    if (out.has_disk != channel_has_disk(out.hello.channel))
        return error_set(err, ERROR_INVALID, "hello: /disk: expected %s for channel %s",
                         out.has_disk ? "none" : "a number", link_channel_names[out.hello.channel]);
    *hello = out.hello;
    return true;
}

/* An error text may hold any bytes, or be cut inside a character; JSON and logs take UTF-8. */
static void copy_printable(char *out, size_t size, const char *text)
{
    size_t i = 0;
    for (; i + 1 < size && text[i]; i++)
        out[i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
    out[i] = '\0';
}

void hello_encode_answer(const struct error *why, char line[ANSWER_LIMIT + 1])
{
    struct answer_line in = {.is_accepted = !why};
    if (why) {
        snprintf(in.code, sizeof in.code, "%s", error_code_name(why->code));
        copy_printable(in.text, sizeof in.text, why->text);
    }
    encode_line(answer_fields, &in, line, ANSWER_LIMIT + 1);
}

bool hello_decode_answer(const char *line, size_t size, struct error *err)
{
    struct answer_line out = {0};
    enum error_code code;
    if (!json_decode_text(line, size, answer_fields, &out, err))
        return error_prefix(err, "answer to the hello");
    if (out.is_accepted)
        return true;
    if (!error_code_parse(out.code, &code))
        return error_set(err, ERROR_INVALID, "answer to the hello: /code: not an error code");
    char text[sizeof out.text];
    copy_printable(text, sizeof text, out.text);
    return error_set(err, code, "%s", text);
}
