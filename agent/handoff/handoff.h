/* The handoff of the running domain, both ends; docs/handoff.md explains it, tests/model proves it.
 * The memory stream runs over one LINK_MEMORY stream, framed with the control messages; the arbiter
 * is the source's journal. Neither the coordinator nor its database is on the path of the pause. */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "agent/journal/journal.h"
#include "agent/link/link.h"
#include "agent/mirror/transfer.h"
#include "agent/receiver/receiver.h"
#include "protocol/step.h"

struct handoff_environment {
    const struct hypervisor_driver *driver;
    struct hypervisor *hypervisor;
    struct journal *journal;
    struct sr_set *srs;
    struct receiver_set *receivers;
    const struct link_files *files;
    /* Bridge of one of this host's networks; false when it has none of that name. */
    bool (*bridge_of)(void *context, const char *network, char bridge[LIMIT_NAME + 1]);
    void *context;
    int drain_limit_ms;   /* default 10000 */
    int restore_limit_ms; /* for so long no stream, or a stream or a restore that does not go on:
                             give up, default 120000 */
    int go_limit_ms;      /* PREPARED and nothing heard for so long: abandon, default 15000 */
};

/* Source side of one epoch, called by step HANDOFF on its own thread; also at restart, when the
 * journal says STREAMING (ends ABANDONED: the domain is resumed here) or RELEASED (goes on asking).
 * True: *result holds the verdict OWNED (committed; pause_us set when known) or ABANDONED (the
 * domain runs here). False: still unknown because it was told to stop (agent shutdown). */
struct handoff_source;
/* ERROR_CONFLICT or ERROR_REFUSED when another epoch is not finished, or is past. The step is
 * borrowed until close. */
bool handoff_source_open(struct handoff_source **out, const struct handoff_environment *environment,
                         const struct step *step, struct transfer *transfer /* may be NULL */,
                         struct error *err) must_check;
bool handoff_source_run(struct handoff_source *source, struct step_result *result,
                        struct error *err) must_check;
/* Before RELEASED it gives up and resumes; after it nothing can stop it. */
void handoff_source_cancel(struct handoff_source *source);
/* The agent ends: as cancel, and a released epoch stops asking, so that run returns false soon. */
void handoff_source_stop(struct handoff_source *source);
/* Step CONCLUDE: the verdict of that epoch as the coordinator knows it. It decides when RELEASED;
 * before that ABANDONED ends the stream, which nobody receives any more. */
void handoff_source_conclude(struct handoff_source *source, int64_t epoch,
                             enum handoff_verdict verdict);
void handoff_source_progress(struct handoff_source *source, struct migration_progress *out);
void handoff_source_close(struct handoff_source *source);

/* Destination side. The step RECEIVE opens the epoch and waits for the verdict; the LINK_MEMORY
 * stream arrives on a link thread. ABANDONED has is_done false and the reason, as at the source.
 * At a start of the agent the migrations whose record is STREAMING or PREPARED must be brought to
 * their end here before their disks are admitted to receiver_set (CHECK_DESTROY_BEFORE_REOPEN). */
struct handoff_destination;
/* Ends what an earlier epoch left, then makes STREAMING durable. The caller has closed the object
 * of an earlier epoch. The step is borrowed until close. */
bool handoff_destination_open(struct handoff_destination **out,
                              const struct handoff_environment *environment,
                              const struct step *step, struct error *err) must_check;
/* Blocks until OWNED or ABANDONED of this epoch is durable and acted on. */
bool handoff_destination_run(struct handoff_destination *destination, struct step_result *result,
                             struct error *err) must_check;
/* The stream of this epoch (takes it over); refuses a second one, other hosts and other epochs. */
void handoff_destination_serve(struct handoff_destination *destination, struct link_stream *stream,
                               const char *peer_host, const struct link_hello *hello);
/* Before PREPARED was answered by GO it abandons durably. */
void handoff_destination_cancel(struct handoff_destination *destination);
void handoff_destination_close(struct handoff_destination *destination);

/* LINK_CONTROL stream: the source in RELEASED asks what became of an epoch. Answers from the
 * journal alone; an epoch that is not OWNED is made durably ABANDONED first (a GO that is just
 * being read is waited for), so that the answer can never change. Refuses where the journal knows
 * nothing of the epoch. Takes the stream over. */
void handoff_answer_verdict(const struct handoff_environment *environment,
                            struct handoff_destination *active /* of that migration, or NULL */,
                            struct link_stream *stream, const char *peer_host,
                            const struct link_hello *hello);
/* Abort at the destination: durably abandons the current epoch and every lower one; ERROR_CONFLICT
 * when it is OWNED. Destroys a half-built domain. Safe to repeat. */
bool handoff_abandon(const struct handoff_environment *environment,
                     const struct migration_spec *spec, struct error *err) must_check;
