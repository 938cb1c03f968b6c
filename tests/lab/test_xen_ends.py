"""Guests that reboot, power off or crash while they are moved, and afterwards."""
import itertools
import time

import pytest

from crosspool_test import shell

SOURCE, DESTINATION = "xh2", "xh1"
LIMIT_S = 400
RATE = 1 << 20  # a full disk of 16 MiB takes 16 s
full = pytest.mark.full
names = itertools.count(1)


@pytest.fixture
def boot(cluster):
    """Boots a guest of the test's own at SOURCE, and removes all guests in the end."""
    cluster.remove_guests()
    yield lambda **options: cluster.boot(SOURCE, f"e{next(names)}",
                                         **{"disks": (("raw", 16),), **options})
    cluster.remove_guests()


def wait_gone(cluster, guest, name):
    shell.wait_for(f"{guest.name} gone", lambda: cluster.number_of(guest, name) is None, 60, 1)


def move(cluster, guest):
    """To DESTINATION; its number there."""
    ended = cluster.wait_end(cluster.migrate(guest.name, SOURCE, DESTINATION), LIMIT_S)
    assert ended["state"] == "succeeded", ended
    assert cluster.wait_one_home(guest) == DESTINATION
    cluster.follow(guest, DESTINATION)
    return ended, cluster.number_of(guest, DESTINATION)


# ---- after a move
@full
def test_a_guest_that_was_moved_reboots_and_powers_off_as_it_would_have_before(cluster, boot):
    guest = boot()
    ended, number = move(cluster, guest)
    guest.tell("reboot")
    cluster.wait_again(guest, DESTINATION, number)
    vm = cluster.vm(guest.name, cluster.pool_of(DESTINATION), state="running")
    assert vm["id"] == ended["destination_vm"]
    guest.tell("poweroff")
    wait_gone(cluster, guest, DESTINATION)
    time.sleep(3)
    wait_gone(cluster, guest, DESTINATION)
    assert cluster.homes(guest) == {}


@full
def test_a_guest_that_crashes_after_a_move_is_preserved_when_it_wants_to_be(cluster, boot):
    guest = boot(ends="on_crash=preserve")
    _, number = move(cluster, guest)
    guest.tell("crash")
    pool = cluster.pool_of(DESTINATION)
    began = time.monotonic()
    cluster.vm(guest.name, pool, timeout=30, state="crashed")
    assert time.monotonic() - began < 10
    time.sleep(5)
    assert cluster.number_of(guest, DESTINATION) == number


@full
@pytest.mark.parametrize("failpoint", ["guard.recorded", "guard.cleared", "guard.created",
                                       "guard.started"])
def test_a_restart_is_finished_by_the_next_agent(cluster, boot, failpoint):
    guest = boot(ends="on_crash=restart")
    _, number = move(cluster, guest)
    agent = cluster.agents[DESTINATION]
    agent.set_failpoint(failpoint, "kill")
    guest.tell("crash")
    shell.wait_for("the agent dead", lambda: not agent.is_running(), 60, 0.5)
    agent.clear_failpoints()
    agent.start()
    cluster.wait_again(guest, DESTINATION, number)
    assert len(agent.numbers()) == 1
    assert agent.host.run("ls /var/lib/crosspool/restarts").strip() == ""


@full
def test_a_guest_that_rebooted_while_no_agent_ran_is_started_by_the_next_one(cluster, boot):
    guest = boot()
    _, number = move(cluster, guest)
    agent = cluster.agents[DESTINATION]
    agent.kill()
    guest.tell("reboot")
    shell.wait_for("the guest down", lambda: "s" in cluster.homes(guest)[DESTINATION], 60, 1)
    agent.start()
    cluster.wait_again(guest, DESTINATION, number)


# ---- while it is moved
# what the guest is told -> how the migration's error ends
ENDS = {"reboot": "the guest rebooted while it was moved",
        "poweroff": "the guest powered off while it was moved",
        "crash": "the guest crashed while it was moved"}
HELD = {"memory": "handoff.source-streaming"}


def assert_ended(cluster, migration, message, began):
    ended = cluster.wait_end(migration, LIMIT_S)
    assert ended["state"] == "failed", ended
    assert ended["error"]["code"] == "guest-ended", ended
    assert ended["error"]["message"].endswith(message), ended
    assert time.monotonic() - began < 60
    cluster.wait_no_leftovers(120)
    cluster.assert_clean(DESTINATION)
    cluster.wait_no_children(SOURCE)


@full
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("phase", ["copying", "memory"])
def test_a_guest_that_ends_while_it_is_moved_ends_the_migration(cluster, boot, phase, end):
    guest = boot(is_full=True, ends="on_crash=restart")
    number = cluster.number_of(guest, SOURCE)
    source = cluster.agents[SOURCE]
    if phase in HELD:
        source.set_failpoint(HELD[phase], "wait")
    migration = cluster.migrate(guest.name, SOURCE, DESTINATION,
                                bandwidth_bytes_per_s=0 if phase in HELD else RATE)
    if phase in HELD:
        source.wait_failpoint(HELD[phase], LIMIT_S)
        source.clear_failpoint(HELD[phase])
    else:
        cluster.wait_phase(migration, phase)
    guest.tell(end)
    assert_ended(cluster, migration, ENDS[end], time.monotonic())
    if end == "poweroff":
        wait_gone(cluster, guest, SOURCE)
    else:
        cluster.wait_again(guest, SOURCE, number)


@full
@pytest.mark.parametrize("end", ENDS)
def test_a_guest_that_ends_before_its_disks_are_mirrored(cluster, boot, end):
    """A migration moves the run that it meets: the one after a reboot."""
    guest = boot(is_full=True, ends="on_crash=restart")
    number = cluster.number_of(guest, SOURCE)
    destination = cluster.agents[DESTINATION]
    destination.set_failpoint("step.finished", "wait")
    migration = cluster.migrate(guest.name, SOURCE, DESTINATION)
    destination.wait_failpoint("step.finished", LIMIT_S)
    guest.tell(end)
    if end == "poweroff":
        wait_gone(cluster, guest, SOURCE)
    else:
        cluster.wait_again(guest, SOURCE, number)
    destination.clear_failpoint("step.finished")
    ended = cluster.wait_end(migration, LIMIT_S)
    cluster.wait_no_leftovers(120)
    if end == "poweroff":
        assert ended["state"] == "failed", ended
        assert cluster.homes(guest) == {}
        cluster.assert_clean(DESTINATION)
    else:
        assert ended["state"] == "succeeded", ended
        assert cluster.wait_one_home(guest) == DESTINATION
        cluster.follow(guest, DESTINATION)
        assert guest.verify().ok
        guest.assert_writes()


@full
def test_a_guest_that_was_resumed_reboots(cluster, boot):
    guest = boot()
    number = cluster.number_of(guest, SOURCE)
    source = cluster.agents[SOURCE]
    source.set_failpoint("handoff.before-released", "error not this time")
    migration = cluster.migrate(guest.name, SOURCE, DESTINATION)
    source.wait_failpoint("handoff.before-released", LIMIT_S)
    ended = cluster.wait_end(migration, LIMIT_S)
    source.clear_failpoints()
    assert ended["state"] == "failed" and "not this time" in ended["error"]["message"], ended
    assert cluster.number_of(guest, SOURCE) == number
    guest.assert_writes()
    guest.tell("reboot")
    cluster.wait_again(guest, SOURCE, number)
    assert len(source.numbers()) == 1
