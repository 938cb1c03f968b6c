/* crosspool plan: what a plan would be, without side effects. */
#include "cli/commands.h"

#include "base/cleanup.h"
#include "cli/documents.h"
#include "cli/options.h"
#include "plan/plan_report.h"

#include <stdio.h>

bool command_plan(const struct options *options, bool *is_whole, struct error *err)
{
    struct plan_input input;
    struct plan plan;
    if (!documents_read(options->inventory, options->request, &input, err))
        return false;
    plan_make(&input, &plan);
    auto_free char *text =
        options->is_json ? plan_report_json(&plan, &input) : plan_report_text(&plan, &input);
    printf("%s%s", text, options->is_json ? "\n" : "");
    *is_whole = plan.refusals.count == 0 && plan.problem_count == 0;
    plan_done(&plan);
    plan_input_done(&input);
    return true;
}
