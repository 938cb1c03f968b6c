/* What a request asks for, as one text: the path and the query parameters in their order. Each part
 * has its length before it, so that no two targets have the same text. */
#include "coordinator/http/server.h"

#include <string.h>

struct target {
    struct buffer *out;
    struct error *err;
    bool is_good;
};

static enum MHD_Result add_parameter(void *context, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    (void)kind;
    struct target *target = context;
    const char *text = value ? value : "";
    target->is_good = buffer_printf(target->out, target->err, " %zu:%s=%zu:%s", strlen(name), name,
                                    strlen(text), text);
    return target->is_good ? MHD_YES : MHD_NO;
}

bool http_target(const struct http_exchange *exchange, struct buffer *out, struct error *err)
{
    struct target target = {.out = out, .err = err};
    target.is_good = buffer_printf(out, err, "%zu:%s", strlen(exchange->path), exchange->path);
    if (target.is_good)
        (void)MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, add_parameter,
                                        &target);
    return target.is_good;
}
