"""A guest that powers off, reboots or loses its QEMU while it is moved."""
import time

import pytest

RATE = 4 << 20  # a full disk of 48 MiB takes 12 s
GONE = "the guest ended, or its domain was destroyed, while it was moved"
END_LIMIT_S = 30

# phase -> failpoint at the source that holds the handoff there
HELD = {"streaming": "handoff.source-streaming"}


def start_move(cluster, name, phase):
    """The migration, when it is in the phase."""
    if phase in HELD:
        cluster.agents["a1"].set_failpoint(HELD[phase], "wait")
    migration = cluster.migrate(name, "a1", "b1",
                                bandwidth_bytes_per_s=0 if phase in HELD else RATE)
    if phase in HELD:
        cluster.agents["a1"].wait_failpoint(HELD[phase], 120)
    else:
        cluster.wait_phase(migration, phase)
    return migration


def go_on(cluster, phase):
    if phase in HELD:
        cluster.agents["a1"].clear_failpoint(HELD[phase])


@pytest.mark.parametrize("phase", ["copying", *HELD])
def test_a_guest_that_powers_off_ends_its_migration_at_once(cluster, name, phase):
    guest = cluster.boot("a1", name, [("raw", 48), ("qcow2", 16)], is_full=phase == "copying")
    migration = start_move(cluster, name, phase)
    guest.poweroff()
    began = time.monotonic()
    go_on(cluster, phase)
    ended = cluster.wait_end(migration)
    assert time.monotonic() - began < END_LIMIT_S
    assert ended["state"] == "failed", ended
    assert ended["error"]["code"] == "guest-ended" and GONE in ended["error"]["message"], ended
    assert ended["epoch"] == (1 if phase in HELD else 0)  # nothing was tried again
    cluster.wait_no_leftovers()
    cluster.assert_clean("b1")
    cluster.wait_no_children("a1")


def test_a_reboot_within_its_qemu_does_not_disturb_the_move(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 48)], is_full=True)
    migration = start_move(cluster, name, "copying")
    guest.reboot()
    assert cluster.wait_end(migration)["state"] == "succeeded"
    cluster.follow(guest, "b1")
    guest.assert_writes(60)
    assert guest.verify().ok
    cluster.wait_no_leftovers()
    cluster.assert_clean("a1")
