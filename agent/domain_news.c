/* The calls of a driver that watches its domains; see domain_news.h. */
#include "agent/domain_news.h"

#include "agent/inventory/domain_owners.h"
#include "base/log.h"

static void on_change(void *context)
{
    const struct domain_news *news = context;
    coordinator_client_look(news->client);
}

static bool is_ours(struct journal *journal, const char *uuid)
{
    struct domain_owners *owners = NULL;
    struct error err;
    if (!domain_owners_read(&owners, journal, &err)) {
        log_error("domain %s: it is not known whose it is: %s", uuid, err.text);
        return false;
    }
    bool is_ours = domain_owners_is_ours(owners, uuid);
    domain_owners_free(owners);
    return is_ours;
}

static bool may_restart(void *context, const char *uuid)
{
    const struct domain_news *news = context;
    return !step_engine_has_domain(news->engine, uuid) && is_ours(news->journal, uuid);
}

struct domain_watch domain_news_watch(struct domain_news *news)
{
    return (struct domain_watch){
        .context = news, .on_change = on_change, .may_restart = may_restart};
}
