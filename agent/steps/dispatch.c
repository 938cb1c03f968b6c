/* Streams by their channel; see dispatch.h. */
#include "agent/steps/dispatch.h"

#include "base/log.h"

/* Both ends get their steps at the same time: the source may be the quicker one. */
enum { RECEIVE_WAIT_MS = 5000 };

static void serve_memory(struct step_environment *environment, struct link_stream *stream,
                         const char *peer_host, const struct link_hello *hello)
{
    struct registry *registry = environment->registry;
    const char *migration = hello->migration;
    struct handoff_destination *destination = NULL;
    if (registry_wait(registry, migration, SLOT_HANDOFF_DESTINATION, RECEIVE_WAIT_MS))
        destination = registry_borrow(registry, migration, SLOT_HANDOFF_DESTINATION);
    if (!destination) {
        struct error why;
        error_set(&why, ERROR_UNREACHABLE, "no step receives this migration here yet");
        link_refuse(stream, &why);
        link_close(stream);
        return;
    }
    handoff_destination_serve(destination, stream, peer_host, hello);
    registry_return(registry, migration, SLOT_HANDOFF_DESTINATION);
}

static void answer_verdict(struct step_environment *environment, struct link_stream *stream,
                           const char *peer_host, const struct link_hello *hello)
{
    struct handoff_destination *active =
        registry_borrow(environment->registry, hello->migration, SLOT_HANDOFF_DESTINATION);
    handoff_answer_verdict(&environment->handoff, active, stream, peer_host, hello);
    if (active)
        registry_return(environment->registry, hello->migration, SLOT_HANDOFF_DESTINATION);
}

void dispatch_stream(void *context, struct link_stream *stream, const char *peer_host,
                     const struct link_hello *hello)
{
    struct step_environment *environment = context;
    log_context_migration(hello->migration);
    switch (hello->channel) {
    case LINK_MIRROR:
    case LINK_COPY:
        receiver_serve(environment->handoff.receivers, stream, peer_host, hello);
        break;
    case LINK_MEMORY:
        serve_memory(environment, stream, peer_host, hello);
        break;
    case LINK_CONTROL:
        answer_verdict(environment, stream, peer_host, hello);
        break;
    }
    log_context_migration(NULL);
}
