"""The primary dies in the middle of migrations and the standby takes its place: what was
acknowledged is there, and each act was done and counted once."""
import threading
import time

import pytest

from crosspool_test import shell
from crosspool_test.marks import full

from player import make_pair

# what is held, and the state in which the migration then waits
STATES = [({"prepare"}, "preparing"), ({"transfer"}, "transferring"),
          ({"handoff", "receive"}, "handing_off"), ({"handoff"}, "cleaning"),
          ({"clean-source"}, "cleaning"), ({"clean-destination"}, "cleaning")]
POINTS = ["transaction.commit", "transaction.committed", "report.applied"]
KINDS = ["prepare", "handoff", "clean-destination"]


def play(centre, vms, endpoints=None):
    a1, b1 = make_pair(centre, endpoints or centre.coordinators, vms)
    a1.start()
    b1.start()
    return a1, b1


def release(*hosts):
    for host in hosts:
        host.holds = set()


@pytest.mark.parametrize("held,state", STATES, ids=lambda value: "+".join(sorted(value))
                         if isinstance(value, set) else value)
def test_a_migration_goes_on_over_a_failover(centre, held, state):
    a1, b1 = play(centre, ["g1"])
    a1.holds = b1.holds = held
    migration = centre.create("g1", a1, b1)
    before = centre.wait_state(migration, state)
    centre.servers.fail_over()
    after = centre.show(migration)
    assert (after["state"], after["epoch"]) == (before["state"], before["epoch"])
    release(a1, b1)
    centre.check_moved({"g1": migration}, a1, b1)
    a1.stop()
    b1.stop()


def test_a_queued_migration_is_started_after_a_failover(centre):
    vms = [f"g{number}" for number in range(6)]
    a1, b1 = play(centre, vms)
    a1.holds = b1.holds = {"transfer"}
    migrations = {vm: centre.create(vm, a1, b1) for vm in vms}
    waiting = [vm for vm in vms if centre.show(migrations[vm])["state"] == "queued"]
    assert len(waiting) == 2
    centre.servers.fail_over()
    assert [centre.show(migrations[vm])["state"] for vm in waiting] == ["queued"] * 2
    release(a1, b1)
    centre.check_moved(migrations, a1, b1)
    a1.stop()
    b1.stop()


def test_an_abort_goes_on_over_a_failover(centre):
    a1, b1 = play(centre, ["g1"])
    a1.holds = {"transfer", "abort-source"}
    migration = centre.create("g1", a1, b1)
    centre.wait_state(migration, "transferring")
    centre.api.post(f"/v1/migrations/{migration}/cancel", {})
    assert centre.show(migration)["state"] == "aborting"
    a1.holds = {"abort-source"}
    centre.servers.fail_over()
    release(a1, b1)
    centre.wait_state(migration, "cancelled")
    steps = [step["kind"] for step in centre.show(migration)["steps"]]
    assert steps.count("abort-source") == steps.count("abort-destination") == 1
    assert centre.query("SELECT p.name FROM vm v JOIN pool p ON p.id = v.pool_id") == [["A"]]
    a1.stop()
    b1.stop()


def results():
    """Each point of each result; in the short form half of both."""
    return [full(point, kind) if (p + k) % 2 else (point, kind)
            for p, point in enumerate(POINTS) for k, kind in enumerate(KINDS)]


@pytest.mark.parametrize("point,kind", results())
def test_a_failover_in_the_middle_of_a_result(centre, point, kind):
    """The transaction that takes the result is open, or committed and not yet acknowledged."""
    a1, b1 = play(centre, ["g1"])
    a1.holds = b1.holds = {kind}
    migration = centre.create("g1", a1, b1)
    host = b1 if kind != "handoff" else a1
    shell.wait_for(f"the {kind}", lambda: any(
        step["kind"] == kind for step in list(host.known.values())), 20)
    for coordinator in centre.coordinators:
        coordinator.set_failpoint(point, "wait")
    release(a1, b1)
    shell.wait_for(f"failpoint {point}", lambda: any(
        (c.failpoints / f"{point}.hit").exists() for c in centre.coordinators), 20)
    centre.servers.fail_over()
    for coordinator in centre.coordinators:
        coordinator.clear_failpoint(point)
    centre.check_moved({"g1": migration}, a1, b1)
    a1.stop()
    b1.stop()


def test_what_was_acknowledged_survives_each_failover(centre):
    """Pools are made without a pause while the servers change places; each that was acknowledged is
    there in the end, each once."""
    made, is_over = [], threading.Event()

    def make():
        number = 0
        while not is_over.is_set():
            number += 1
            answer = centre.api.request("POST", "/v1/pools", {"name": f"p{number}"})
            assert answer.status in (201, 409)  # 409: a call whose answer was lost had made it
            made.append(f"p{number}")
    makers = threading.Thread(target=make, daemon=True)
    makers.start()
    for _ in range(2):
        time.sleep(1)
        centre.servers.fail_over()
        before = len(made)
        shell.wait_for("new pools", lambda n=before: len(made) > n + 5, 30)
        centre.servers.rejoin()
    is_over.set()
    makers.join(60)
    there = [row[0] for row in centre.query("SELECT name FROM pool")]
    assert sorted(there) == sorted(made) and len(made) > 20
