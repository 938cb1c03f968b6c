/* What the agent holds in memory for each migration: the objects that outlive one step or that
 * several threads use. Truth is in the journal; this is only how to reach what runs. */
#pragma once

#include "base/uuid.h"

#include <stdbool.h>
#include <stddef.h>

enum registry_slot {
    SLOT_TRANSFER,            /* struct transfer, from the transfer step to abort or clean */
    SLOT_HANDOFF_SOURCE,      /* struct handoff_source, while the handoff step runs */
    SLOT_HANDOFF_PROGRESS,    /* struct migration_progress without lists: the last of it */
    SLOT_HANDOFF_DESTINATION, /* struct handoff_destination, while the receive step runs */
    SLOT_COUNT,
};

struct registry;

struct registry *registry_new(void);
/* All slots must be empty. NULL is fine. */
void registry_free(struct registry *registry);

/* Places an object; false when the slot is taken. */
bool registry_put(struct registry *registry, const char *migration, enum registry_slot slot,
                  void *object);
/* Uses the object of a slot: it is not taken out before registry_return. NULL when empty. */
void *registry_borrow(struct registry *registry, const char *migration, enum registry_slot slot);
void registry_return(struct registry *registry, const char *migration, enum registry_slot slot);
/* Takes the object out, so that nobody new finds it, and waits until its users are gone. NULL when
 * empty. */
void *registry_take(struct registry *registry, const char *migration, enum registry_slot slot);
/* Waits until the slot is filled; false after timeout_ms. */
bool registry_wait(struct registry *registry, const char *migration, enum registry_slot slot,
                   int timeout_ms);
/* Names of the migrations that have an object; the caller frees the array. */
size_t registry_list(struct registry *registry, char (**migrations)[UUID_SIZE]);
