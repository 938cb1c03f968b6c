/* All SRs of the host; see sr.h. */
#include "agent/storage/sr.h"

#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

struct member {
    const struct sr_driver *driver;
    struct sr *sr;
    char name[LIMIT_NAME + 1];
    char id[UUID_SIZE];
    char complaint[256]; /* why the last scan left it out; "" = it did not */
};
struct sr_set {
    pthread_mutex_t scan_mutex; /* guards the members' `complaint`; all else is fixed when opened */
    size_t count;
    struct member members[];
};

static const struct sr_driver *const drivers[] = {&sr_ext_driver};
enum { DRIVER_COUNT = sizeof drivers / sizeof drivers[0] };

static const struct sr_driver *find_driver(const char *type)
{
    for (size_t i = 0; i < DRIVER_COUNT; i++) {
        if (strcmp(drivers[i]->type, type) == 0)
            return drivers[i];
    }
    return NULL;
}

static void release_vdis(struct inventory_sr *sr)
{
    free(sr->vdis.items); /* VDIs own nothing */
    sr->vdis = (struct json_array){0};
}

static bool check_unique(const struct sr_set *set, const struct member *added, struct error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->members[i].name, added->name) == 0)
            return error_set(err, ERROR_INVALID, "two SRs have this name");
        if (strcmp(set->members[i].id, added->id) == 0)
            return error_set(err, ERROR_INVALID, "is the same storage as SR %s",
                             set->members[i].name);
    }
    return true;
}

static bool open_member(struct sr_set *set, const struct sr_config *config, struct error *err)
{
    struct member *member = &set->members[set->count];
    member->driver = find_driver(config->type);
    if (!member->driver)
        return error_set(err, ERROR_INVALID, "SR type \"%s\": expected \"ext\"", config->type);
    if (!member->driver->open(config->name, config->location, &member->sr, err))
        return false;
    snprintf(member->name, sizeof member->name, "%s", config->name);
    struct inventory_sr found;
    bool is_fine = member->driver->scan(member->sr, &found, err);
    if (is_fine) {
        snprintf(member->id, sizeof member->id, "%s", found.id);
        release_vdis(&found);
        is_fine = check_unique(set, member, err);
    }
    if (!is_fine) {
        member->driver->close(member->sr);
        return false;
    }
    set->count++;
    return true;
}

bool sr_set_open(const struct sr_config *configs, size_t count, struct sr_set **out,
                 struct error *err)
{
    if (count > LIMIT_SRS)
        return error_set(err, ERROR_INVALID, "%zu SRs: expected at most %d", count, LIMIT_SRS);
    struct sr_set *set = memory_alloc(sizeof *set + count * sizeof set->members[0]);
    pthread_mutex_init(&set->scan_mutex, NULL);
    for (size_t i = 0; i < count; i++) {
        if (!open_member(set, &configs[i], err)) {
            error_prefix(err, "SR %s", configs[i].name);
            sr_set_close(set);
            return false;
        }
    }
    *out = set;
    return true;
}

void sr_set_close(struct sr_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++)
        set->members[i].driver->close(set->members[i].sr);
    pthread_mutex_destroy(&set->scan_mutex);
    free(set);
}

/* An SR that cannot be scanned is left out: what the host cannot reach it does not offer. */
static bool scan_member(struct member *member, struct inventory_sr *out)
{
    struct error err;
    if (member->driver->scan(member->sr, out, &err)) {
        member->complaint[0] = '\0';
        return true;
    }
    if (strcmp(member->complaint, err.text) != 0)
        log_warning("left out of the inventory: %s", err.text);
    snprintf(member->complaint, sizeof member->complaint, "%s", err.text);
    return false;
}

bool sr_set_scan(struct sr_set *set, struct inventory *inventory, struct error *err)
{
    (void)err;
    struct inventory_sr *items = memory_array(set->count, sizeof *items);
    size_t count = 0;
    pthread_mutex_lock(&set->scan_mutex);
    for (size_t i = 0; i < set->count; i++)
        count += scan_member(&set->members[i], &items[count]);
    pthread_mutex_unlock(&set->scan_mutex);
    inventory->srs = (struct json_array){items, count};
    return true;
}

static struct member *find(struct sr_set *set, const char *id, struct error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->members[i].id, id) == 0)
            return &set->members[i];
    }
    error_set(err, ERROR_NOT_FOUND, "this host has no SR %.40s", id);
    return NULL;
}

bool sr_set_create(struct sr_set *set, const char *sr, const char *vdi, enum image_format format,
                   uint64_t size_bytes, struct error *err)
{
    struct member *member = find(set, sr, err);
    return member && member->driver->create(member->sr, vdi, format, size_bytes, err);
}

bool sr_set_remove(struct sr_set *set, const char *sr, const char *vdi, struct error *err)
{
    struct member *member = find(set, sr, err);
    return member && member->driver->remove(member->sr, vdi, err);
}

bool sr_set_locate(struct sr_set *set, const char *sr, const char *vdi, char path[LIMIT_PATH + 1],
                   enum image_format *format, struct error *err)
{
    struct member *member = find(set, sr, err);
    return member && member->driver->locate(member->sr, vdi, path, format, err);
}

bool sr_set_identify(struct sr_set *set, const char *path, char sr[UUID_SIZE], char vdi[UUID_SIZE])
{
    for (size_t i = 0; i < set->count; i++) {
        struct member *member = &set->members[i];
        if (member->driver->identify(member->sr, path, vdi)) {
            snprintf(sr, UUID_SIZE, "%s", member->id);
            return true;
        }
    }
    return false;
}
