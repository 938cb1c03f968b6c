/* A hash table of statement texts with open addressing, one for each connection. Nothing is ever
 * removed: the texts are the program's own, some hundreds, and listings made of few parts. A table
 * that is full sends what is not in it as it is. */
#include "coordinator/db/db_prepared.h"

#include "base/fnv.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 2048, FULL = PLACES * 3 / 4 };

struct place {
    char *sql; /* NULL: empty */
    char name[12];
    bool is_prepared;
};

struct db_prepared {
    int used;
    struct place places[PLACES];
};

struct db_prepared *db_prepared_new(void)
{
    return memory_alloc(sizeof(struct db_prepared));
}

void db_prepared_free(struct db_prepared *prepared)
{
    if (!prepared)
        return;
    for (size_t i = 0; i < PLACES; i++)
        free(prepared->places[i].sql);
    free(prepared);
}

/* Where the text is, or the empty place where it belongs. FULL leaves some empty. */
static size_t place_of(const struct db_prepared *prepared, const char *sql)
{
    size_t at = fnv_hash(sql, strlen(sql)) % PLACES;
    while (prepared->places[at].sql && strcmp(prepared->places[at].sql, sql) != 0)
        at = (at + 1) % PLACES;
    return at;
}

struct db_prepared_use db_prepared_find(struct db_prepared *prepared, const char *sql)
{
    size_t at = place_of(prepared, sql);
    struct place *place = &prepared->places[at];
    if (place->sql)
        return (struct db_prepared_use){
            .name = place->name, .is_to_prepare = !place->is_prepared, .place = at};
    if (prepared->used < FULL) {
        prepared->used++;
        place->sql = memory_copy_text(sql);
        snprintf(place->name, sizeof place->name, "s%zu", at);
    }
    return (struct db_prepared_use){.name = NULL};
}

void db_prepared_keep(struct db_prepared *prepared, const struct db_prepared_use *use)
{
    prepared->places[use->place].is_prepared = true;
}
