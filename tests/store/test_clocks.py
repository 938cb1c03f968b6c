"""A host whose clock is off: its view says so, and the log once for each time that it goes wrong."""
import time

import pytest

from crosspool_test.fake_host import FakeHost


@pytest.fixture
def host(coordinator, admin, tmp_path):
    admin.post("/v1/pools", {"name": "A"})
    return FakeHost(coordinator, admin, tmp_path / "a1", "A", "a1")


def tell(host, ahead_s):
    host.send(clock_ms=int((time.time() + ahead_s) * 1000))


def offset_s(admin):
    return admin.get("/v1/hosts/a1")["clock_offset_ms"] / 1000


def said(coordinator, text):
    return coordinator.log.read_text().count(text)


def test_it_is_unknown_until_the_agent_tells(admin, host):
    host.report()
    assert admin.get("/v1/hosts/a1")["clock_offset_ms"] is None
    tell(host, 0)
    assert abs(offset_s(admin)) < 2
    host.report()
    assert abs(offset_s(admin)) < 2, "a report that does not tell changes nothing"


@pytest.mark.parametrize("ahead_s, words", [(60, "ahead of"), (-60, "behind")])
def test_a_clock_that_is_off_is_said_once(coordinator, admin, host, ahead_s, words):
    tell(host, 0)
    assert said(coordinator, "the clock of host") == 0
    for _ in range(3):
        tell(host, ahead_s)
    assert abs(offset_s(admin) - ahead_s) < 3
    assert said(coordinator, f"s {words} this coordinator's, more than 5 s") == 1
    tell(host, 0)
    tell(host, 0)
    assert abs(offset_s(admin)) < 2
    assert said(coordinator, f"the clock of host {host.id} is right again") == 1
    tell(host, ahead_s)
    assert said(coordinator, f"s {words} this coordinator's, more than 5 s") == 2


def test_the_wait_for_a_connection_is_not_taken_for_a_clock(coordinator, admin, host):
    host.api.close()
    tell(host, -15)
    assert admin.get("/v1/hosts/a1")["clock_offset_ms"] is None
    tell(host, -15)
    assert abs(offset_s(admin) + 15) < 3
    host.api.close()
    tell(host, -60)
    assert abs(offset_s(admin) + 60) < 3, "longer than an agent waits"


def test_small_changes_are_not_written(coordinator, admin, host):
    coordinator.query("UPDATE host SET clock_offset_ms = 100000")
    tell(host, 100.3)
    assert offset_s(admin) == 100
    tell(host, 110)
    assert abs(offset_s(admin) - 110) < 3


@pytest.mark.parametrize("clock_ms", [-1, 253402300800000, "now", 1.5])
def test_a_malformed_clock_is_refused(host, clock_ms):
    answer = host.api.request("POST", "/agent/v1/report",
                              {"inventory_generation": 0, "clock_ms": clock_ms})
    assert answer.status == 400 and "/clock_ms" in answer.text
