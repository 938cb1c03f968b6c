/* qemu-nbd on a live image. */
#include "agent/mirror/image_reader.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <string.h>

enum { START_MS = 10000, STOP_MS = 100, CHECK_MS = 600000, CHECK_OUTPUT = 1 << 20 };

static const char *driver_of(enum image_format format)
{
    switch (format) {
    case IMAGE_QCOW2:
        return "qcow2";
    case IMAGE_VHD:
        return "vpc";
    case IMAGE_RAW:
        break;
    }
    return "raw";
}

static bool check_node(const json_t *info, struct error *err)
{
    const json_t *image = json_object_get(info, "image");
    const char *backing = json_string_value(json_object_get(image, "backing-filename"));
    if (backing)
        return error_set(err, ERROR_UNSUPPORTED,
                         "the image has the backing file %s: a disk that moves live must stand "
                         "alone (qemu-img rebase or block-stream it first)",
                         backing);
    if (json_array_size(json_object_get(image, "snapshots")) > 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "the image holds internal snapshots: delete them before a live move");
    return true;
}

static bool check_chain(struct monitor *monitor, const char *node, struct error *err)
{
    json_t *answer = NULL;
    if (!monitor_command(monitor, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), &answer,
                         err))
        return false;
    bool is_fine = true;
    for (size_t i = 0; is_fine && i < json_array_size(answer); i++) {
        const json_t *info = json_array_get(answer, i);
        const char *name = json_string_value(json_object_get(info, "node-name"));
        if (name && strcmp(name, node) == 0)
            is_fine = check_node(info, err);
    }
    json_decref(answer);
    return is_fine;
}

/* qemu-img's exit status 2 and 3 tell of damage and leaks, which an image that is being written
 * shows falsely; only the count of compressed clusters is wanted. */
static bool check_compression(const char *path, struct error *err)
{
    static const char script[] =
        "qemu-img check -U -f qcow2 --output=json -- \"$1\" 2>/dev/null || [ $? -le 3 ]";
    const char *argv[] = {"sh", "-c", script, "sh", path, NULL};
    auto_free char *output = NULL;
    if (!child_run(argv, CHECK_MS, CHECK_OUTPUT, &output, err))
        return error_prefix(err, "look for compressed clusters in %s", path);
    json_auto_t *report = json_loads(output, 0, NULL);
    if (!report)
        return error_set(err, ERROR_INTERNAL, "qemu-img check of %s told no report", path);
    json_int_t count = json_integer_value(json_object_get(report, "compressed-clusters"));
    if (count > 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "the image has %lld compressed clusters: rewrite it without (qemu-img "
                         "convert) before a live move",
                         (long long)count);
    return true;
}

bool image_reader_check(struct monitor *monitor, const struct disk_attach *attach,
                        struct error *err)
{
    if (attach->reader != READER_QEMU_NBD)
        return true;
    return check_chain(monitor, attach->node, err) &&
           (attach->format != IMAGE_QCOW2 || check_compression(attach->reader_path, err));
}

/* In QEMU's key=value syntax a comma inside a value is doubled. */
static char *escape_commas(const char *text)
{
    char *out = memory_alloc(2 * strlen(text) + 1), *end = out;
    for (; *text; text++) {
        if (*text == ',')
            *end++ = ',';
        *end++ = *text;
    }
    return out;
}

bool image_reader_start(const struct disk_attach *attach, const char *socket_path,
                        const char *log_path, struct child **out, struct error *err)
{
    auto_free char *path = escape_commas(attach->reader_path);
    /* Without the cleaning timer the reader keeps the metadata that it has read. */
    auto_free char *options =
        memory_format("driver=%s,read-only=on,force-share=on,file.driver=file,file.filename=%s,"
                      "file.locking=off%s",
                      driver_of(attach->format), path,
                      attach->format == IMAGE_QCOW2 ? ",cache-clean-interval=0" : "");
    const char *argv[] = {"qemu-nbd", "-r",        "-t",           "-e",    "16",
                          "-k",       socket_path, "--image-opts", options, NULL};
    struct child *child = NULL;
    if (!file_remove(socket_path, err) || !child_start(argv, log_path, -1, &child, err))
        return error_prefix(err, "reader of the source disk");
    if (!child_wait_for_path(child, socket_path, START_MS, err)) {
        child_stop(child, STOP_MS);
        return error_prefix(err, "reader of the source disk");
    }
    *out = child;
    return true;
}
