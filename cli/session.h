/* The coordinator that the commands talk to, as `crosspool login` keeps it in a file that only its
 * owner may read: $CROSSPOOL_SESSION, or crosspool/session.json in $XDG_CONFIG_HOME or ~/.config.
 */
#pragma once

#include "base/error.h"

struct session {
    char url[513];
    char *ca;    /* PEM; owned */
    char *token; /* owned */
};
void session_done(struct session *session);

/* ERROR_REFUSED when others may read the file. */
bool session_read(struct session *session, struct error *err) must_check;
bool session_write(const struct session *session, struct error *err) must_check;
