/* Coding; see xen_envelope.h. */
#include "agent/hypervisor/libxl/xen_envelope.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

void xen_envelope_done(struct xen_envelope *envelope)
{
    free(envelope->config);
    free(envelope->autostart);
    envelope->config = envelope->autostart = NULL;
}

char *xen_envelope_encode(const struct xen_envelope *envelope)
{
    json_t *config = json_loads(envelope->config, JSON_REJECT_DUPLICATES, NULL);
    if (!config)
        return NULL;
    auto_free char *cpu = cpu_features_encode(&envelope->features);
    json_auto_t *root = json_pack("{s:[i,i], s:s, s:o, s:s*}", "xen", envelope->version_major,
                                  envelope->version_minor, "cpu", cpu, "domain", config,
                                  "autostart", envelope->autostart);
    return root ? json_dumps(root, JSON_COMPACT) : NULL;
}

bool xen_envelope_decode(const char *text, struct xen_envelope *out, struct error *err)
{
    json_auto_t *root = NULL;
    const char *cpu, *autostart = NULL;
    json_t *domain;
    struct xen_envelope envelope = {0};
    json_error_t reason;
    if (!json_parse(text, strlen(text), &root, err))
        return error_prefix(err, "configuration");
    if (json_unpack_ex(root, &reason, JSON_STRICT, "{s:[i,i], s:s, s:o, s?s}", "xen",
                       &envelope.version_major, &envelope.version_minor, "cpu", &cpu, "domain",
                       &domain, "autostart", &autostart) < 0)
        return error_set(err, ERROR_INVALID, "configuration: %s", reason.text);
    if (!cpu_features_decode(cpu, &envelope.features, err))
        return error_prefix(err, "configuration");
    envelope.config = json_dumps(domain, JSON_COMPACT | JSON_ENCODE_ANY);
    envelope.autostart = autostart ? memory_copy_text(autostart) : NULL;
    *out = envelope;
    return true;
}
