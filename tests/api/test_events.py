"""Events: none is lost or doubled, whatever the order of commits; resumed anywhere; slow readers go."""
import pathlib
import re
import subprocess
import threading
import time

import pytest

from crosspool_test import shell
from crosspool_test.contract import Contract
from crosspool_test.events import Stream
from crosspool_test.fake_host import FakeHost

from test_http import problem

JSON = {"Accept": "application/json"}


@pytest.fixture
def streams():
    opened = []
    yield opened.append
    for stream in opened:
        stream.close()


@pytest.fixture
def listen(coordinator, admin, streams):
    def open_stream(query="", last=None, **more):
        stream = Stream(coordinator, admin.token, query, last, **more)
        streams(stream)
        return stream
    return open_stream


def wait_kinds(stream, *kinds, timeout=30):
    shell.wait_for(f"events {kinds}", lambda: [kind for kind in stream.kinds()
                                               if kind in kinds] == list(kinds), timeout)


def newest(coordinator):
    return int(coordinator.query("SELECT last FROM event_counter")[0][0])


def wait_numbered(coordinator):
    shell.wait_for("all events to be numbered", lambda: coordinator.query(
        "SELECT count(*) FROM event WHERE sequence IS NULL") == [["0"]], 30)


def add_pools(coordinator, count, prefix="p"):
    coordinator.query(f"INSERT INTO pool (name) SELECT '{prefix}' || n"
                      f" FROM generate_series(1, {count}) AS n")
    wait_numbered(coordinator)


def test_a_stream_tells_what_happens(admin, listen):
    stream = listen()
    assert stream.answer.headers.get_content_type() == "text/event-stream"
    made = admin.post("/v1/pools", {"name": "A"})
    wait_kinds(stream, "pool.created")
    event = stream.events[0]
    assert (event["resource"], event["id"], event["pools"]) == ("pools", made["id"], [made["id"]])
    assert event["body"] == {"name": "A"}


