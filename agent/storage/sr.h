/* Storage repositories: one driver per type behind one interface. A VDI is named by its UUID. */
#pragma once

#include "base/error.h"
#include "protocol/inventory.h"
#include "protocol/vocabulary.h"

struct sr; /* an opened SR */

struct sr_driver {
    const char *type; /* "ext" */
    /* `location`: directory, volume group, ... Creates the durable SR id on first use. */
    bool (*open)(const char *name, const char *location, struct sr **out, struct error *err);
    void (*close)(struct sr *sr);
    /* id, sizes and VDIs. The array is owned by the caller. */
    bool (*scan)(struct sr *sr, struct inventory_sr *out, struct error *err);
    /* Creates an image that reads as zeroes, of exactly size_bytes (VHD: forced size). One of the
     * same id, format and size is fine (repeat); another one is ERROR_CONFLICT. */
    bool (*create)(struct sr *sr, const char *vdi, enum image_format format, uint64_t size_bytes,
                   struct error *err);
    /* Absent is fine. */
    bool (*remove)(struct sr *sr, const char *vdi, struct error *err);
    /* The path that QEMU and the receiver open; ERROR_NOT_FOUND. */
    bool (*locate)(struct sr *sr, const char *vdi, char path[LIMIT_PATH + 1],
                   enum image_format *format, struct error *err);
    /* The VDI whose image is at `path`, false when it is none of this SR. */
    bool (*identify)(struct sr *sr, const char *path, char vdi[UUID_SIZE]);
};

extern const struct sr_driver sr_ext_driver;

/* All SRs of the host. */
struct sr_set;
struct sr_config {
    char name[LIMIT_NAME + 1];
    char type[16];
    char location[LIMIT_PATH + 1];
};
bool sr_set_open(const struct sr_config *configs, size_t count, struct sr_set **out,
                 struct error *err) must_check;
void sr_set_close(struct sr_set *set);
bool sr_set_scan(struct sr_set *set, struct inventory *inventory, struct error *err) must_check;
bool sr_set_create(struct sr_set *set, const char *sr, const char *vdi, enum image_format format,
                   uint64_t size_bytes, struct error *err) must_check;
bool sr_set_remove(struct sr_set *set, const char *sr, const char *vdi,
                   struct error *err) must_check;
bool sr_set_locate(struct sr_set *set, const char *sr, const char *vdi, char path[LIMIT_PATH + 1],
                   enum image_format *format, struct error *err) must_check;
/* The VDI at `path` in any of the SRs; false when it is in none. */
bool sr_set_identify(struct sr_set *set, const char *path, char sr[UUID_SIZE], char vdi[UUID_SIZE]);
