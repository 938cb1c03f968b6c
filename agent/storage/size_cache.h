/* Virtual sizes of images by VDI, so that a scan every few seconds does not start a qemu-img for
 * each of them: asked again only when the image's mark (image.h) changes. Not thread-safe. */
#pragma once

#include "protocol/vocabulary.h"

struct size_cache;

struct size_cache *size_cache_new(void);
void size_cache_free(struct size_cache *cache);
/* False when the size cannot be told (a damaged image); the reason is logged once for each mark. */
bool size_cache_get(struct size_cache *cache, const char *vdi, const char *path,
                    enum image_format format, uint64_t *size_bytes);
/* Forgets what was not asked for since the last sweep. */
void size_cache_sweep(struct size_cache *cache);
/* How often an image had to be examined, for tests. */
unsigned long size_cache_examined(const struct size_cache *cache);
