/* Writes the Prometheus text format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Labels are given as text that is
 * written as it is, so they come from closed lists only. */
#pragma once

#include "base/buffer.h"

struct metrics_page {
    struct buffer text;
    struct error *err; /* set when is_good is false */
    bool is_good;
};

void metrics_page_init(struct metrics_page *page, struct error *err);
/* # HELP and # TYPE of what follows. */
void metrics_head(struct metrics_page *page, const char *name, const char *type, const char *help);
/* labels: "a=\"x\",b=\"y\"", or "". */
void metrics_count(struct metrics_page *page, const char *name, const char *labels, uint64_t value);
void metrics_value(struct metrics_page *page, const char *name, const char *labels, double value);

/* Of microseconds, written as seconds. */
struct metrics_histogram {
    const int64_t *bounds_us; /* rising */
    const uint64_t *buckets;  /* each counts its own range only; what is above all is in count */
    size_t bucket_count;
    uint64_t count, sum_us;
};
void metrics_histogram(struct metrics_page *page, const char *name, const char *labels,
                       const struct metrics_histogram *histogram);
