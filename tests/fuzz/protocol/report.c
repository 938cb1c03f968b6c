/* Any bytes as the body of an agent's report, the largest of all bodies: refused with what is
 * wrong, field by field, or a report whose encoding decodes again. */
#include "protocol/agent_api.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_errors(const struct field_errors *errors)
{
    assert(errors->count > 0 && errors->count <= FIELD_ERRORS_MOST);
    for (size_t i = 0; i < errors->count; i++) {
        const struct field_error *one = &errors->items[i];
        assert(one->place == FIELD_BODY && (one->name[0] == '/' || !one->name[0]));
        assert(one->detail[0] && one->expected[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct agent_report report = {0}, again = {0};
    struct field_errors errors = {0};
    struct error err = {0};
    if (!json_decode_text_all((const char *)data, size, agent_report_fields, &report, &errors,
                              &err)) {
        assert(err.code == ERROR_INVALID && err.text[0]);
        check_errors(&errors);
        field_errors_done(&errors);
        return 0;
    }
    assert(errors.count == 0);
    char *text = json_encode_text(agent_report_fields, &report);
    bool is_decoded = json_decode_text(text, strlen(text), agent_report_fields, &again, &err);
    assert(is_decoded);
    free(text);
    json_release(agent_report_fields, &report);
    json_release(agent_report_fields, &again);
    return 0;
}
