/* Conditions that the statements of several lists share. `parameter` is "$n". A word that names
 * nothing gives an empty list: what a caller may not see and what is not there are the same. */
#pragma once

/* Pools that the caller may see (coordinator/security/scope.h); NULL = all. */
#define PAGE_IN_SCOPE(parameter, pool)                                                             \
    "(" parameter "::uuid[] IS NULL OR " pool " = ANY (" parameter "))"

/* Filters; NULL = all. A pool and a host by id or name. */
#define PAGE_IS(parameter, column) "(" parameter "::text IS NULL OR " column " = " parameter ")"
#define PAGE_IN_POOL(parameter, pool)                                                              \
    "(" parameter "::text IS NULL OR " pool " IN (SELECT wanted.id FROM pool wanted"               \
    "  WHERE wanted.id::text = " parameter " OR wanted.name = " parameter "))"
#define PAGE_ON_HOST(parameter, host)                                                              \
    "(" parameter "::text IS NULL OR " host " IN (SELECT wanted.id FROM host wanted"               \
    "  WHERE wanted.id::text = " parameter " OR wanted.name = " parameter "))"
