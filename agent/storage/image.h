/* Image files: what qemu-img makes and knows of them. */
#pragma once

#include "base/error.h"
#include "protocol/vocabulary.h"

#include <sys/stat.h>

/* File name endings: "raw", "qcow2", "vhd". */
#define image_extension(format) image_format_names[format]

/* Creates the file `path`, which must not exist, as an empty image of exactly size_bytes and makes
 * its content durable. On failure a part of it may be left. */
bool image_create(const char *path, enum image_format format, uint64_t size_bytes,
                  struct error *err) must_check;
/* Its virtual size, also while a guest uses it. */
bool image_size(const char *path, enum image_format format, uint64_t *size_bytes,
                struct error *err) must_check;

/* Identifies what determines an image's virtual size: the file, and the blocks in which the formats
 * keep the size. A guest's writes do not change it. */
enum { IMAGE_MARK_BLOCK = 512 };
struct image_mark {
    dev_t device;
    ino_t inode;
    unsigned char head[IMAGE_MARK_BLOCK], tail[IMAGE_MARK_BLOCK];
};
bool image_mark(int fd, enum image_format format, struct image_mark *out,
                struct error *err) must_check;
