/* The audit log as the API shows it. */
#pragma once

#include "coordinator/store/page.h"

extern const struct page_list audit_list; /* no own parameter */
