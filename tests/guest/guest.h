/* The test guest: /init of a small Linux that writes to all its disks, knows what they must hold,
 * and answers on its console. README.md describes the console. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SECTOR = 512, STRIPE_SECTORS = 41, MAX_DISKS = 26, MAX_WRITERS = 16 };

/* boot options, from the kernel command line: guest.<name>=<value> */
struct options {
    int writers;   /* for each disk */
    int rate;      /* writes a second of each writer, 0 = as fast as it goes */
    int discards;  /* percent of the writes that are discards or zeroes */
    int memory_mb; /* memory that is written and checked too */
    bool is_stopped;
    int tick_ms;      /* between two ticks; 0 = none */
    bool has_base;    /* the disks' first content is read at boot and checked as well */
    char console[16]; /* the kernel's: ttyS0, or hvc0 on Xen */
    char tick_to[32]; /* ADDRESS:PORT for ticks as datagrams; "" = none */
};
extern struct options options;

/* disk.c: a disk and what each of its sectors must hold */
struct disk {
    char name[8];
    int fd;
    uint64_t sectors;
    uint64_t *expected; /* hash of each sector's content; UNKNOWN is not checked */
};
extern struct disk disks[MAX_DISKS];
extern int disk_count;
#define UNKNOWN UINT64_C(0)
void disk_open_all(void);
uint64_t sector_hash(const void *sector);
/* Fills one sector with a pattern of its own and returns its hash. */
uint64_t sector_fill(void *sector, const struct disk *disk, uint64_t number, uint64_t sequence);
/* Reads everything back; returns sectors that are not as expected, the first few are printed. */
uint64_t disk_verify(const struct disk *disk, uint64_t *checked);

/* memory.c: pages that must keep what was written to them */
void memory_start(void);
uint64_t memory_verify(void);

/* writer.c */
void writer_start_all(void);
void writer_stop(void); /* returns when no write is under way and all is flushed */
void writer_run(void);
bool writer_is_running(void);
void writer_set_rate(int writes_per_s);
void writer_set_discards(int percent);
/* False while the writers are to stand still; true = one more operation may go on, end it. */
bool writer_begin(void);
void writer_end(void);

/* stats.c: numbers since the last reset */
struct stats {
    uint64_t writes, bytes, errors;
    uint64_t gap_us; /* longest time in which no write to some disk ended */
    uint64_t p50_us, p99_us, max_us;
};
void stats_write(int disk, uint64_t begin_us, uint64_t end_us, uint64_t bytes);
void stats_error(void);
void stats_pause(void); /* writers stand still from now on: no gap */
void stats_reset(void);
void stats_read(struct stats *out);

/* console.c */
void console_open(void);
int console_open_serial(const char *path); /* raw mode; below 0 when there is none */
void console_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void console_serve(void) __attribute__((noreturn));

/* network.c: guest.ip=ADDRESS/BITS[,ADDRESS/BITS...] for eth0, eth1 ... */
void network_start(const char *addresses);

/* tick.c: a number every options.tick_ms, which tells the outside that the guest runs */
void tick_start(void);

uint64_t now_us(void);
uint64_t mix(uint64_t value); /* splitmix64 */
