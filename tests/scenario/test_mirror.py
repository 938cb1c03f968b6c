"""Snapshot, mirror and copy of a running guest's disks: both ends for real, no handoff. After each
drain the images of both sides are compared bit by bit, and the guest checks its own disks."""
import time

import pytest

from crosspool_test import shell
from crosspool_test.marks import full
from crosspool_test.mirror import MIB, DriveError, MirrorBench


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem with less room than the disk needs."""
    shell.run("mount", "-t", "tmpfs", "-o", "size=40M", "none", tmp_path)
    yield tmp_path
    shell.run("umount", "-l", tmp_path)


@pytest.mark.parametrize("form, to", [full("raw", "raw"), full("qcow2", "qcow2"), ("vhd", "vhd"),
                                      full("raw", "qcow2"), ("qcow2", "raw"), full("raw", "vhd")])
def test_destination_is_identical_after_drain_under_writes(form, to):
    with MirrorBench([(form, 128, to)], discards=3) as bench:
        bench.start()
        bench.source.do("run")
        bench.source.do("mirrored")
        bench.drain_and_compare()
        bench.resume_and_verify()


@pytest.mark.parametrize("form", [full("raw"), "qcow2"])
def test_disk_on_an_iothread_survives_its_mirror(form):
    with MirrorBench([(form, 96, form)], iothread=True) as bench:
        bench.start()
        bench.source.do("run")
        bench.drain_and_compare()
        bench.resume_and_verify()


def test_several_disks_at_once():
    with MirrorBench([("raw", 64, "raw"), ("qcow2", 64, "raw"), ("raw", 64, "qcow2")],
                     parallel_disks=3, writers=2) as bench:
        bench.start()
        bench.source.do("run")
        bench.drain_and_compare()
        assert bench.drained_ms < 2000
        bench.resume_and_verify()


def test_second_disk_waits_for_the_first_and_a_cut_takes_both_again():
    with MirrorBench([("raw", 64, "raw"), ("raw", 64, "raw")], bandwidth=20 * MIB,
                     writers=2) as bench:
        bench.start()
        bench.source.send("run")
        bench.wait_copied(0.3)
        assert bench.source.progress()["disks"][1]["mirror_epoch"] == 0
        bench.wait_progress("the second disk", lambda now: now["disks"][1]["is_mirrored"])
        bench.proxy.reset()
        bench.source.wait("run")
        assert all(disk["mirror_epoch"] >= 2 for disk in bench.source.progress()["disks"])
        bench.drain_and_compare()
        bench.resume_and_verify()


def test_thin_disk_stays_thin():
    with MirrorBench([("raw", 256, "raw")], filled=False, base=0, stopped=1) as bench:
        bench.start()
        bench.source.do("run")
        disk = bench.source.progress()["disks"][0]
        assert disk["zero_bytes"] == disk["copied_bytes"] == disk["total_bytes"]
        assert bench.destination_path().stat().st_blocks * 512 < 4 * MIB


@pytest.mark.parametrize("form, to", [full("raw", "raw"), ("qcow2", "raw"), full("vhd", "qcow2")])
def test_killed_receiver_is_resumed_without_sending_all_again(form, to):
    with MirrorBench([(form, 128, to)], bandwidth=15 * MIB, rate=200) as bench:
        bench.start()
        bench.source.send("run")
        for share in (0.4, 0.7):
            bench.wait_copied(share)
            bench.destination.kill()
            bench.wait_progress("the stall", lambda now: now["phase"] == "stalled")
            bench.guest.assert_writes()
            bench.start_destination()
            bench.wait_progress("the next epoch", lambda now: now["phase"] == "copying")
        bench.source.wait("run")
        disk = bench.source.progress()["disks"][0]
        assert disk["mirror_epoch"] >= 3
        assert disk["resent_bytes"] < 96 * MIB, disk
        bench.drain_and_compare()
        bench.resume_and_verify()


@pytest.mark.parametrize("heals_late", [full(False), True])
def test_black_hole_lets_the_guest_go_on_and_is_resumed(heals_late):
    """With heals_late the old connections' bytes arrive after the new epoch has begun."""
    with MirrorBench([("raw", 128, "raw")], bandwidth=40 * MIB, stall_limit_ms=1000) as bench:
        bench.start()
        bench.source.send("run")
        bench.wait_copied(0.4)
        bench.guest.reset_gap()
        bench.proxy.stall()
        bench.wait_progress("the stall", lambda now: now["phase"] == "stalled")
        bench.guest.assert_writes()
        assert bench.guest.status().gap_ms < 3000
        if heals_late:
            bench.proxy.only_new_pass()
            bench.wait_progress("the next epoch", lambda now: now["phase"] == "copying")
        bench.proxy.stall(False)
        bench.source.wait("run")
        progress = bench.source.progress()
        assert 1000 <= progress["longest_stall_ms"] < 3000
        bench.drain_and_compare()
        bench.resume_and_verify()


