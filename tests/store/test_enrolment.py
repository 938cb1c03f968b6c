"""Hosts enrol once with a token, speak over mutual TLS, renew, and can be locked out."""
import socket
import ssl
import threading
import time

import pytest

from crosspool_test import shell
from crosspool_test.api import Api
from crosspool_test.fake_host import empty_inventory
from crosspool_test.identity import Identity

from test_http import problem

NO_HOST = "11111111-2222-4333-8444-555555555555"
EMPTY_POLL = {"known": [], "cancelling": []}


def report(identity, coordinator):
    return identity.api(coordinator).request("POST", "/agent/v1/report",
                                             {"inventory_generation": 0})


def raw_report(coordinator, certificate=None, key=None):
    """First bytes of the answer to a report on the agent port; none when TLS refuses: in TLS 1.3
    the client learns it with its first read."""
    context = ssl.create_default_context(cafile=str(coordinator.ca_path))
    if certificate:
        context.load_cert_chain(str(certificate), str(key))
    address = ("127.0.0.1", coordinator.configuration["agents"]["port"])
    body = b'{"inventory_generation": 0}'
    head = f"POST /agent/v1/report HTTP/1.1\r\nHost: c\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        with socket.create_connection(address, timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname="127.0.0.1") as stream:
                stream.sendall(head.encode() + body)
                return stream.recv(200)
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return b""


@pytest.fixture
def token(admin):
    admin.post("/v1/pools", {"name": "A"})
    return admin.post("/v1/enrolments", {"pool": "A", "name": "a1"})["token"]


def test_an_enrolled_host_is_let_in_and_is_who_its_certificate_says(coordinator, host):
    assert report(host, coordinator).status == 204
    rows = coordinator.query("SELECT id, state FROM host WHERE name = 'a1'")
    assert rows == [[host.host, "enabled"]]
    text = shell.run("openssl", "x509", "-in", host.certificate, "-noout", "-subject", "-ext",
                     "subjectAltName")
    assert f"CN = {host.host}" in text and f"URI:urn:crosspool:host:{host.host}" in text


def test_the_answer_names_the_agent_port_and_the_ca(coordinator, token, tmp_path):
    answer = Identity(tmp_path / "h").enrol(coordinator, token)
    assert answer["agent_port"] == coordinator.configuration["agents"]["port"]
    assert answer["ca"] == coordinator.ca_path.read_text()


def test_a_good_certificate_is_answered(coordinator, host):
    assert raw_report(coordinator, host.certificate, host.key).startswith(b"HTTP/1.1 204")


def test_without_a_certificate_the_handshake_fails(coordinator):
    assert raw_report(coordinator) == b""


def test_a_certificate_of_another_ca_fails_in_the_handshake(coordinator, host, tmp_path):
    other = Identity(tmp_path / "other")
    shell.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
              tmp_path / "ca.key", "-out", tmp_path / "ca.pem", "-subj", "/CN=Crosspool CA",
              "-days", "2")
    other.sign_with(tmp_path / "ca.pem", tmp_path / "ca.key", host=host.host)
    assert raw_report(coordinator, other.certificate, other.key) == b""


def test_the_server_certificate_is_no_client_certificate(coordinator):
    state = coordinator.state_directory
    assert raw_report(coordinator, state / "server.pem", state / "server.key") == b""


@pytest.mark.parametrize("whose", ["the host's", "nobody's"])
def test_a_certificate_of_our_ca_that_was_not_issued_here_is_refused(coordinator, host, tmp_path,
                                                                     whose):
    forged = Identity(tmp_path / "forged")
    state = coordinator.state_directory
    forged.sign_with(state / "ca.pem", state / "ca.key",
                     host=host.host if whose == "the host's" else NO_HOST)
    answer = report(forged, coordinator)
    assert "not known" in problem(answer, 403, "refused")["detail"]


