"""Limits: rates, failures, connections, sizes and times; what is over them is refused and counted."""
import json
import re
import socket
import ssl
import time

import pytest

from crosspool_test import shell
from crosspool_test.coordinator import Coordinator
from crosspool_test.events import Stream
from crosspool_test.fake_host import FakeHost
from crosspool_test.marks import full

from test_http import problem


@pytest.fixture
def limited(postgres, tmp_path):
    """A function that starts a coordinator with these limits."""
    started = []

    def start(**limits):
        made = Coordinator(tmp_path / f"c{len(started)}", postgres, limits=limits)
        made.init_with_admin()
        made.start()
        started.append(made)
        return made
    yield start
    for made in started:
        made.kill()


def refused(api, limit):
    text = api.get("/metrics")
    return int(re.search(f'^crosspool_http_refused_total{{limit="{limit}"}} (\\d+)$', text,
                         re.M)[1])


def test_a_token_that_asks_too_often_waits_and_others_do_not(limited):
    coordinator = limited(requests_per_s=2, request_burst=10)
    one = coordinator.api(coordinator.make_token("one", "viewer"))
    other = coordinator.api(coordinator.make_token("other", "viewer"))
    answers = [one.request("GET", "/v1/pools") for _ in range(40)]
    good = [answer for answer in answers if answer.status == 200]
    assert 10 <= len(good) < 30
    over = next(answer for answer in answers if answer.status != 200)
    assert "this token" in problem(over, 429, "too-many-requests")["detail"]
    assert refused(other, "rate") == 40 - len(good)
    wait_s = int(over.headers["Retry-After"])
    assert 1 <= wait_s <= 2
    time.sleep(wait_s)
    one.get("/v1/pools")


def test_a_host_that_asks_too_often_waits(limited, tmp_path):
    coordinator = limited(requests_per_s=1, request_burst=12)
    admin = coordinator.api(coordinator.admin_token)
    admin.post("/v1/pools", {"name": "A"})
    host = FakeHost(coordinator, admin, tmp_path / "host", "A", "a1")
    statuses = [host.api.request("POST", "/agent/v1/report", {"inventory_generation": 0}).status
                for _ in range(30)]
    assert set(statuses) == {204, 429} and statuses.index(429) >= 12
    admin.get("/v1/pools")


def test_the_defaults_let_a_busy_client_through(coordinator, admin):
    for _ in range(900):
        assert admin.request("GET", "/healthz").status == 200
    assert {admin.request("GET", "/v1/pools").status for _ in range(300)} == {200}


def test_an_address_that_guesses_is_stopped_and_its_known_callers_are_not(limited):
    coordinator = limited(failures_per_minute=6, failure_burst=5)
    known = coordinator.api(coordinator.make_token("known", "viewer"))
    late = coordinator.api(coordinator.make_token("late", "viewer"))
    known.get("/v1/pools")
    statuses = [coordinator.api("cpt_" + f"{number:064x}").request("GET", "/v1/pools").status
                for number in range(12)]
    assert statuses[:5] == [401] * 5 and statuses[-1] == 429
    answer = coordinator.api(None).request("GET", "/v1/pools")
    problem(answer, 429, "too-many-requests")
    problem(late.request("GET", "/v1/pools"), 429, "too-many-requests")
    problem(coordinator.api(None).request("POST", "/agent/v1/enrol", {}), 429, "too-many-requests")
    known.get("/v1/pools")
    assert coordinator.api(None).request("GET", "/healthz").status == 200
    assert refused(known, "failures") >= 3
    time.sleep(int(answer.headers["Retry-After"]))
    late.get("/v1/pools")


def test_refused_enrolments_count_as_failures(limited):
    coordinator = limited(failures_per_minute=6, failure_burst=3)
    body = {"token": "cpe_" + "0" * 64, "csr": "x"}
    statuses = [coordinator.api(None).request("POST", "/agent/v1/enrol", body).status
                for _ in range(6)]
    assert statuses[0] == 403 and statuses[-1] == 429


def test_refusals_do_not_fill_the_log(limited):
    """50 at once and then 10 a second (coordinator/http/server.c)."""
    coordinator = limited(failures_per_minute=60000, failure_burst=10000)
    api = coordinator.api(None)
    begin = time.monotonic()
    for _ in range(300):
        api.request("GET", "/v1/pools")
    most = 50 + 10 * (time.monotonic() - begin)
    time.sleep(1)
    api.request("GET", "/v1/pools")
    lines = [json.loads(line)["text"] for line in coordinator.log.read_text().splitlines()]
    logged = [text for text in lines if text.startswith("GET /v1/pools 401")]
    assert 50 <= len(logged) <= most + 2
    unlogged = [int(text.split()[0]) for text in lines if "were not logged" in text]
    assert sum(unlogged) + len(logged) == 301


def connect(coordinator, port="api"):
    context = ssl.create_default_context(cafile=str(coordinator.ca_path))
    raw = socket.create_connection(("127.0.0.1", coordinator.configuration[port]["port"]),
                                   timeout=20)
    return context.wrap_socket(raw, server_hostname="127.0.0.1")


