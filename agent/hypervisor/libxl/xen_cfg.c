/* Reading just enough of xl's configurations, and writing what replaces a part of one; see
 * xen_cfg.h. */
#include "agent/hypervisor/libxl/xen_cfg.h"

#include "agent/hypervisor/libxl/xen_config.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char block_begins[] = "# crosspool: where the domain is at this host\n";
static const char block_ends[] = "# crosspool: end\n";

/* -- reading */

bool xen_cfg_value(const char *text, const char *key, char *out, size_t size)
{
    bool is_found = false;
    size_t length = strlen(key);
    for (const char *line = text; *line; line += *line == '\n') {
        const char *at = line + strspn(line, " \t");
        line += strcspn(line, "\n");
        if (strncmp(at, key, length) != 0)
            continue;
        at += length + strspn(at + length, " \t");
        if (*at++ != '=')
            continue;
        at += strspn(at, " \t");
        char quote = *at;
        if (quote != '"' && quote != '\'')
            continue;
        const char *end = strchr(at + 1, quote);
        if (!end || end > line || (size_t)(end - at) > size)
            continue;
        snprintf(out, size, "%.*s", (int)(end - at - 1), at + 1);
        is_found = true;
    }
    return is_found;
}

bool xen_cfg_is_ours(const char *text)
{
    return strstr(text, block_begins) != NULL;
}

/* -- writing */

/* A text that grows; what cannot be written is remembered. */
struct writer {
    char *text;
    size_t size;
    FILE *file;
    const char *unfit; /* a value that xl.cfg cannot express */
};

/* In a double-quoted text of xl.cfg. Its escapes of other characters are not the same in all
 * versions. */
static void put(struct writer *writer, const char *value)
{
    for (const char *at = value; *at; at++) {
        if ((unsigned char)*at < ' ')
            writer->unfit = value;
        if (*at == '"' || *at == '\\')
            fputc('\\', writer->file);
        fputc(*at, writer->file);
    }
}

/* `key=value,` of a disk or a VIF; nothing when there is no value. */
static void put_part(struct writer *writer, const char *key, const char *value)
{
    if (!value || !*value)
        return;
    if (strchr(value, ','))
        writer->unfit = value;
    fprintf(writer->file, "%s=", key);
    put(writer, value);
    fputc(',', writer->file);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static const char *if_known(const char *word)
{
    return word && strcmp(word, "unknown") != 0 ? word : NULL;
}

/* target= takes all that is left, commas too. */
static void put_disk(struct writer *writer, const json_t *disk)
{
    const char *path = text_of(disk, "pdev_path");
    const char *discard = text_of(disk, "discard_enable");
    bool is_cdrom = json_integer_value(json_object_get(disk, "is_cdrom")) != 0;
    bool is_writable = json_integer_value(json_object_get(disk, "readwrite")) != 0;
    fprintf(writer->file, "    \"");
    put_part(writer, "vdev", text_of(disk, "vdev"));
    put_part(writer, "format", if_known(text_of(disk, "format")));
    put_part(writer, "backendtype", path && *path ? if_known(text_of(disk, "backend")) : NULL);
    put_part(writer, "script", text_of(disk, "script"));
    fprintf(writer->file, "access=%s,%s", is_writable ? "rw" : "ro",
            is_cdrom ? "devtype=cdrom," : "");
    if (discard)
        fprintf(writer->file, "%s,", strcmp(discard, "True") == 0 ? "discard" : "no-discard");
    if (json_is_true(json_object_get(disk, "direct_io_safe")))
        fprintf(writer->file, "direct-io-safe,");
    fprintf(writer->file, "target=");
    put(writer, path ? path : "");
    fprintf(writer->file, "\",\n");
}

/* What may be sent in an interval, as what may be sent each second: xl reads 32 bits and a unit. */
static void put_rate(struct writer *writer, const json_t *nic)
{
    json_int_t bytes = json_integer_value(json_object_get(nic, "rate_bytes_per_interval"));
    json_int_t interval_us = json_integer_value(json_object_get(nic, "rate_interval_usecs"));
    if (bytes <= 0 || interval_us <= 0 || bytes > INT64_MAX / 1000000)
        return;
    int64_t each_second = (int64_t)bytes * 1000000 / (int64_t)interval_us;
    bool is_large = each_second > UINT32_MAX;
    fprintf(writer->file, "rate=%" PRId64 "%sB/s@%" PRId64 "us,",
            is_large ? each_second / 1000 : each_second, is_large ? "K" : "", (int64_t)interval_us);
}

static void put_vif(struct writer *writer, const json_t *nic)
{
    const char *type = text_of(nic, "nictype");
    json_int_t mtu = json_integer_value(json_object_get(nic, "mtu"));
    fprintf(writer->file, "    \"");
    put_part(writer, "mac", text_of(nic, "mac"));
    put_part(writer, "bridge", text_of(nic, "bridge"));
    put_part(writer, "model", text_of(nic, "model"));
    if (type && strcmp(type, "unknown") != 0)
        put_part(writer, "type", strcmp(type, "vif_ioemu") == 0 ? "ioemu" : type);
    put_part(writer, "ip", text_of(nic, "ip"));
    put_part(writer, "gatewaydev", text_of(nic, "gatewaydev"));
    put_part(writer, "script", text_of(nic, "script"));
    if (mtu > 0)
        fprintf(writer->file, "mtu=%d,", (int)mtu);
    put_rate(writer, nic);
    fprintf(writer->file, "\",\n");
}

static void put_list(struct writer *writer, const char *key, const json_t *list,
                     void (*put_one)(struct writer *, const json_t *))
{
    fprintf(writer->file, "%s = [\n", key);
    for (size_t i = 0; i < json_array_size(list); i++)
        put_one(writer, json_array_get(list, i));
    fprintf(writer->file, "]\n");
}

static void put_block(struct writer *writer, const struct xen_config *config, const json_t *root)
{
    fprintf(writer->file, "%sname = \"", block_begins);
    put(writer, config->name);
    fprintf(writer->file, "\"\nuuid = \"%s\"\n", config->uuid);
    put_list(writer, "disk", json_object_get(root, "disks"), put_disk);
    put_list(writer, "vif", json_object_get(root, "nics"), put_vif);
    fprintf(writer->file, "%s", block_ends);
}

/* Whatever a person wrote behind a block of ours stays. */
static void put_without_blocks(struct writer *writer, const char *text)
{
    const char *begin;
    while ((begin = strstr(text, block_begins))) {
        const char *end = strstr(begin, block_ends);
        fprintf(writer->file, "%.*s", (int)(begin - text), text);
        text = end ? end + strlen(block_ends) : begin + strlen(begin);
    }
    fprintf(writer->file, "%s", text);
    size_t length = strlen(text);
    if (length > 0 && text[length - 1] != '\n')
        fputc('\n', writer->file);
}

bool xen_cfg_compose(const char *text, const char *config, char **out, struct error *err)
{
    auto_xen_config struct xen_config read = {0};
    json_auto_t *root = NULL;
    struct writer writer = {0};
    if (!xen_config_parse(config, &read, err) || !json_parse(config, strlen(config), &root, err))
        return false;
    writer.file = open_memstream(&writer.text, &writer.size);
    if (!writer.file)
        return error_set(err, ERROR_INTERNAL, "no memory for a text");
    put_without_blocks(&writer, text);
    put_block(&writer, &read, root);
    fclose(writer.file);
    if (!writer.unfit) {
        *out = writer.text;
        return true;
    }
    error_set(err, ERROR_INVALID, "xl.cfg cannot express \"%.100s\"", writer.unfit);
    free(writer.text);
    return false;
}
