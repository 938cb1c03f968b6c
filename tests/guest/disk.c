/* Disks, sector patterns and their verification. */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WORDS = SECTOR / 8, PIECE_SECTORS = 2048, SHOWN = 5 };
static const uint64_t MAGIC = 0x6c6f6f7073736f72u;

struct disk disks[MAX_DISKS];
int disk_count;

uint64_t sector_hash(const void *sector)
{
    const uint64_t *words = sector;
    uint64_t hash = 1;
    for (int i = 0; i < WORDS; i++)
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u + (hash >> 29);
    return hash == UNKNOWN ? 1 : hash;
}

uint64_t sector_fill(void *sector, const struct disk *disk, uint64_t number, uint64_t sequence)
{
    uint64_t *words = sector;
    words[0] = MAGIC;
    words[1] = number;
    words[2] = sequence;
    words[3] = (uint64_t)(disk - disks);
    uint64_t state = mix(number * 0x1000003u ^ sequence << 32 ^ words[3]);
    for (int i = 4; i < WORDS; i++) {
        words[i] = state;
        state = state * 6364136223846793005u + 1442695040888963407u;
    }
    return sector_hash(sector);
}

/* Calls `visit` for each sector; returns how many could not be read. */
static uint64_t for_each_sector(const struct disk *disk,
                                void (*visit)(const struct disk *disk, uint64_t number,
                                              const void *sector, void *context),
                                void *context)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char *buffer;
    uint64_t unread = 0;
    pthread_mutex_lock(&lock);
    if (!buffer)
        buffer = aligned_alloc(4096, PIECE_SECTORS * SECTOR);
    for (uint64_t first = 0; first < disk->sectors; first += PIECE_SECTORS) {
        uint64_t left = disk->sectors - first;
        uint64_t count = left < PIECE_SECTORS ? left : PIECE_SECTORS;
        ssize_t size = (ssize_t)(count * SECTOR);
        if (pread(disk->fd, buffer, (size_t)size, (off_t)(first * SECTOR)) != size) {
            console_say("ERROR read disk=%s sector=%llu: %s", disk->name, (unsigned long long)first,
                        strerror(errno));
            unread += count;
            continue;
        }
        for (uint64_t i = 0; i < count; i++)
            visit(disk, first + i, buffer + i * SECTOR, context);
    }
    pthread_mutex_unlock(&lock);
    return unread;
}

static void take_base(const struct disk *disk, uint64_t number, const void *sector, void *context)
{
    (void)context;
    disk->expected[number] = sector_hash(sector);
}

struct verdict {
    uint64_t checked, bad;
};

static void check_sector(const struct disk *disk, uint64_t number, const void *sector,
                         void *context)
{
    struct verdict *verdict = context;
    if (disk->expected[number] == UNKNOWN)
        return;
    verdict->checked++;
    if (sector_hash(sector) == disk->expected[number])
        return;
    const uint64_t *words = sector;
    if (verdict->bad++ < SHOWN)
        console_say("BAD disk=%s sector=%llu holds magic=%d sector=%llu sequence=%llu disk=%llu",
                    disk->name, (unsigned long long)number, words[0] == MAGIC,
                    (unsigned long long)words[1], (unsigned long long)words[2],
                    (unsigned long long)words[3]);
}

uint64_t disk_verify(const struct disk *disk, uint64_t *checked)
{
    struct verdict verdict = {0};
    uint64_t unread = for_each_sector(disk, check_sector, &verdict);
    *checked += verdict.checked;
    return verdict.bad + unread;
}

static bool open_disk(const char *name)
{
    char path[32];
    struct disk *disk = &disks[disk_count];
    snprintf(path, sizeof path, "/dev/%.7s", name);
    disk->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    uint64_t size = 0;
    if (disk->fd < 0 || ioctl(disk->fd, BLKGETSIZE64, &size) || size < STRIPE_SECTORS * SECTOR) {
        console_say("ERROR disk %s: %s", name, strerror(errno));
        return false;
    }
    snprintf(disk->name, sizeof disk->name, "%.7s", name);
    disk->sectors = size / SECTOR;
    disk->expected = calloc(disk->sectors, sizeof *disk->expected);
    if (options.has_base)
        for_each_sector(disk, take_base, NULL);
    disk_count++;
    return true;
}

/* virtio and Xen */
static int is_disk(const struct dirent *entry)
{
    return strncmp(entry->d_name, "vd", 2) == 0 || strncmp(entry->d_name, "xvd", 3) == 0;
}

void disk_open_all(void)
{
    struct dirent **names = NULL;
    int count = 0;
    for (int tries = 0; tries < 200 && count <= 0; tries++) { /* devices come up asynchronously */
        usleep(10000);
        count = scandir("/sys/block", &names, is_disk, alphasort);
    }
    for (int i = 0; i < count && disk_count < MAX_DISKS; i++)
        open_disk(names[i]->d_name);
}
