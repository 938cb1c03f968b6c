/* The module under nbdkit on a raw file, and NBD clients of it. Failures end the test. */
#pragma once

#include "base/error.h"

#include <libnbd.h>
#include <stdint.h>

struct child;
struct nbdkit_run {
    char folder[64];
    char file[96], socket[96];
    struct child *child;
};

/* Makes a folder with a file of `size` bytes. */
void nbdkit_run_init(struct nbdkit_run *run, uint64_t size);
/* `parameters` is a list of up to 8 texts after file=..., ended by NULL; may be NULL. */
bool nbdkit_run_try(struct nbdkit_run *run, const char *module, const char *const *parameters,
                    struct error *err);
void nbdkit_run_start(struct nbdkit_run *run, const char *module, const char *const *parameters);
void nbdkit_run_stop(struct nbdkit_run *run); /* not running is fine */
void nbdkit_run_kill(struct nbdkit_run *run); /* SIGKILL */
void nbdkit_run_done(struct nbdkit_run *run);

/* NULL when the export is refused. */
struct nbd_handle *nbdkit_run_try_attach(const struct nbdkit_run *run, const char *export_name);
struct nbd_handle *nbdkit_run_attach(const struct nbdkit_run *run, const char *export_name);
/* 0 or the errno value of the failure. */
int nbdkit_run_write(struct nbd_handle *nbd, int byte, uint64_t size, uint64_t offset);
/* True when all bytes of the range are `byte`, read from the file. */
bool nbdkit_run_holds(const struct nbdkit_run *run, uint64_t offset, uint64_t size, int byte);
