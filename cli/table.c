/* Tables; see table.h. */
#include "cli/table.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The caller frees. */
static char *cell(const json_t *item, const char *path)
{
    char word[64];
    while (item && *path) {
        size_t length = strcspn(path, ".");
        snprintf(word, sizeof word, "%.*s", (int)length, path);
        item = json_object_get(item, word);
        path += length + (path[length] == '.');
    }
    if (json_is_string(item))
        return memory_copy_text(json_string_value(item));
    if (json_is_integer(item))
        return memory_format("%lld", (long long)json_integer_value(item));
    if (json_is_real(item))
        return memory_format("%.1f", json_real_value(item));
    if (json_is_boolean(item))
        return memory_copy_text(json_is_true(item) ? "yes" : "no");
    return memory_copy_text("-");
}

static const char *head_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".host_name") != 0 ? dot + 1 : path;
}

static void widen(const json_t *items, const char *const columns[], int widths[TABLE_COLUMNS])
{
    for (int c = 0; columns[c]; c++)
        widths[c] = (int)strlen(head_of(columns[c]));
    for (size_t i = 0; i < json_array_size(items); i++) {
        for (int c = 0; columns[c]; c++) {
            auto_free char *text = cell(json_array_get(items, i), columns[c]);
            int length = (int)strlen(text);
            widths[c] = length > widths[c] ? length : widths[c];
        }
    }
}

void table_print(const json_t *items, const char *const columns[])
{
    int widths[TABLE_COLUMNS] = {0};
    widen(items, columns, widths);
    for (int c = 0; columns[c]; c++)
        printf("%-*s%s", widths[c], head_of(columns[c]), columns[c + 1] ? "  " : "\n");
    for (size_t i = 0; i < json_array_size(items); i++) {
        for (int c = 0; columns[c]; c++) {
            auto_free char *text = cell(json_array_get(items, i), columns[c]);
            printf("%-*s%s", widths[c], text, columns[c + 1] ? "  " : "\n");
        }
    }
}

static void print_list(const char *whose, const json_t *reasons)
{
    for (size_t i = 0; i < json_array_size(reasons); i++) {
        auto_free char *message = cell(json_array_get(reasons, i), "message");
        auto_free char *fix = cell(json_array_get(reasons, i), "fix");
        fprintf(stderr, "  %s%s%s (%s)\n", whose, *whose ? ": " : "", message, fix);
    }
}

void table_print_reasons(const json_t *answer)
{
    static const char *const lists[] = {"vms", "refused"};
    print_list("", json_object_get(answer, "blockers"));
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        const json_t *vms = json_object_get(answer, lists[k]);
        for (size_t i = 0; i < json_array_size(vms); i++) {
            const json_t *vm = json_array_get(vms, i);
            auto_free char *name = cell(vm, json_object_get(vm, "name") ? "name" : "vm");
            print_list(name, json_object_get(vm, "reasons"));
        }
    }
}

void table_print_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text)
        abort(); /* only memory can be missing */
    puts(text);
    free(text);
}