def test_peer_that_stays_away_ends_the_run_and_the_guest_runs_on():
    with MirrorBench([("raw", 64, "raw")], retry_ms=3000, bandwidth=10 * MIB) as bench:
        bench.start()
        bench.source.send("run")
        bench.wait_copied(0.2)
        bench.destination.kill()
        with pytest.raises(DriveError) as failure:
            bench.source.wait("run")
        assert failure.value.code == "unreachable"
        assert "gave up after 3 s" in failure.value.text
        bench.source.do("abort")
        assert bench.leftovers() == []
        bench.verify()


def test_lost_mirror_is_told_and_drain_refuses():
    with MirrorBench([("raw", 64, "raw")]) as bench:
        bench.start()
        bench.source.do("run")
        bench.destination.kill()
        bench.guest.assert_writes()
        with pytest.raises(DriveError) as failure:
            bench.source.do("mirrored")
        assert failure.value.code == "mirror-lost"
        with pytest.raises(DriveError) as failure:
            bench.source.do("drain 5000")
        assert failure.value.code == "mirror-lost"
        bench.start_destination()
        bench.source.do("run")
        bench.drain_and_compare()
        bench.resume_and_verify()


def test_handoff_that_did_not_commit_is_transferred_again():
    with MirrorBench([("qcow2", 96, "qcow2")]) as bench:
        bench.start()
        bench.source.do("run")
        bench.drain_and_compare()
        bench.resume_and_verify()
        bench.destination.do("reopen")
        bench.source.do("run")
        assert bench.source.progress()["disks"][0]["resent_bytes"] < 96 * MIB
        bench.drain_and_compare()
        bench.resume_and_verify()


def test_cancel_is_prompt_and_abort_leaves_nothing():
    with MirrorBench([("raw", 64, "raw"), ("qcow2", 64, "raw")], parallel_disks=2,
                     bandwidth=8 * MIB, writers=2) as bench:
        bench.start()
        bench.source.send("run")
        bench.wait_copied(0.1)
        begin = time.monotonic()
        bench.source.do("cancel")
        with pytest.raises(DriveError) as failure:
            bench.source.wait("run")
        assert failure.value.code == "cancelled"
        assert time.monotonic() - begin < 2
        bench.source.do("abort")
        bench.source.do("abort")
        assert bench.leftovers() == []
        bench.verify()


def test_abort_while_the_peer_is_a_black_hole_does_not_hold_the_guest():
    with MirrorBench([("raw", 64, "raw")], stall_limit_ms=60000) as bench:
        bench.start()
        bench.source.do("run")
        bench.proxy.stall()
        time.sleep(1)
        bench.source.do("abort", timeout=10)
        assert bench.leftovers() == []
        bench.verify()


def test_abort_of_an_idle_guests_mirror():
    with MirrorBench([("raw", 64, "raw")], stopped=1) as bench:
        bench.start()
        bench.source.do("run")
        bench.source.do("abort")
        assert bench.leftovers() == []
        assert bench.is_running()


def test_abort_of_a_suspended_guest_does_not_wake_it():
    with MirrorBench([("raw", 64, "raw")]) as bench:
        bench.start()
        bench.source.do("run")
        monitor = bench.monitor()
        monitor.command("stop")
        monitor.close()
        bench.source.do("abort")
        assert bench.leftovers() == []
        assert not bench.is_running()
        bench.resume_and_verify()


def test_abort_when_the_domain_is_gone():
    with MirrorBench([("raw", 64, "raw")]) as bench:
        bench.start()
        bench.source.do("run")
        bench.destroy_domain()
        bench.source.do("abort")
        assert bench.source.do("ledger") == ""


def test_full_destination_is_said_and_the_guest_runs_on(small_disk):
    with MirrorBench([("raw", 128, "raw")], destination_mount=small_disk) as bench:
        bench.start()
        with pytest.raises(DriveError) as failure:
            bench.source.do("run")
        assert failure.value.code == "no-space"
        assert "No space left on device" in failure.value.text
        bench.guest.assert_writes()
        bench.source.do("abort")
        assert bench.leftovers() == []
        bench.verify()


