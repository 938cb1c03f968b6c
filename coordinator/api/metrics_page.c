/* Lines of the Prometheus text format; see metrics_page.h. */
#include "coordinator/api/metrics_page.h"

#include <inttypes.h>

enum { METRICS_SIZE = 4 << 20 };

#define add(page, ...)                                                                             \
    ((page)->is_good = (page)->is_good && buffer_printf(&(page)->text, (page)->err, __VA_ARGS__))

void metrics_page_init(struct metrics_page *page, struct error *err)
{
    *page = (struct metrics_page){.err = err, .is_good = true};
    buffer_init(&page->text, METRICS_SIZE);
}

void metrics_head(struct metrics_page *page, const char *name, const char *type, const char *help)
{
    add(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_name(struct metrics_page *page, const char *name, const char *labels)
{
    if (labels[0])
        add(page, "%s{%s} ", name, labels);
    else
        add(page, "%s ", name);
}

void metrics_count(struct metrics_page *page, const char *name, const char *labels, uint64_t value)
{
    add_name(page, name, labels);
    add(page, "%" PRIu64 "\n", value);
}

void metrics_value(struct metrics_page *page, const char *name, const char *labels, double value)
{
    add_name(page, name, labels);
    add(page, "%.17g\n", value);
}

void metrics_histogram(struct metrics_page *page, const char *name, const char *labels,
                       const struct metrics_histogram *histogram)
{
    const char *comma = labels[0] ? "," : "";
    uint64_t below = 0;
    for (size_t i = 0; i < histogram->bucket_count; i++) {
        below += histogram->buckets[i];
        add(page, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma,
            (double)histogram->bounds_us[i] / 1e6, below);
    }
    add(page, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, histogram->count);
    const char *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
    add(page, "%s_sum%s%s%s %.6f\n", name, open, labels, close, (double)histogram->sum_us / 1e6);
    add(page, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, histogram->count);
}