def is_open(stream):
    stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: c\r\n\r\n")
    answer = b""
    while b"}" not in answer:
        more = stream.recv(1000)
        if not more:
            return False
        answer += more
    return answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("limits, metric", [
    ({"connections": 4}, "connections"), ({"connections_per_address": 4}, "address")])
def test_connections_over_the_limit_are_closed_and_later_ones_are_served(limited, limits, metric):
    coordinator = limited(**limits)
    token = coordinator.make_token("t", "viewer")
    streams = []
    for _ in range(4):
        streams.append(connect(coordinator))
        assert is_open(streams[-1])
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        connect(coordinator)
    assert all(is_open(stream) for stream in streams)
    for stream in streams:
        stream.close()

    def is_served():
        try:
            return coordinator.api(None).request("GET", "/healthz").status == 200
        except OSError:
            return False
    shell.wait_for("room for a connection", is_served, 10)
    assert refused(coordinator.api(token), metric) >= 1


@pytest.mark.long
@pytest.mark.parametrize("limit", [full("connections"), "connections_per_address"])
def test_streams_do_not_use_up_the_connections_and_are_not_slow(limited, limit):
    coordinator = limited(**{limit: 4}, header_s=4, body_s=4)
    admin = coordinator.api(coordinator.admin_token)
    streams = [Stream(coordinator, admin.token) for _ in range(10)]
    assert {stream.status for stream in streams} == {200}
    time.sleep(6)  # longer than a peer that owes something may take
    admin.post("/v1/pools", {"name": "A"})
    for stream in streams:
        shell.wait_for("the event", lambda stream=stream: stream.kinds() == ["pool.created"], 30)
    assert refused(admin, "slow") == refused(admin, "connections") == refused(admin, "address") == 0
    for stream in streams:
        stream.close()
    # a peer that is gone shows with the second heartbeat, 30 s later at most
    shell.wait_for("their end", lambda: "\ncrosspool_event_streams 0\n" in admin.get("/metrics"), 90)
    kept = [connect(coordinator) for _ in range(3)]
    assert all(map(is_open, kept))
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        connect(coordinator)


def closes_within(stream, seconds, trickle=b""):
    """True when the other side ends the connection although bytes keep coming."""
    end = time.monotonic() + seconds
    stream.settimeout(0.3)
    while time.monotonic() < end:
        try:
            if trickle:
                stream.sendall(trickle)
            if stream.recv(1000) == b"":
                return True
        except TimeoutError:
            continue
        except (ssl.SSLError, ConnectionError):
            return True
    return False


@pytest.mark.parametrize("start", [
    b"GET /healthz HTTP/1.1\r\nHost: c\r\nX-Slow: ",
    b"POST /v1/pools HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer %s\r\n"
    b"Content-Length: 100000\r\n\r\n",
], ids=["headers", "body"])
def test_who_trickles_is_cut_off(limited, start):
    coordinator = limited(header_s=2, body_s=2)
    token = coordinator.make_token("t", "admin")
    with connect(coordinator) as stream:
        stream.sendall(start.replace(b"%s", token.encode()))
        assert closes_within(stream, 10, b"x")
    assert refused(coordinator.api(token), "slow") == 1


def test_a_handshake_that_never_comes_is_cut_off(limited):
    coordinator = limited(header_s=2)
    with socket.create_connection(("127.0.0.1", coordinator.configuration["api"]["port"])) as raw:
        assert closes_within(raw, 10)


def test_a_connection_that_rests_between_requests_is_kept(limited):
    coordinator = limited(header_s=1, body_s=1)
    with connect(coordinator) as stream:
        for _ in range(3):
            assert is_open(stream)
            time.sleep(3)


@pytest.mark.long
def test_a_parked_poll_is_not_slow(limited, tmp_path):
    coordinator = limited(header_s=1, body_s=1)
    admin = coordinator.api(coordinator.admin_token)
    admin.post("/v1/pools", {"name": "A"})
    host = FakeHost(coordinator, admin, tmp_path / "host", "A", "a1")
    start = time.monotonic()
    assert host.poll_once() == {"settings": [], "steps": [], "cancel": []}
    assert time.monotonic() - start > 10


@pytest.mark.parametrize("headers", [
    {"X-Large": "x" * 20000}, {f"X-{number}": "y" * 100 for number in range(160)}])
def test_large_headers_are_431(coordinator, admin, headers):
    answer = admin.request("GET", "/v1/pools", headers=headers)
    assert "16384 bytes" in problem(answer, 431, "header-too-large")["detail"]
    assert refused(admin, "header") == 1
    assert admin.request("GET", "/v1/pools", headers={"X-Large": "x" * 15000}).status == 200


def test_headers_beyond_all_measure_are_431_too(coordinator, admin):
    assert admin.request("GET", "/v1/pools", headers={"X-Large": "x" * 60000}).status == 431


@pytest.mark.parametrize("members, where", [
    ({"requests_per_s": 0}, "/limits/requests_per_s"), ({"connections": 100000}, "/limits/conn"),
    ({"request_s": 1}, "/limits/request_s"), ({"header_s": "1"}, "/limits/header_s"),
])
def test_a_wrong_limit_is_one_line(installed, members, where):
    installed.configuration["limits"] = members
    installed.write_configuration()
    done = installed.try_command("run")
    assert done.returncode == 2 and where in done.stderr