def test_a_migration_from_its_creation_to_its_end(coordinator, admin, tmp_path, listen):
    for pool in ("A", "B"):
        admin.post("/v1/pools", {"name": pool})
    a1 = FakeHost(coordinator, admin, tmp_path / "a1", "A", "a1")
    b1 = FakeHost(coordinator, admin, tmp_path / "b1", "B", "b1")
    domain = a1.add_vm("g1")
    a1.report()
    b1.report()
    stream = listen("?resource=migrations")
    vms = listen("?resource=vms")
    other = listen("?resource=migrations&pool=" + admin.post("/v1/pools", {"name": "C"})["id"])
    migration = admin.post("/v1/migrations", {
        "vm": "g1", "destination": {"pool": "B", "host": "b1"},
        "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}}})["id"]
    b1.finish("prepare")
    a1.take("transfer")
    disk = {"index": 0, "total_bytes": 4 << 30, "copied_bytes": 1 << 30, "zero_bytes": 0,
            "mirrored_bytes": 0, "resent_bytes": 0, "rate_bytes_per_s": 1, "eta_s": 3,
            "mirror_epoch": 1, "is_mirrored": True, "is_copied": False}
    begin = time.monotonic()
    for copied in (1 << 30, (1 << 30) + 1, 2 << 30, 3 << 30):  # within a second or two
        a1.send(progress=[{"migration": migration, "phase": "copying",
                           "disks": [{**disk, "copied_bytes": copied}]}])
    took_s = time.monotonic() - begin
    a1.finish("transfer")
    b1.take("receive")
    handoff = a1.take("handoff")
    a1.lose_domain(domain["uuid"])
    b1.gain_domain(domain, handoff["spec"])
    b1.done(b1.take("receive"), verdict="owned")
    a1.done(handoff, verdict="owned", pause_us=1000)
    a1.finish("clean-source")
    b1.finish("clean-destination")
    shell.wait_for("its end", lambda: stream.events and
                   stream.events[-1]["body"]["state"] == "succeeded", 30)
    assert stream.kinds()[0] == "migration.created"
    states = [event["body"]["state"] for event in stream.events
              if event["kind"] == "migration.state" and
              event["body"]["state"] != event["body"]["before"]]
    assert states == ["preparing", "transferring", "handing_off", "cleaning", "succeeded"]
    progress = [event["body"] for event in stream.events if event["kind"] == "migration.progress"]
    assert (progress[0]["phase"], progress[0]["percent"]) == ("copying", 25)
    assert len(progress) <= 1 + took_s
    assert {event["id"] for event in stream.events} == {migration}
    assert all(len(event["pools"]) == 2 for event in stream.events)
    wait_kinds(vms, "vm.appeared", "vm.gone")
    assert not other.events


def test_hosts_come_and_go(coordinator, admin, tmp_path, listen):
    admin.post("/v1/pools", {"name": "A"})
    stream = listen("?resource=hosts")
    host = FakeHost(coordinator, admin, tmp_path / "a1", "A", "a1")
    host.report()
    wait_kinds(stream, "host.created", "host.state", "host.up")
    shell.wait_for("its loss", lambda: "host.lost" in stream.kinds(), 30)
    host.report()
    shell.wait_for("its return", lambda: stream.kinds().count("host.up") == 2, 30)


def test_a_number_is_given_in_the_order_of_commits(coordinator, listen):
    """The first to be written commits last; a reader that saw the later one gets it nevertheless."""
    stream = listen()
    psql = coordinator.postgres.binaries / "psql"
    late = subprocess.Popen(
        [psql, "-X", "-q", "-d", coordinator.configuration["database"], "-c", "BEGIN", "-c",
         "INSERT INTO pool (name) VALUES ('late')", "-c", "SELECT pg_sleep(2)", "-c", "COMMIT"],
        stdout=subprocess.DEVNULL)
    time.sleep(0.7)
    coordinator.query("INSERT INTO pool (name) VALUES ('early')")
    wait_kinds(stream, "pool.created")
    assert stream.events[0]["body"]["name"] == "early"
    position = stream.position
    stream.close()
    assert late.wait(10) == 0
    ids = coordinator.query("SELECT body ->> 'name' FROM event ORDER BY id")
    assert ids == [["late"], ["early"]], "the test did not delay the first one"
    resumed = listen(last=position)
    wait_kinds(resumed, "pool.created")
    assert [event["body"]["name"] for event in resumed.events] == ["late"]


@pytest.mark.long
def test_none_is_lost_or_doubled_over_two_coordinators_and_their_ends(pair, streams):
    """Writers commit after random delays, readers break off and go on at either coordinator, and the
    coordinators are killed and started again meanwhile."""
    token = pair[0].make_token("admin", "admin")
    writers, per_writer = 4, 40
    psql = pair[0].postgres.binaries / "psql"

    def write(number):
        for i in range(per_writer):
            subprocess.run(
                [psql, "-X", "-q", "-d", pair[0].configuration["database"], "-c", "BEGIN", "-c",
                 f"INSERT INTO pool (name) VALUES ('w{number}-{i}')", "-c",
                 "SELECT pg_sleep(random() * 0.15)", "-c", "COMMIT"],
                stdout=subprocess.DEVNULL, check=True)
    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    seen, position, rounds = [], 0, 0
    end = time.monotonic() + 90
    while len(seen) < writers * per_writer and time.monotonic() < end:
        coordinator = pair[rounds % 2]
        stream = Stream(coordinator, token, last=position)
        streams(stream)
        assert stream.status == 200
        time.sleep(0.5)
        if rounds in (2, 5):
            coordinator.kill()
            stream.thread.join(10)
            coordinator.start()
        else:
            stream.close()
            stream.thread.join(10)
        seen += stream.events
        position = stream.position
        rounds += 1
    for thread in threads:
        thread.join()
    assert sorted(event["body"]["name"] for event in seen) == \
        sorted(f"w{n}-{i}" for n in range(writers) for i in range(per_writer))
    assert [event["sequence"] for event in seen] == list(range(1, len(seen) + 1))
    assert rounds > 5


def test_a_killed_sequencer_numbers_nothing_twice(coordinator, admin, listen):
    admin.post("/v1/pools", {"name": "A"})
    wait_numbered(coordinator)
    coordinator.set_failpoint("event.numbered", "kill")
    coordinator.query("INSERT INTO pool (name) VALUES ('B')")
    coordinator.process.wait(10)
    assert newest(coordinator) == 1
    coordinator.clear_failpoint("event.numbered")
    coordinator.start()
    stream = listen(last=0)
    wait_kinds(stream, "pool.created", "pool.created")
    assert stream.sequences() == [1, 2]


def test_a_long_history_is_read_whole(coordinator, listen):
    """More than the ring in memory holds, and a filter that leaves little of it."""
    add_pools(coordinator, 12000)
    coordinator.query("INSERT INTO mapping_set (name, mapping) VALUES ('last', '{}')")
    stream = listen("?after=0")
    few = listen("?after=0&resource=mapping-sets")
    shell.wait_for("all of it", lambda: len(stream.events) == 12001, 30)
    assert stream.sequences() == list(range(1, 12002))
    shell.wait_for("the one", lambda: few.events, 30)
    assert [event["body"]["name"] for event in few.events] == ["last"]


def test_pages_for_those_who_poll(coordinator, admin):
    add_pools(coordinator, 7)
    after, seen = 0, []
    while True:
        page = admin.request("GET", f"/v1/events?after={after}&limit=3", headers=JSON).json()
        after = page["next"]
        if not page["items"]:
            break
        seen += [event["sequence"] for event in page["items"]]
    assert seen == [1, 2, 3, 4, 5, 6, 7] and after == 7
    whole = admin.request("GET", "/v1/events", headers=JSON).json()
    assert len(whole["items"]) == 7
    none = admin.request("GET", "/v1/events?resource=vms", headers=JSON).json()
    assert none == {"items": [], "next": 7}


@pytest.mark.long
def test_what_is_not_retained_is_410_and_names_the_oldest(coordinator, admin, listen):
    add_pools(coordinator, 5)
    coordinator.query("UPDATE event SET at = at - interval '200 hours' WHERE sequence <= 3")
    shell.wait_for("the old ones to go", lambda: coordinator.query(
        "SELECT min(sequence) FROM event") == [["4"]], 30)
    for headers in (JSON, {}):
        gone = problem(admin.request("GET", "/v1/events?after=2", headers=headers), 410, "gone")
        assert gone["oldest"] == 4
        assert not Contract().wrong({"$ref": "#/components/schemas/GoneProblem"}, gone)
    resumed = listen(last=3)
    shell.wait_for("the rest", lambda: resumed.sequences() == [4, 5], 30)
    coordinator.query("UPDATE event SET at = at - interval '200 hours'")
    shell.wait_for("all to go", lambda: coordinator.query(
        "SELECT count(*) FROM event") == [["0"]], 30)
    assert problem(admin.request("GET", "/v1/events?after=4", headers=JSON), 410,
                   "gone")["oldest"] == 6
    assert listen(last=5).status == 200


@pytest.mark.parametrize("query, what", [
    ("after=x", "after"), ("after=-1", "after"), ("after=1", "no event 1 yet"),
    ("resource=vm", "resource"), ("id=1", "id"), ("limit=1", "limit"), ("x=1", "x"),
    ("after=99999999999999999999", "after"),
])
def test_a_wrong_parameter_is_named(module_admin, query, what):
    answer = module_admin.request("GET", f"/v1/events?{query}")
    assert what in problem(answer, 400, "invalid")["detail"]


def test_a_pool_that_does_not_exist_is_404_and_a_stream_needs_a_token(admin, coordinator):
    problem(admin.request("GET", "/v1/events?pool=nope"), 404, "not-found")
    problem(coordinator.api(None).request("GET", "/v1/events"), 401, "unauthenticated")


def test_a_stop_ends_streams_whole(coordinator, listen):
    streams = [listen() for _ in range(5)]
    begin = time.monotonic()
    coordinator.stop()
    assert time.monotonic() - begin < 10
    for stream in streams:
        stream.thread.join(5)
        assert stream.end == "whole"


@pytest.mark.long
def test_more_streams_than_allowed_are_told_to_come_later(installed):
    installed.configuration["event_streams"] = 2
    installed.write_configuration()
    installed.start()
    token = installed.make_token("viewer", "viewer")
    first = [Stream(installed, token) for _ in range(2)]
    answer = installed.api(token).request("GET", "/v1/events")
    assert int(answer.headers["Retry-After"]) > 0
    problem(answer, 503, "unreachable")
    first[0].close()
    installed.query("INSERT INTO pool (name) VALUES ('A')")  # what is sent tells that it left

    def fits():
        stream = Stream(installed, token)
        stream.close()
        return stream.status == 200
    shell.wait_for("room for another", fits, 30)
    first[1].close()


@pytest.mark.long
def test_500_idle_streams_hold_no_thread_and_no_connection(coordinator, admin, listen):
    def threads():
        status = pathlib.Path(f"/proc/{coordinator.process.pid}/status").read_text()
        return int(re.search(r"Threads:\s+(\d+)", status)[1])
    admin.get("/v1/pools")
    before = threads()
    opened = [listen(is_read=False) for _ in range(500)]
    assert {stream.status for stream in opened} == {200}
    assert threads() == before
    time.sleep(1)
    busy = coordinator.query("SELECT count(*) FROM pg_stat_activity WHERE datname ="
                             " current_database() AND pid <> pg_backend_pid()")
    assert int(busy[0][0]) <= 16, "the pool and the listener"
    assert "crosspool_event_streams 500\n" in admin.get("/metrics")
    admin.post("/v1/pools", {"name": "A"})
    for stream in opened:
        stream.thread.start()
    for stream in opened:
        wait_kinds(stream, "pool.created")


@pytest.mark.long
def test_a_slow_reader_is_dropped_and_goes_on(coordinator, admin, listen):
    """It takes nothing: its socket fills, then its stream, and it is cut off; others are served."""
    slow = listen(is_read=False)
    fast = listen()
    for number in range(15):
        add_pools(coordinator, 2000, f"p{number}-")
    shell.wait_for("the fast one", lambda: len(fast.events) == 30000, 60)
    shell.wait_for("the slow one to be dropped", lambda: "crosspool_event_streams 1\n" in
                   admin.get("/metrics"), 75, 0.5)
    slow.read()
    assert 0 < len(slow.events) < 30000
    assert slow.sequences() == list(range(1, len(slow.events) + 1))
    resumed = listen(last=slow.position)
    shell.wait_for("the rest", lambda: len(resumed.events) == 30000 - len(slow.events), 60)
    assert resumed.sequences()[0] == slow.sequences()[-1] + 1


def test_the_kinds_are_those_of_the_triggers_and_of_the_contract():
    text = (shell.ROOT / "coordinator/domain/event.c").read_text()
    listed = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', text))
    schema = Contract().document["components"]["schemas"]["EventKind"]
    assert set(schema["enum"]) == listed | {"webhook.test"}
    sql = "".join(path.read_text() for path in (shell.ROOT / "db/migrations").glob("*.sql"))
    told = set(re.findall(r"'\{?((?:migration|vm|host|pool|evacuation)\.[a-z_]+)\}?'", sql))
    for noun, word in re.findall(r"EXECUTE FUNCTION (\w+)_event\('(\w+)'\)", sql):
        told.add(f"{noun}.{word}")
    assert told == listed
