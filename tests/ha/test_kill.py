"""Coordinators are killed, at failpoints and at random, one or both, behind a balancer and listed by
the agents: nothing is lost and nothing is done twice."""
import random
import threading
import time

import pytest

from crosspool_test import shell
from crosspool_test.marks import full

from player import make_pair

POINTS = ["report.received", "transaction.commit", "transaction.committed", "report.applied"]
KINDS = ["prepare", "transfer", "handoff", "clean-source"]
WAYS = ["listed", "balanced"]


def ways(centre):
    return {"listed": centre.coordinators, "balanced": [centre.front]}


def play(centre, way, vms):
    a1, b1 = make_pair(centre, ways(centre)[way], vms)
    a1.start()
    b1.start()
    return a1, b1


def results():
    """Each point of each result; in the short form half of both."""
    return [full(point, kind) if (p + k) % 2 else (point, kind)
            for p, point in enumerate(POINTS) for k, kind in enumerate(KINDS)]


@pytest.mark.parametrize("point,kind", results())
def test_killed_at_a_point_of_a_result(centre, point, kind):
    """Whichever coordinator takes the result dies there; the other goes on alone."""
    way = WAYS[KINDS.index(kind) // 2]
    a1, b1 = play(centre, way, ["g1"])
    a1.holds = b1.holds = {kind}
    migration = centre.create("g1", a1, b1)
    host = b1 if kind == "prepare" else a1
    shell.wait_for(f"the {kind}", lambda: any(
        step["kind"] == kind for step in list(host.known.values())), 20)
    # one of the two: the first that gets there; the other one is let through
    for coordinator in centre.coordinators:
        coordinator.set_failpoint(point, "wait")
    a1.holds = b1.holds = set()
    taker = shell.wait_for(f"failpoint {point}", lambda: next(
        (c for c in centre.coordinators if (c.failpoints / f"{point}.hit").exists()), None), 20)
    taker.kill()
    for coordinator in centre.coordinators:
        coordinator.clear_failpoint(point)
    centre.check_moved({"g1": migration}, a1, b1)
    assert sum(c.is_running() for c in centre.coordinators) == 1
    a1.stop()
    b1.stop()


@pytest.mark.parametrize("held", ["prepare", "transfer", "handoff", "clean-destination"])
def test_both_killed_at_once(centre, held):
    a1, b1 = play(centre, "listed", ["g1"])
    a1.holds = b1.holds = {held}
    migration = centre.create("g1", a1, b1)
    host = b1 if held in ("prepare", "clean-destination") else a1
    shell.wait_for(f"the {held}", lambda: any(
        step["kind"] == held for step in list(host.known.values())), 20)
    for coordinator in centre.coordinators:
        coordinator.kill()
    a1.holds = b1.holds = set()
    time.sleep(0.3)
    for coordinator in centre.coordinators:
        coordinator.start()
    centre.check_moved({"g1": migration}, a1, b1)
    a1.stop()
    b1.stop()


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_random_with_a_failover_in_between(centre, way):
    """Two dozen moves while coordinators die and come back all the time."""
    vms = [f"g{number}" for number in range(24)]
    a1, b1 = play(centre, way, vms)
    is_over = threading.Event()
    chance = random.Random(20260101)

    def kill():
        for turn in range(1000):
            if is_over.wait(chance.uniform(0.2, 0.8)):
                return
            coordinator = centre.coordinators[turn % 2]
            coordinator.kill()
            if turn == 3:
                centre.servers.fail_over()
            coordinator.start()
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        migrations = {vm: centre.create(vm, a1, b1) for vm in vms}
        for migration in migrations.values():
            centre.wait_state(migration, "succeeded", timeout=120)
    finally:
        is_over.set()
        killer.join(60)
    assert not killer.is_alive()
    centre.check_moved(migrations, a1, b1)
    a1.stop()
    b1.stop()
