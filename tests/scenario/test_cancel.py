"""Cancel in each phase before the commit: the guest never notices, the destination is clean."""
import pytest

from crosspool_test import shell
from crosspool_test.marks import full

RATE = 10 << 20  # a full disk of 32 MiB takes 3 s, and progress is told each second


def assert_as_before(cluster, guest, host, stall_ms=2500):
    assert cluster.homes(guest) == [host]
    status = guest.status()
    assert status.longest_gap_ms < stall_ms, status
    assert guest.verify().ok
    other = {"a1": "b1", "b1": "a1"}[host]
    cluster.wait_no_leftovers()
    cluster.assert_clean(other)
    cluster.wait_no_children(host)
    guest.assert_writes()


# phase -> (failpoint at a1 that holds it there, or None)
HELD = {"memory": "handoff.source-streaming", "drained": "handoff.drained",
        "before release": "handoff.before-released"}


@pytest.mark.parametrize("phase", ["preparing", "copying", full("memory"), full("drained"),
                                   "before release"])
def test_cancel_leaves_the_guest_alone(cluster, name, phase):
    guest = cluster.boot("a1", name, [("raw", 32), ("qcow2", 32)], is_full=phase == "copying")
    guest.reset_gap()
    source, destination = cluster.agents["a1"], cluster.agents["b1"]
    hold = None
    if phase == "preparing":
        hold = (destination, "step.finished")
    elif phase in HELD:
        hold = (source, HELD[phase])
    if hold:
        hold[0].set_failpoint(hold[1], "wait")
    migration = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=0 if hold else RATE)
    if hold:
        hold[0].wait_failpoint(hold[1], 120)
    else:
        cluster.wait_phase(migration, "copying")
    cluster.cancel(migration, source if phase in HELD else None)
    if hold:
        hold[0].clear_failpoint(hold[1])
    ended = cluster.wait_end(migration)
    assert ended["state"] == "cancelled", ended
    assert_as_before(cluster, guest, "a1", 5000 if phase in HELD else 2500)


def test_cancel_after_the_commit_is_refused_and_the_move_succeeds(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32)])
    destination = cluster.agents["b1"]
    destination.set_failpoint("handoff.unpaused", "wait")
    migration = cluster.migrate(name, "a1", "b1")
    destination.wait_failpoint("handoff.unpaused", 120)
    cluster.api.post(f"/v1/migrations/{migration}/cancel", {}, expect=(202, 409))
    destination.clear_failpoint("handoff.unpaused")
    assert cluster.wait_end(migration)["state"] == "succeeded"
    cluster.follow(guest, "b1")
    assert guest.verify().ok
    shell.wait_for("the source gone", lambda: cluster.homes(guest) == ["b1"])
    cluster.wait_no_leftovers()


def test_after_a_cancel_the_same_guest_moves(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 48)], is_full=True)
    migration = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=RATE)
    cluster.wait_phase(migration, "copying")
    cluster.api.post(f"/v1/migrations/{migration}/cancel", {})
    assert cluster.wait_end(migration)["state"] == "cancelled"
    migration = cluster.migrate(name, "a1", "b1")
    assert cluster.wait_end(migration)["state"] == "succeeded"
    cluster.follow(guest, "b1")
    assert guest.verify().ok
