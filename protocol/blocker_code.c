/* The words of the codes; see blocker_code.h. */
#include "protocol/blocker_code.h"

#include <stddef.h>

const char *const blocker_code_names[] = {
#define BLOCKER(symbol, code) [BLOCKER_##symbol] = code,
    BLOCKER_LIST(BLOCKER)
#undef BLOCKER
#define WARNING(symbol, code) [WARNING_##symbol] = code,
        WARNING_LIST(WARNING)
#undef WARNING
            NULL,
};
