/* How much one caller may ask for; "limits" of coordinator.json. 0 = no limit. */
#pragma once

enum { LIMITS_CONNECTIONS = 24576 }; /* to one port, the most that can be set */

struct limits {
    int requests_per_s, request_burst;      /* of one token, and of one host */
    int failures_per_minute, failure_burst; /* of one address: requests by nobody that is known */
    int connections;                        /* to the API port, besides streams */
    int connections_per_address;            /* of these, from one address */
    int agent_connections;                  /* to the agent port */
    int header_s; /* longest time for handshake and headers, and for headers after an idle minute */
    int body_s;   /* longest time for a body */
};
