"""Two coordinators over one database: what one does, the other sees and its agents hear of."""
import threading
import time

import pytest

from crosspool_test import shell
from crosspool_test.fake_host import FakeHost


def parked(coordinator, token):
    text = coordinator.api(token).get("/metrics")
    return int(text.split("\ncrosspool_http_parked ")[1].split()[0])


def test_what_one_creates_the_other_shows(pair):
    first, second = pair
    token = first.make_token("admin", "admin")
    first.api(token).post("/v1/pools", {"name": "A"})
    assert second.api(token).get("/v1/pools/A")["name"] == "A"


@pytest.mark.parametrize("is_listener_cut", [False, True])
def test_a_poll_parked_at_one_hears_of_a_step_made_at_the_other(pair, tmp_path, is_listener_cut):
    first, second = pair
    token = first.make_token("admin", "admin")
    api = first.api(token)
    for pool in ("A", "B"):
        api.post("/v1/pools", {"name": pool})
    a1 = FakeHost(first, api, tmp_path / "a1", "A", "a1")
    b1 = FakeHost(first, api, tmp_path / "b1", "B", "b1")
    a1.add_vm("g1")
    a1.report()
    b1.report()
    heard = []

    def poll():
        api_of_host = b1.identity.api(first)
        steps = api_of_host.post("/agent/v1/poll", {"known": [], "cancelling": []})["steps"]
        heard.append((steps[0]["kind"], time.monotonic()))
    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    shell.wait_for("the parked poll", lambda: parked(first, token) == 1, 15)
    if is_listener_cut:  # it listens again by itself
        cut = first.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                          " WHERE application_name LIKE '%listener'"
                          " AND datname = current_database()")
        assert len(cut) == 2
    begin = time.monotonic()
    second.api(token).post("/v1/migrations", {
        "vm": "g1", "destination": {"pool": "B", "host": "b1"},
        "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}}}, expect=202)
    thread.join(20)
    assert heard and heard[0][0] == "prepare"
    assert heard[0][1] - begin < 10, "it came with the end of the poll, not with the notification"
