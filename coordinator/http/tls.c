/* Client certificates on the agent port: demanded and verified in the handshake itself. */
#include "coordinator/http/server.h"

#include "base/x509.h"

static gnutls_session_t session_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info ? (gnutls_session_t)info->tls_session : NULL;
}

void http_demand_certificate(struct http_server *server, struct MHD_Connection *connection)
{
    gnutls_session_t session = session_of(connection);
    if (!session)
        return; /* http_peer_host then finds no certificate and refuses */
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_cert2(session, &server->client_purpose, 1, 0);
}

/* The handshake has verified it; this one also notices what has expired since. */
static bool read_peer(gnutls_session_t session, struct http_peer *peer, struct error *err)
{
    unsigned int status = 0, count = 0;
    if (!session || gnutls_certificate_verify_peers2(session, &status) != GNUTLS_E_SUCCESS ||
        status != 0)
        return error_set(err, ERROR_REFUSED, "no certificate of a host of ours was shown");
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    if (!chain || count == 0)
        return error_set(err, ERROR_REFUSED, "no client certificate was shown");
    peer->good_until = gnutls_certificate_expiration_time_peers(session);
    return x509_host_of_der(chain[0].data, chain[0].size, peer->host, peer->serial, err);
}

bool http_peer_host(struct MHD_Connection *connection, char host[UUID_SIZE], char serial[65],
                    struct error *err)
{
    struct http_peer *kept = http_connection_peer(connection);
    struct http_peer peer = {0};
    if (kept && kept->host[0] && time(NULL) < kept->good_until)
        peer = *kept;
    else if (!read_peer(session_of(connection), &peer, err))
        return false;
    if (kept)
        *kept = peer;
    memcpy(host, peer.host, UUID_SIZE);
    memcpy(serial, peer.serial, sizeof peer.serial);
    return true;
}
