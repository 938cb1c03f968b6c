"""One process dies, or the network is cut, or a disk fills, in each phase of a move: the job goes on
or ends cleanly, the guest keeps every byte, exactly one domain runs, nothing is left over."""
import time

import pytest

from crosspool_test import shell
from crosspool_test.cut import SilentCut, reset_connections
from crosspool_test.marks import full

RATE = 10 << 20  # a full disk of 32 MiB takes 3 s, and progress is told each second


def start_slow_move(cluster, name, phase):
    """A guest at a1 and its move to b1, held or slowed in the phase. Returns (guest, id, release)."""
    guest = cluster.boot("a1", name, [("raw", 32), ("qcow2", 32)], is_full=phase == "copying")
    guest.reset_gap()
    hold = {"preparing": ("b1", "step.finished"), "copying": None,
            "memory": ("a1", "handoff.source-streaming"),
            "paused": ("a1", "handoff.drained"),
            "prepared": ("b1", "handoff.destination-prepared"),
            "released": ("a1", "handoff.released"),
            "owned": ("b1", "handoff.owned")}[phase]
    if hold:
        cluster.agents[hold[0]].set_failpoint(hold[1], "wait")
    migration = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=0 if hold else RATE)
    if hold:
        cluster.agents[hold[0]].wait_failpoint(hold[1], 120)
    else:
        cluster.wait_phase(migration, "copying")
        time.sleep(1)

    def release():
        if hold:
            cluster.agents[hold[0]].clear_failpoint(hold[1])
    return guest, migration, release


def assert_whole(cluster, guest, migration):
    """The job has ended, one domain runs, its data is whole, both ends are clean."""
    ended = cluster.wait_end(migration)
    home = shell.wait_for("one home", lambda: (
        lambda homes: homes if len(homes) == 1 else None)(cluster.homes(guest)), 60)[0]
    assert home == ("b1" if ended["state"] == "succeeded" else "a1"), ended
    cluster.follow(guest, home)
    assert guest.verify().ok
    guest.assert_writes()
    cluster.wait_no_leftovers()
    away = {"a1": "b1", "b1": "a1"}[home]
    cluster.assert_clean(away)
    return ended


PHASES = ["preparing", "copying", "memory", "paused", "prepared", "released", "owned"]
VICTIMS = ["a1", "b1", "coordinator", "postgres"]


def kills():
    """Each victim in each phase. The short form kills one in each phase, in turn."""
    return [full(victim, phase) if (v - p) % len(VICTIMS) else (victim, phase)
            for v, victim in enumerate(VICTIMS) for p, phase in enumerate(PHASES)]


@pytest.mark.parametrize("victim,phase", kills())
def test_a_killed_process(cluster, name, victim, phase):
    guest, migration, release = start_slow_move(cluster, name, phase)
    process = {"coordinator": cluster.coordinator,
               "postgres": cluster.postgres}.get(victim) or cluster.agents[victim]
    process.kill()
    release()
    time.sleep(1)
    process.start()
    cluster.wait_ready()
    assert_whole(cluster, guest, migration)


@pytest.mark.parametrize("victim", [full("nbdkit"), "qemu-storage-daemon"])
def test_a_killed_receiver(cluster, name, victim):
    guest, migration, _ = start_slow_move(cluster, name, "copying")
    cluster.wait_phase(migration, "copying")
    if victim == "qemu-storage-daemon":
        shell.wait_for("the second disk's receiver", lambda: any(
            victim in child for child in cluster.agents["b1"].children()), 60)
    for child in cluster.agents["b1"].children():
        if victim in child:
            shell.run("kill", "-9", child.split()[0], check=False)
    ended = assert_whole(cluster, guest, migration)
    assert ended["state"] == "succeeded", ended


def test_a_killed_reader(cluster, name):
    guest = cluster.boot("a1", name, [("qcow2", 32)], is_full=True)
    migration = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=RATE)
    cluster.wait_phase(migration, "copying")
    readers = shell.wait_for("the reader", lambda: [
        child for child in cluster.agents["a1"].children() if "qemu-nbd" in child], 30)
    shell.run("kill", "-9", readers[0].split()[0])
    ended = assert_whole(cluster, guest, migration)
    assert ended["state"] == "succeeded", ended


@pytest.mark.parametrize("kind", ["silent", full("reset")])
def test_a_cut_link_while_copying_resumes(cluster, name, kind):
    guest, migration, _ = start_slow_move(cluster, name, "copying")
    if kind == "silent":
        with SilentCut(cluster.agents["b1"]):
            shell.wait_for("the stall noticed", lambda: cluster.migration(migration)["phase"] ==
                           "stalled", 20)
            time.sleep(2)
    else:
        reset_connections(cluster.agents["b1"])
    ended = assert_whole(cluster, guest, migration)
    assert ended["state"] == "succeeded", ended
    assert guest.gap_before_move_ms < 2000 + 500


def test_a_silent_cut_in_the_memory_phase_ends_at_one_place(cluster, name):
    guest, migration, release = start_slow_move(cluster, name, "memory")
    with SilentCut(cluster.agents["b1"]):
        release()
        time.sleep(6)
    assert_whole(cluster, guest, migration)


def test_a_destination_that_stays_away_ends_the_job(cluster, name):
    guest, migration, _ = start_slow_move(cluster, name, "copying")
    cluster.agents["b1"].kill()
    ended = cluster.wait_end(migration, timeout=120)
    assert ended["state"] == "failed", ended
    assert cluster.homes(guest) == ["a1"]
    assert guest.verify().ok
    cluster.agents["b1"].start()
    cluster.wait_no_leftovers()
    cluster.assert_clean("b1")


def test_a_destination_that_fills_up_ends_the_job(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 64)], is_full=True)
    guest.reset_gap()
    with cluster.small_sr("b1", 96 << 20) as (sr, directory):
        mapping = dict(cluster.mapping("a1", "b1"), srs={cluster.agents["a1"].sr_name: sr})
        migration = cluster.migrate(name, "a1", "b1", mapping=mapping, bandwidth_bytes_per_s=RATE)
        cluster.wait_phase(migration, "copying")
        filler = directory / "filler"
        shell.run("dd", "if=/dev/zero", f"of={filler}", "bs=1M", check=False)
        ended = cluster.wait_end(migration)
        assert ended["state"] == "failed", ended
        assert ended["error"]["code"] == "no-space", ended["error"]
        cluster.wait_no_leftovers()
        assert [p.name for p in directory.iterdir()
                if p.suffix in (".raw", ".qcow2", ".vhd")] == []
    assert cluster.homes(guest) == ["a1"]
    assert guest.status().longest_gap_ms < 2500
    assert guest.verify().ok
