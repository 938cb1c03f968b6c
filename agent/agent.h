/* The whole agent, put together from its parts. */
#pragma once

#include "agent/config.h"

/* Runs until SIGTERM or SIGINT, which the caller has blocked in every thread. True: it ended
 * because it was told to. Guests are not touched. */
bool agent_run(const struct agent_config *config, struct error *err) must_check;
/* Starts a guest from its description file (qemu: JSON; libxl: xl.cfg). Refused when the journal
 * says that the domain was handed to another host. */
bool agent_boot(const struct agent_config *config, const char *domain_path,
                struct error *err) must_check;
