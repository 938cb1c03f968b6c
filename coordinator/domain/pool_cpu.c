/* The common CPU; see pool_cpu.h. */
#include "coordinator/domain/pool_cpu.h"

#include "base/json_table.h"
#include "base/memory.h"
#include "protocol/cpu_features.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct json_field pool_cpu_type_fields[] = {
    JSON_CHARS("type", pool_cpu_type, type, 1, true),
    JSON_INT("hosts", pool_cpu_type, hosts, 1, INT32_MAX, true),
    JSON_BOOL("is_common", pool_cpu_type, is_common, true),
    JSON_CHARS("features", pool_cpu_type, features, 0, true),
    JSON_CHARS("why_not", pool_cpu_type, why_not, 0, true),
    {0},
};

static void fail(struct pool_cpu_type *type, const char *why)
{
    type->is_common = false;
    type->features[0] = '\0';
    snprintf(type->why_not, sizeof type->why_not, "%.159s", why);
}

/* Takes in another host; an empty text leaves what the others said. */
static void join(struct pool_cpu_type *type, const char *features)
{
    struct cpu_features one;
    struct cpu_features other;
    struct cpu_features common;
    struct error why;
    if (!type->is_common || !features[0])
        return;
    if (!type->features[0]) {
        snprintf(type->features, sizeof type->features, "%s", features);
        return;
    }
    if (!cpu_features_decode(type->features, &one, &why) ||
        !cpu_features_decode(features, &other, &why)) {
        fail(type, why.text);
        return;
    }
    if (!cpu_features_common(&one, &other, &common)) {
        fail(type, "the hosts have CPUs of different vendors");
        return;
    }
    char *text = cpu_features_encode(&common);
    snprintf(type->features, sizeof type->features, "%s", text);
    free(text);
}

static struct pool_cpu_type *find_or_add(struct pool_cpu_type **types, size_t *count,
                                         const char *name)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp((*types)[i].type, name) == 0)
            return &(*types)[i];
    }
    *types = memory_resize(*types, *count + 1, sizeof **types);
    struct pool_cpu_type *type = &(*types)[(*count)++];
    *type = (struct pool_cpu_type){.is_common = true};
    snprintf(type->type, sizeof type->type, "%s", name);
    return type;
}

size_t pool_cpu_types(const struct pool_cpu_report *reports, size_t count, int hosts,
                      struct pool_cpu_type **types)
{
    size_t found = 0;
    *types = NULL;
    for (size_t i = 0; i < count; i++) {
        struct pool_cpu_type *type = find_or_add(types, &found, reports[i].type);
        type->hosts++;
        if (strcmp(reports[i].vendor, reports[0].vendor) != 0)
            fail(type, "the hosts have CPUs of different vendors");
        join(type, reports[i].features);
    }
    for (size_t i = 0; i < found; i++) {
        struct pool_cpu_type *type = &(*types)[i];
        char why[80];
        snprintf(why, sizeof why, "%d of %d hosts run such guests", type->hosts, hosts);
        if (type->is_common && type->hosts < hosts)
            fail(type, why);
    }
    return found;
}
