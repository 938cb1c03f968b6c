/* A domain's configuration in the words of xl.cfg(5). No Xen is needed here. */
#pragma once

#include "base/error.h"

/* The value of the text's line `key = "value"`; the last one counts, as for xl. False when there is
 * none of at most `size` - 1 bytes. */
bool xen_cfg_value(const char *text, const char *key, char *out, size_t size);
/* Is a part of the text the driver's? */
bool xen_cfg_is_ours(const char *text);

/* The text of another host with what this one's libxl configuration says of name, UUID, disks and
 * VIFs. That stands in a marked block at the end, since for xl the last word on a key counts, and
 * takes the place of such a block. ERROR_INVALID: a value that xl.cfg cannot express. Owned by the
 * caller. */
bool xen_cfg_compose(const char *text, const char *config, char **out,
                     struct error *err) must_check;
