/* A destination host with journal, SR, link and receivers, and a source that dials it. Failures end
 * the test. */
#pragma once

#include "agent/receiver/receiver.h"

#include <libnbd.h>

#define MIGRATION "11111111-1111-4111-8111-111111111111"
#define VDI_RAW   "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
#define VDI_QCOW2 "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
#define VDI_VHD   "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
enum { DISK_BYTES = 8 << 20 };

extern char fixture_folder[64];
extern struct journal *fixture_journal;
extern struct sr_set *fixture_srs;
extern struct receiver_set *fixture_receivers;
/* Disks 0, 1, 2: raw, qcow2, VHD, created in the SR. */
extern struct migration_spec fixture_spec;

void fixture_start(void); /* everything, with the migration admitted */
void fixture_stop(void);
/* Closes and opens the receivers again, as a restart of the agent does; not admitted. */
void fixture_restart_receivers(void);
char *fixture_path(const char *name); /* below the folder; the caller frees */
char *fixture_image(int disk);
/* Runs a shell command. */
void fixture_run(const char *command);
/* Objects of the migration in the ledger that are receivers or sockets. */
int fixture_ledger_count(void);
/* SIGKILL to processes of the fixture by program and a word of the command line; waits. */
void fixture_kill(const char *program, const char *word);

enum fixture_peer { FIXTURE_SOURCE, FIXTURE_STRANGER };
struct fixture_stream {
    struct link_relay *relay;
    struct nbd_handle *nbd;
};
/* Opens a stream and attaches an NBD client to the export of its channel and epoch. *err is the
 * refusal when it returns false. */
bool fixture_try(enum fixture_peer peer, const struct link_hello *hello, struct fixture_stream *out,
                 struct error *err);
struct fixture_stream fixture_attach(enum link_channel channel, int disk, int64_t epoch);
void fixture_detach(struct fixture_stream *stream);
/* The refusal of such a stream, which must come. */
struct error fixture_refused(enum link_channel channel, int disk, int64_t epoch);
/* 0 or the errno value of the failure. */
int fixture_write(struct fixture_stream *stream, int byte, uint64_t size, uint64_t offset);
/* True when the image, read with its format's driver, holds the byte in the range. */
bool fixture_image_holds(int disk, int byte, uint64_t size, uint64_t offset);
