/* Hosts, networks, SRs and VMs as the API shows them. Objects of pools outside `scope`
 * (NULL = all pools) do not exist for the caller. */
#pragma once

#include "coordinator/store/page.h"

/* Own parameters of the lists: the scope; of hosts, before it, the seconds of silence after which a
 * host is lost. */
extern const struct page_list host_list, network_list, sr_list, vm_list;

/* `host_lost_after_s`: silent for so long means lost. */
bool listing_host(struct db *db, const char *scope, const char *id_or_name, int host_lost_after_s,
                  char **text, struct error *err) must_check;
bool listing_vm(struct db *db, const char *scope, const char *id_or_name, char **text,
                struct error *err) must_check;
/* The id of the one VM, pool or host that is called so (an id is taken as it is). ERROR_NOT_FOUND
 * names it and what to do, ERROR_CONFLICT says that several have the name. */
bool listing_find_vm(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                     struct error *err) must_check;
bool listing_find_pool(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                       struct error *err) must_check;
bool listing_find_host(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                       struct error *err) must_check;
/* A host of this pool (by id). */
bool listing_find_host_in(struct db *db, const char *scope, const char *id_or_name,
                          const char *pool, char id[UUID_SIZE], struct error *err) must_check;
