/* Named points where a test build can be killed, held, slowed or made to fail; nothing in a release
 * build. Each time a point is passed it reads the file <name> in the folder $CROSSPOOL_FAILPOINTS
 * (give each process a folder of its own):
 *   "kill"        SIGKILL of this process
 *   "wait"        holds until the file is gone
 *   "delay MS"    sleeps
 *   "error TEXT"  fails with ERROR_INTERNAL and TEXT (only points that can fail)
 * and it writes <name>.hit beside it, so that a test can wait for it. */
#pragma once

#include "base/error.h"

#ifdef CROSSPOOL_FAILPOINTS
bool failpoint(const char *name, struct error *err) must_check;
void failpoint_pass(const char *name); /* a point that cannot fail */
#else
static inline bool must_check failpoint(const char *name, struct error *err)
{
    (void)name;
    (void)err;
    return true;
}
static inline void failpoint_pass(const char *name)
{
    (void)name;
}
#endif
