/* The question what became of an epoch, over LINK_CONTROL: the source in RELEASED asks, the
 * destination answers from its journal with one VERDICT frame. */
#include "agent/handoff/verdict.h"

#include "agent/handoff/destination_state.h"
#include "agent/handoff/frame.h"
#include "agent/handoff/record.h"

#include <inttypes.h>
#include <string.h>

enum {
    ASK_CONNECT_MS = 12000, /* the destination settles before it accepts the question */
    ASK_ANSWER_MS = 5000,
    SETTLE_LIMIT_MS = 8000,
};

/* -- the source */

bool verdict_ask(const struct handoff_environment *environment, const struct migration_spec *spec,
                 int64_t epoch, enum handoff_verdict *verdict, struct error *err)
{
    const struct spec_host *peer = &spec->destination;
    struct link_hello hello = {.channel = LINK_CONTROL, .epoch = epoch};
    struct link_stream *stream = NULL;
    unsigned char answer = 0;
    size_t size = 0;
    memcpy(hello.migration, spec->migration, sizeof hello.migration);
    if (!link_connect(&stream, peer->id, peer->address, peer->port, environment->files, &hello,
                      ASK_CONNECT_MS, err))
        return false;
    bool is_read =
        frame_read_whole(stream, FRAME_VERDICT, &answer, sizeof answer, ASK_ANSWER_MS, &size, err);
    link_close(stream);
    if (!is_read)
        return false;
    if (answer != VERDICT_OWNED && answer != VERDICT_ABANDONED)
        return error_set(err, ERROR_INVALID, "the destination answered verdict %u", answer);
    *verdict = (enum handoff_verdict)answer;
    return true;
}

/* -- the destination */

struct search {
    const char *migration;
    struct migration_spec spec; /* texts only; its lists stay empty */
    bool is_found;
};

static bool see_step(void *context, const struct step *step, struct error *err)
{
    struct search *search = context;
    (void)err;
    if (strcmp(step->spec.migration, search->migration) != 0)
        return true;
    memcpy(search->spec.migration, step->spec.migration, sizeof search->spec.migration);
    memcpy(search->spec.domain, step->spec.domain, sizeof search->spec.domain);
    search->spec.source = step->spec.source;
    search->is_found = true;
    return true;
}

/* Only the host that hands over may have an open epoch closed. */
static bool check_asker(const struct search *search, const char *peer_host, struct error *err)
{
    if (!search->is_found)
        return error_set(err, ERROR_NOT_FOUND, "migration %s is not received here",
                         search->migration);
    if (strcmp(search->spec.source.id, peer_host) != 0)
        return error_set(err, ERROR_REFUSED, "host %s is not the source of this migration",
                         peer_host);
    return true;
}

static bool settle(const struct handoff_environment *environment,
                   struct handoff_destination *active, const struct search *search, int64_t epoch,
                   enum handoff_verdict *verdict, struct error *err)
{
    if (active && destination_epoch(active) == epoch)
        return destination_settle_for_source(active, verdict, err);
    return record_settle(environment, &search->spec, epoch, SETTLE_LIMIT_MS, verdict, err);
}

/* CHECK_ABANDON_DURABLE_BEFORE_ANSWER: what is answered is in the journal. A migration or an epoch
 * that the journal does not know gets no verdict: a journal that was lost must not say ABANDONED of
 * a domain that may run. */
static bool find_verdict(const struct handoff_environment *environment,
                         struct handoff_destination *active, const char *peer_host,
                         const struct link_hello *hello, enum handoff_verdict *verdict,
                         struct error *err)
{
    struct search search = {.migration = hello->migration};
    struct handoff_record record;
    if (!journal_get_handoff(environment->journal, hello->migration, ROLE_DESTINATION, &record,
                             err) ||
        !journal_each_step(environment->journal, see_step, &search, err))
        return false;
    if (record.state == HANDOFF_NONE || record.epoch < hello->epoch)
        return error_set(err, ERROR_NOT_FOUND, "epoch %" PRId64 " never began here", hello->epoch);
    /* A later epoch began only because this one was abandoned. */
    *verdict = record.epoch > hello->epoch ? VERDICT_ABANDONED : record_verdict(&record);
    if (*verdict != VERDICT_NONE)
        return !search.is_found || check_asker(&search, peer_host, err);
    return check_asker(&search, peer_host, err) &&
           settle(environment, active, &search, hello->epoch, verdict, err);
}

void handoff_answer_verdict(const struct handoff_environment *environment,
                            struct handoff_destination *active, struct link_stream *stream,
                            const char *peer_host, const struct link_hello *hello)
{
    struct error err;
    enum handoff_verdict verdict = VERDICT_NONE;
    if (!find_verdict(environment, active, peer_host, hello, &verdict, &err)) {
        link_refuse(stream, &err);
    } else if (link_accept(stream, &err)) {
        unsigned char answer = (unsigned char)verdict;
        /* An answer that gets lost is asked for again. */
        bool is_sent = frame_write(stream, FRAME_VERDICT, &answer, 1, ASK_ANSWER_MS, &err);
        (void)is_sent;
    }
    link_close(stream);
}
