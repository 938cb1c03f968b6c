/* Any bytes as a map: refused with a reason, or a map whose encoding decodes to the same encoding.
 */
#include "coordinator/domain/mapping.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    assert(text);
    memcpy(text, data, size);
    text[size] = '\0';
    struct mapping map = {0};
    struct field_errors errors = {0};
    struct error err;
    if (!mapping_decode(text, &map, &errors, &err)) {
        assert(err.code == ERROR_INVALID && err.text[0] && errors.count > 0);
        field_errors_done(&errors);
        free(text);
        return 0;
    }
    assert(errors.count == 0);
    char *first = mapping_encode(&map);
    struct mapping again = {0};
    bool is_decoded = mapping_decode(first, &again, NULL, &err);
    assert(is_decoded);
    char *second = mapping_encode(&again);
    assert(strcmp(first, second) == 0);
    free(first);
    free(second);
    mapping_done(&map);
    mapping_done(&again);
    free(text);
    return 0;
}
