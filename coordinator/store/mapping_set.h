/* Named, reusable maps. */
#pragma once

#include "coordinator/store/page.h"

extern const struct page_list mapping_set_list; /* no own parameter */
bool mapping_set_show(struct db *db, const char *id, char **text, struct error *err) must_check;
/* Nobody else changes or removes it until the transaction ends. */
bool mapping_set_lock(struct db *db, const char *id, struct error *err) must_check;
/* `mapping` is JSON that was decoded strictly before. ERROR_CONFLICT when the name is taken. */
bool mapping_set_create(struct db *db, const char *name, const char *mapping, char id[UUID_SIZE],
                        struct error *err) must_check;
bool mapping_set_replace(struct db *db, const char *id, const char *name, const char *mapping,
                         struct error *err) must_check;
bool mapping_set_remove(struct db *db, const char *id, struct error *err) must_check;
/* The map of the set with this id or name; *mapping is owned JSON text. */
bool mapping_set_find(struct db *db, const char *id_or_name, char id[UUID_SIZE], char **mapping,
                      struct error *err) must_check;
