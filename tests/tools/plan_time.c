/* CPU seconds of making a plan, without reading its documents:   plan_time INVENTORY REQUEST
 * prints "seconds moves makespan bound". */
#include "base/cleanup.h"
#include "base/file.h"
#include "plan/plan.h"
#include "plan/plan_resolve.h"

#include <stdio.h>
#include <time.h>

enum { LIMIT_DOCUMENT = 256 << 20 };

static bool read_document(const char *path, const struct json_field *fields, void *out,
                          struct error *err)
{
    auto_free char *text = NULL;
    size_t size;
    return file_read(path, LIMIT_DOCUMENT, &text, &size, err) &&
           json_decode_text(text, size, fields, out, err);
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct plan_inventory inventory = {0};
    struct plan_request request = {0};
    struct plan_input input;
    struct plan plan;
    struct error err = {.text = "usage: plan_time INVENTORY REQUEST"};
    if (argc != 3 || !read_document(argv[1], plan_inventory_fields, &inventory, &err) ||
        !read_document(argv[2], plan_request_fields, &request, &err) ||
        !plan_resolve(&inventory, &request, &input, &err)) {
        fprintf(stderr, "plan_time: %s\n", err.text);
        return 2;
    }
    double begin = cpu_seconds();
    plan_make(&input, &plan);
    double seconds = cpu_seconds() - begin;
    printf("%.4f %d %.3f %.3f\n", seconds, plan.model.move_count, plan.schedule.timeline.makespan,
           plan.bound.seconds);
    plan_done(&plan);
    plan_input_done(&input);
    json_release(plan_inventory_fields, &inventory);
    json_release(plan_request_fields, &request);
    return 0;
}
