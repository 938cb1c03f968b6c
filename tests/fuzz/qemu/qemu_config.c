/* Any text as domain.json: parses and encodes to a text that parses again, or an error. */
#include "agent/hypervisor/qemu/qemu_config.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    struct qemu_config config;
    auto_free char *text = memory_alloc(size + 1);
    memcpy(text, data, size);
    if (!qemu_config_parse(text, &config, &err))
        return 0;
    auto_free char *encoded = qemu_config_text(&config);
    qemu_config_done(&config);
    if (!qemu_config_parse(encoded, &config, &err))
        abort();
    qemu_config_done(&config);
    return 0;
}
