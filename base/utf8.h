/* UTF-8 of texts that were cut to fit. */
#pragma once

/* Each byte that is no part of valid UTF-8 (RFC 3629) becomes '?', so that the text can go into
 * JSON and into the database. */
void utf8_repair(char *text);
