/* Reads, decodes and resolves inventory and request; see documents.h. */
#include "cli/documents.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "plan/plan_resolve.h"

enum { LIMIT_DOCUMENT = 256 << 20 };

static bool read_document(const char *path, const char *kind, const struct json_field *fields,
                          void *out, struct error *err)
{
    auto_free char *text = NULL;
    size_t size;
    if (!file_read(path, LIMIT_DOCUMENT, &text, &size, err))
        return error_prefix(err, "%s", kind);
    return json_decode_text(text, size, fields, out, err) || error_prefix(err, "%s", kind);
}

bool documents_read(const char *inventory_path, const char *request_path, struct plan_input *input,
                    struct error *err)
{
    struct plan_inventory inventory = {0};
    struct plan_request request = {0};
    bool is_done =
        read_document(inventory_path, "inventory", plan_inventory_fields, &inventory, err) &&
        read_document(request_path, "request", plan_request_fields, &request, err) &&
        plan_resolve(&inventory, &request, input, err);
    json_release(plan_inventory_fields, &inventory);
    json_release(plan_request_fields, &request);
    return is_done;
}