def test_agent_routes_are_not_on_the_api_port_and_the_other_way_round(coordinator, admin, host):
    problem(admin.request("POST", "/agent/v1/report", {}), 404, "not-found")
    problem(host.api(coordinator).request("GET", "/v1/pools"), 404, "not-found")
    problem(host.api(coordinator).request("GET", "/healthz"), 404, "not-found")


def test_a_token_works_once(coordinator, token, tmp_path):
    first, second = Identity(tmp_path / "first"), Identity(tmp_path / "second")
    first.enrol(coordinator, token)
    answer = coordinator.api(None).request("POST", "/agent/v1/enrol",
                                           {"token": token, "csr": second.csr})
    assert "already used" in problem(answer, 403, "refused")["detail"]
    assert report(first, coordinator).status == 204


def test_the_same_request_again_gets_the_same_certificate(coordinator, token, tmp_path):
    """The answer may be lost on the way, the token must not be lost with it."""
    identity = Identity(tmp_path / "h")
    first = identity.enrol(coordinator, token)
    coordinator.restart()
    assert identity.enrol(coordinator, token)["certificate"] == first["certificate"]
    assert coordinator.query("SELECT count(*) FROM host_certificate") == [["1"]]


def test_many_at_once_with_one_token_get_one_certificate(coordinator, token, tmp_path):
    identities = [Identity(tmp_path / f"h{i}") for i in range(8)]
    statuses = []

    def enrol(identity):
        statuses.append(coordinator.api(None).request(
            "POST", "/agent/v1/enrol", {"token": token, "csr": identity.csr}).status)
    threads = [threading.Thread(target=enrol, args=(identity,)) for identity in identities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [403] * 7
    assert coordinator.query("SELECT count(*) FROM host_certificate") == [["1"]]


def test_an_unknown_or_expired_token_is_refused(coordinator, token, tmp_path):
    identity = Identity(tmp_path / "h")
    api = coordinator.api(None)
    answer = api.request("POST", "/agent/v1/enrol", {"token": "cpe_" + "0" * 64,
                                                     "csr": identity.csr})
    assert "not known" in problem(answer, 403, "refused")["detail"]
    coordinator.query("UPDATE enrolment SET expires_at = now() - interval '1 second'")
    answer = api.request("POST", "/agent/v1/enrol", {"token": token, "csr": identity.csr})
    assert "expired" in problem(answer, 403, "refused")["detail"]
    assert coordinator.query("SELECT state FROM host") == [["enrolling"]]


def test_a_bad_request_does_not_use_the_token_up(coordinator, token, tmp_path):
    identity = Identity(tmp_path / "h")
    broken = identity.csr.replace("A", "B", 3)
    answer = coordinator.api(None).request("POST", "/agent/v1/enrol",
                                           {"token": token, "csr": broken})
    problem(answer, 400, "invalid")
    identity.enrol(coordinator, token)


def test_a_newer_token_ends_the_older_one(coordinator, admin, token, tmp_path):
    newer = admin.post("/v1/enrolments", {"pool": "A", "name": "a1"})
    identity = Identity(tmp_path / "h")
    answer = coordinator.api(None).request("POST", "/agent/v1/enrol",
                                           {"token": token, "csr": identity.csr})
    problem(answer, 403, "refused")
    identity.enrol(coordinator, newer["token"])
    assert identity.host == newer["host"]


def test_enrolling_again_keeps_the_host_and_ends_the_old_certificate(coordinator, admin, host,
                                                                     tmp_path):
    again = Identity(tmp_path / "again")
    again.enrol(coordinator, admin.post("/v1/enrolments", {"pool": "A", "name": "a1"})["token"])
    assert again.host == host.host
    assert report(again, coordinator).status == 204
    assert "revoked" in problem(report(host, coordinator), 403, "refused")["detail"]


def test_the_inventories_of_a_host_that_enrols_again_count_from_the_start(coordinator, admin, host,
                                                                          tmp_path):
    inventory = empty_inventory()
    send = {"inventory_generation": 7, "inventory": dict(inventory, version="before")}
    assert host.api(coordinator).request("POST", "/agent/v1/report", send).status == 204
    again = Identity(tmp_path / "again")
    again.enrol(coordinator, admin.post("/v1/enrolments", {"pool": "A", "name": "a1"})["token"])
    send = {"inventory_generation": 1, "inventory": dict(inventory, version="after")}
    assert again.api(coordinator).request("POST", "/agent/v1/report", send).status == 204
    assert coordinator.query("SELECT hypervisor_version FROM host") == [["after"]]


def test_a_host_cannot_enrol_into_another_pool(coordinator, admin, host):
    admin.post("/v1/pools", {"name": "B"})
    answer = admin.request("POST", "/v1/enrolments", {"pool": "B", "name": "a1"})
    assert "in pool A" in problem(answer, 409, "conflict")["detail"]
    answer = admin.request("POST", "/v1/enrolments", {"pool": "C", "name": "c1"})
    assert "pool C" in problem(answer, 404, "not-found")["detail"]
    assert coordinator.query("SELECT count(*) FROM host") == [["1"]]


def test_a_revoked_host_is_locked_out_until_it_enrols_again(coordinator, admin, host, tmp_path):
    coordinator.command("host", "revoke", "--name", "a1")
    assert "revoked" in problem(report(host, coordinator), 403, "refused")["detail"]
    again = Identity(tmp_path / "again")
    again.enrol(coordinator, admin.post("/v1/enrolments", {"pool": "A", "name": "a1"})["token"])
    assert report(again, coordinator).status == 204


def test_renewal_gives_a_new_certificate_and_keeps_the_old_one(coordinator, host, tmp_path):
    answer = host.api(coordinator).post("/agent/v1/renew", {"csr": host.make_csr()})
    renewed = Identity(tmp_path / "renewed")
    renewed.key.write_text(host.key.read_text())
    renewed.certificate.write_text(answer["certificate"])
    assert answer["host"] == host.host
    assert report(renewed, coordinator).status == 204
    assert report(host, coordinator).status == 204


def test_a_host_that_renews_for_ever_keeps_only_the_newest_certificates(coordinator, host):
    api = host.api(coordinator)
    for _ in range(7):
        api.post("/agent/v1/renew", {"csr": host.csr})
    assert api.request("POST", "/agent/v1/report", {"inventory_generation": 0}).status == 204
    api.post("/agent/v1/renew", {"csr": host.csr})
    assert coordinator.query("SELECT count(*) FROM host_certificate") == [["8"]]


def test_the_database_holds_no_enrolment_token(coordinator, token):
    assert token.removeprefix("cpe_") not in str(coordinator.query("SELECT e::text FROM enrolment e"))
    assert token not in coordinator.log.read_text()


def test_more_polls_park_than_there_are_workers_and_a_stop_answers_them(coordinator, host):
    """Parked polls hold neither a thread nor a connection: others are served meanwhile."""
    coordinator.configuration["host_lost_after_s"] = 86400  # so that polls park for 25 seconds
    coordinator.write_configuration()
    coordinator.restart()
    ended = []

    def poll():
        api = Api(coordinator.agent_url(), coordinator.ca_path,
                  identity=(host.certificate, host.key))
        api.request("POST", "/agent/v1/poll", EMPTY_POLL)
        ended.append(time.monotonic())
    threads = [threading.Thread(target=poll, daemon=True) for _ in range(40)]
    for thread in threads:
        thread.start()
    token = coordinator.make_token("watcher", "viewer")
    metrics = coordinator.api(token)
    shell.wait_for("40 parked polls", lambda: "crosspool_http_parked 40\n" in
                   metrics.get("/metrics"), 15)
    assert report(host, coordinator).status == 204
    connections = coordinator.query("SELECT count(*) FROM pg_stat_activity"
                                    " WHERE application_name = 'crosspool-coordinator'"
                                    " AND state <> 'idle'")
    assert int(connections[0][0]) <= 1
    assert not ended
    coordinator.stop()  # answers them all
    for thread in threads:
        thread.join(10)
    assert len(ended) == 40
