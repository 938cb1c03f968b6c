/* Faults on purpose, so that tests prove that they would notice them. They exist only in the broken
 * module (CROSSPOOL_BROKEN) that test builds make; in the product every question below is a
 * constant "no" and every delay is nothing. */
#pragma once

#include "base/error.h"

enum breakage {
    BREAKAGE_NONE,
    BREAKAGE_MASK,   /* copy writes ignore the marks */
    BREAKAGE_LOCK,   /* mirror writes do not wait for copy writes in flight */
    BREAKAGE_FENCE,  /* handles of older epochs go on, nothing is drained */
    BREAKAGE_SECTOR, /* marks cover 4096 bytes instead of 512 */
};

#ifdef CROSSPOOL_BROKEN
bool breakage_is(enum breakage kind);
/* Between taking the range and writing it. */
void breakage_delay_copy(void);
void breakage_delay_mirror(void);
/* Parameters break=mask|lock|fence|sector, copy_delay_ms=N, mirror_delay_ms=N. *is_mine says
 * whether the key is one of them. */
bool breakage_config(const char *key, const char *value, bool *is_mine,
                     struct error *err) must_check;
void breakage_set(enum breakage kind, int copy_delay_ms, int mirror_delay_ms);
#else
static inline bool breakage_is(enum breakage kind)
{
    (void)kind;
    return false;
}
static inline void breakage_delay_copy(void)
{
}
static inline void breakage_delay_mirror(void)
{
}
static inline bool must_check breakage_config(const char *key, const char *value, bool *is_mine,
                                              struct error *err)
{
    (void)key;
    (void)value;
    (void)err;
    *is_mine = false;
    return true;
}
#endif
