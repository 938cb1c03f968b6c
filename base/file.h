/* Small whole files, written so that a crash leaves the old or the new content. */
#pragma once

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* Reads the whole file, at most `limit` bytes; *text is NUL-terminated and owned by the caller. */
bool file_read(const char *path, size_t limit, char **text, size_t *size,
               struct error *err) must_check;
/* Writes to a temporary name, fsyncs, renames, fsyncs the directory. */
bool file_write(const char *path, mode_t mode, const void *data, size_t size,
                struct error *err) must_check;
/* mkdir -p. */
bool file_make_directory(const char *path, mode_t mode, struct error *err) must_check;
/* Removes a file; one that is not there is fine. */
bool file_remove(const char *path, struct error *err) must_check;
/* Removes a directory tree below `path` and `path` itself; missing is fine. */
bool file_remove_tree(const char *path, struct error *err) must_check;
