/* The page that api/render_docs.py makes of the contract when the program is built. */
#pragma once

extern const char docs_page[];
extern const char docs_policy[]; /* Content-Security-Policy: its own style and nothing else */
