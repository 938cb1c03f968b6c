/* The formula; see prediction.h. */
#include "coordinator/domain/prediction.h"

static int64_t seconds_of(uint64_t bytes, uint64_t bytes_per_s)
{
    return (int64_t)(bytes / bytes_per_s + (bytes % bytes_per_s != 0));
}

static bool knows(uint64_t bytes, uint64_t bytes_per_s)
{
    return bytes == 0 || bytes_per_s > 0;
}

void prediction_make(struct prediction *out, const struct preflight_rates *rates,
                     const struct prediction_load *load)
{
    *out = (struct prediction){
        .send_bytes = load->disk_bytes + load->memory_bytes, .seconds = -1, .pause_ms = -1};
    if (rates->samples == 0)
        return;
    uint64_t copy = rates->copy_bytes_per_s;
    if (load->bandwidth_bytes_per_s && load->bandwidth_bytes_per_s < copy)
        copy = load->bandwidth_bytes_per_s;
    uint64_t memory = rates->memory_bytes_per_s;
    out->copy_bytes_per_s = copy;
    if (knows(load->disk_bytes, copy) && knows(load->memory_bytes, memory))
        out->seconds = (load->disk_bytes ? seconds_of(load->disk_bytes, copy) : 0) +
                       (load->memory_bytes ? seconds_of(load->memory_bytes, memory) : 0);
    if (load->mode == MODE_LIVE && rates->pause_us > 0)
        out->pause_ms = (rates->pause_us + 999) / 1000;
    if (load->mode == MODE_SUSPEND && memory > 0)
        out->pause_ms = (int64_t)((double)load->memory_bytes * 1000 / (double)memory) + 1;
}
