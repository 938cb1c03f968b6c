"""Pause, speed and the moment of the switch-over on real guests: what an operator asks for reaches a copy
that runs, over restarts of agent and coordinator, and the guest's writes stay mirrored all the while."""
import time

from crosspool_test import shell

MIB = 1 << 20
SLOW = 4 * MIB


def copied(cluster, migration):
    return sum(disk["copied_bytes"] for disk in cluster.migration(migration)["disks"])


def control(cluster, migration, verb):
    return cluster.api.post(f"/v1/migrations/{migration}/{verb}", expect=202)


def change(cluster, migration, **members):
    answer = cluster.api.request("PATCH", f"/v1/migrations/{migration}", members)
    assert answer.status == 200, answer.text


def wait_copying(cluster, migration, least=MIB):
    cluster.wait_phase(migration, "copying")
    shell.wait_for("some bytes copied", lambda: copied(cluster, migration) >= least, 30, 0.2)


def assert_rests(cluster, migration, seconds=3):
    """What was under way when the pause came is finished; then nothing more is copied."""
    time.sleep(2.5)
    before = copied(cluster, migration)
    time.sleep(seconds)
    assert copied(cluster, migration) == before


def assert_moved(cluster, guest, migration):
    ended = cluster.wait_end(migration)
    assert ended["state"] == "succeeded", ended
    cluster.follow(guest, "b1")
    assert guest.verify().ok
    shell.wait_for("the source gone", lambda: cluster.homes(guest) == ["b1"])
    cluster.wait_no_leftovers()


def test_a_copy_is_paused_over_restarts_resumed_and_made_faster(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 96)], is_full=True)
    guest.reset_gap()
    migration = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=SLOW)
    wait_copying(cluster, migration)
    control(cluster, migration, "pause")
    assert_rests(cluster, migration)
    shown = cluster.migration(migration)
    assert shown["state"] == "transferring" and "resume" in shown["waits_for"]
    mirrored = shown["disks"][0]["mirrored_bytes"]
    assert shown["disks"][0]["is_mirrored"]
    shell.wait_for("mirrored writes while paused", lambda: cluster.migration(migration)["disks"][0][
        "mirrored_bytes"] > mirrored, 30, 0.3)
    assert guest.status().longest_gap_ms < 2500
    cluster.coordinator.kill()
    cluster.agents["a1"].kill()
    cluster.coordinator.start()
    cluster.agents["a1"].start()
    cluster.wait_for_hosts()
    cluster.wait_phase(migration, "copying")
    shell.wait_for("the mirror again", lambda: cluster.migration(migration)["disks"][0][
        "is_mirrored"], 60, 0.3)
    assert_rests(cluster, migration)
    control(cluster, migration, "resume")
    start = copied(cluster, migration)
    shell.wait_for("the copy going on", lambda: copied(cluster, migration) > start, 20, 0.2)
    begin = time.monotonic()
    change(cluster, migration, bandwidth_bytes_per_s=0)
    assert_moved(cluster, guest, migration)
    assert time.monotonic() - begin < 96 * MIB / SLOW, "no faster than before the change"


def test_a_rate_is_lowered_while_it_runs(cluster, name):
    cluster.boot("a1", name, [("raw", 160)], is_full=True)
    migration = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=16 * MIB)
    wait_copying(cluster, migration, 8 * MIB)
    change(cluster, migration, bandwidth_bytes_per_s=MIB)
    time.sleep(2)
    before, begin = copied(cluster, migration), time.monotonic()
    time.sleep(5)
    rate = (copied(cluster, migration) - before) / (time.monotonic() - begin)
    assert rate < 2 * MIB, f"{rate / MIB:.1f} MiB/s"
    cluster.cancel(migration)
    assert cluster.wait_end(migration)["state"] == "cancelled"
    cluster.wait_no_leftovers()


def test_a_manual_switch_over_waits_mirrored_over_a_restart_and_a_cut(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32), ("qcow2", 32)], is_full=True)
    migration = cluster.migrate(name, "a1", "b1", switchover="manual")
    shown = cluster.wait_state(migration, "ready")
    assert shown["phase"] == "mirrored" and "switchover" in shown["waits_for"]
    assert cluster.homes(guest) == ["a1"]
    epochs = [disk["mirror_epoch"] for disk in shown["disks"]]
    cluster.agents["b1"].kill()
    cluster.wait_state(migration, "transferring")
    cluster.agents["b1"].start()
    cluster.wait_for_hosts()
    shown = cluster.wait_state(migration, "ready")
    assert all(disk["is_mirrored"] and disk["is_copied"] for disk in shown["disks"])
    assert all(disk["mirror_epoch"] > before for disk, before in zip(shown["disks"], epochs))
    cluster.agents["a1"].restart()
    cluster.wait_for_hosts()
    time.sleep(3)
    cluster.wait_state(migration, "ready")
    control(cluster, migration, "switchover")
    assert_moved(cluster, guest, migration)


def test_a_ready_one_is_cancelled_and_leaves_nothing(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32)])
    migration = cluster.migrate(name, "a1", "b1", switchover="manual")
    cluster.wait_state(migration, "ready")
    cluster.cancel(migration)
    assert cluster.wait_end(migration)["state"] == "cancelled"
    assert cluster.homes(guest) == ["a1"]
    cluster.wait_no_leftovers()
    cluster.assert_clean("b1")
    guest.assert_writes()


def test_a_transfer_that_lost_its_peer_is_retried_with_new_disks(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 48)], is_full=True)
    source = cluster.agents["a1"]
    migration = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=SLOW, retries=2)
    wait_copying(cluster, migration)
    before = cluster.migration(migration)["disks"][0]["destination_vdi"]
    cluster.agents["b1"].kill()
    cluster.wait_state(migration, "aborting", timeout=120)
    cluster.agents["b1"].start()
    cluster.wait_for_hosts()
    cluster.wait_state(migration, "transferring", timeout=120)
    shown = cluster.migration(migration)
    assert shown["retries_used"] == 1
    assert shown["disks"][0]["destination_vdi"] != before
    change(cluster, migration, bandwidth_bytes_per_s=0)
    assert source.is_running()
    assert_moved(cluster, guest, migration)