def test_destination_that_fills_up_under_the_mirror_is_said(small_disk):
    with MirrorBench([("raw", 128, "raw")], filled=False, base=0, rate=50,
                     destination_mount=small_disk) as bench:
        bench.start()
        bench.source.do("run")
        bench.guest.rate(0)
        with pytest.raises(DriveError) as failure:
            while True:
                bench.source.do("mirrored")
                time.sleep(0.2)
        assert "No space left on device" in failure.value.text
        with pytest.raises(DriveError) as failure:
            bench.source.do("run")
        assert failure.value.code == "no-space"
        bench.guest.assert_writes()
        bench.source.do("abort")
        assert bench.leftovers() == []
        bench.verify()


@pytest.mark.parametrize("form", [full("raw"), "qcow2"])
def test_restarted_source_goes_on_where_it_was(form):
    # what the last flushes, one in 2 s, had not reached is copied again
    with MirrorBench([(form, 128, "raw")], bandwidth=5 * MIB, rate=50) as bench:
        bench.start()
        bench.source.send("run")
        bench.wait_copied(0.6)
        bench.source.kill()
        bench.guest.assert_writes()
        bench.start_source()
        bench.source.send("run")
        bench.wait_progress("the next epoch", lambda now: now["phase"] == "copying" and
                            now["disks"][0]["is_mirrored"])
        assert bench.source.progress()["disks"][0]["copied_bytes"] > 24 * MIB
        bench.source.wait("run")
        bench.drain_and_compare()
        bench.resume_and_verify()


@pytest.mark.parametrize("ends", ["run", full("abort")])
def test_guest_stopped_by_a_source_that_died_is_continued(ends):
    with MirrorBench([("qcow2", 64, "raw")]) as bench:
        bench.start()
        bench.set_failpoint("transfer.stopped", "kill")
        bench.source.send("run")
        bench.source.process.wait(20)
        bench.clear_failpoint("transfer.stopped")
        assert not bench.is_running()
        bench.start_source()
        bench.source.do(ends)
        assert bench.is_running()
        if ends == "run":
            bench.drain_and_compare()
            bench.resume_and_verify()
        else:
            assert bench.leftovers() == []
            bench.verify()


@pytest.mark.parametrize("point", ["transfer.mirror-started", full("transfer.bitmap-read")])
def test_source_killed_while_it_resumes_loses_no_write(point):
    with MirrorBench([("raw", 128, "raw")], bandwidth=40 * MIB, rate=200) as bench:
        bench.start()
        bench.source.send("run")
        bench.wait_copied(0.6)
        bench.proxy.stall()
        bench.wait_progress("the stall", lambda now: now["phase"] == "stalled")
        bench.guest.assert_writes()
        bench.set_failpoint(point, "kill")
        bench.proxy.stall(False)
        bench.source.process.wait(20)
        bench.clear_failpoint(point)
        bench.guest.assert_writes()
        bench.start_source()
        bench.source.do("run")
        bench.drain_and_compare()
        bench.resume_and_verify()


def test_guest_that_was_started_anew_is_not_taken_for_the_one_that_was_moved():
    with MirrorBench([("raw", 64, "raw")], bandwidth=20 * MIB) as bench:
        bench.start()
        bench.source.send("run")
        bench.wait_copied(0.5)
        bench.source.do("cancel")
        with pytest.raises(DriveError):
            bench.source.wait("run")
        bench.source.close()
        bench.boot_again()
        bench.start_source()
        with pytest.raises(DriveError, match="guest-ended"):
            bench.source.do("run")
        bench.source.do("abort")
        assert bench.leftovers() == []
        bench.guest.assert_writes()
        bench.verify()


def test_paused_guest_stays_paused():
    with MirrorBench([("qcow2", 64, "qcow2")]) as bench:
        bench.start()
        monitor = bench.monitor()
        monitor.command("stop")
        monitor.close()
        bench.source.do("run")
        assert not bench.is_running()
        bench.drain_and_compare()
        bench.resume_and_verify()


def test_finish_leaves_nothing_outside_the_domain():
    with MirrorBench([("raw", 64, "raw")]) as bench:
        bench.start()
        bench.source.do("run")
        bench.drain_and_compare()
        bench.destroy_domain()
        bench.source.do("finish")
        assert bench.source.do("ledger") == ""
        assert list((bench.folder / "a-state" / "chunks").glob("*")) == []


def test_images_that_cannot_be_read_live_are_refused():
    with MirrorBench([("qcow2", 64, "raw")], before_boot=lambda path: shell.run(
            "qemu-img", "snapshot", "-c", "one", path)) as bench:
        bench.start()
        with pytest.raises(DriveError) as failure:
            bench.source.do("run")
        assert failure.value.code == "unsupported"
        assert "internal snapshots" in failure.value.text
    with MirrorBench([("qcow2", 64, "raw")], is_compressed=True) as bench:
        bench.start()
        with pytest.raises(DriveError) as failure:
            bench.source.do("run")
        assert "compressed clusters" in failure.value.text
        bench.verify()
