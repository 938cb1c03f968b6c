/* What arrives on the link: each stream goes to the object that it is for. */
#pragma once

#include "agent/steps/handlers.h"

/* A link_on_stream with a struct step_environment as its context. */
void dispatch_stream(void *environment, struct link_stream *stream, const char *peer_host,
                     const struct link_hello *hello);
