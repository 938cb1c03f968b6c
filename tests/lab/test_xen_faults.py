"""Faults in the phases of a move between real Xen hosts: the job ends, exactly one domain runs, its
data is whole, nothing is left over."""
import time

import pytest

LIMIT_S = 400
RATE = 1 << 20  # a full disk of 8 MiB takes 8 s
full = pytest.mark.full

# phase -> (the end that is held there, failpoint)
HELD = {"preparing": ("destination", "step.finished"),
        "memory": ("source", "handoff.source-streaming"),
        "no stream yet": ("source", "handoff.config-sent"),
        "paused": ("source", "handoff.drained"),
        "before release": ("source", "handoff.before-released"),
        "prepared": ("destination", "handoff.destination-prepared"),
        "released": ("source", "handoff.released"),
        "owned": ("destination", "handoff.owned")}
UNTIL_RELEASE = ("preparing", "copying", "memory", "paused", "before release")


class Move:
    """Of a guest to the other host, held or slowed in a phase."""

    def __init__(self, cluster, guest, phase):
        self.cluster, self.guest = cluster, guest
        self.source = guest.host.name
        self.destination = next(name for name in cluster.agents if name != self.source)
        end, self.failpoint = HELD.get(phase, (None, None))
        self.held = cluster.agents[getattr(self, end)] if end else None
        if self.held:
            self.held.set_failpoint(self.failpoint, "wait")
        self.id = cluster.migrate(guest.name, self.source, self.destination,
                                  bandwidth_bytes_per_s=0 if self.held else RATE)
        if self.held:
            self.held.wait_failpoint(self.failpoint, LIMIT_S)
        else:
            cluster.wait_phase(self.id, phase)

    def agent(self, end):
        return self.cluster.agents[getattr(self, end)]

    def release(self):
        if self.held:
            self.held.clear_failpoint(self.failpoint)

    def cancel(self):
        is_handoff = self.held and self.failpoint.startswith("handoff.")
        self.cluster.cancel(self.id, self.agent("source") if is_handoff else None)

    def end(self):
        """The migration when it has ended and all is well: one domain runs, at the right end, its
        data is whole, it writes, both ends are clean."""
        cluster, guest = self.cluster, self.guest
        ended = cluster.wait_end(self.id, LIMIT_S)
        assert all(agent.is_running() for agent in cluster.agents.values())
        home = cluster.wait_one_home(guest, 120)
        moved = ended["state"] == "succeeded"
        assert home == (self.destination if moved else self.source), ended
        cluster.follow(guest, home)
        verdict = guest.verify()
        assert verdict.ok, verdict.text
        guest.assert_writes()
        cluster.wait_no_leftovers(120)
        cluster.assert_clean(self.source if moved else self.destination)
        cluster.assert_clean(home, len(ended["disks"]))
        return ended


# ---- cancel
@full
@pytest.mark.parametrize("phase", UNTIL_RELEASE)
def test_a_cancel_leaves_the_guest_where_it_is(cluster, guest, phase):
    move = Move(cluster, guest, phase)
    move.cancel()
    move.release()
    assert move.end()["state"] == "cancelled"


@full
def test_a_cancel_after_the_release_comes_too_late(cluster, guest):
    move = Move(cluster, guest, "owned")
    cluster.api.post(f"/v1/migrations/{move.id}/cancel", {}, expect=(202, 409))
    move.release()
    assert move.end()["state"] == "succeeded"


# ---- processes die
PHASES = ["preparing", "copying", "memory", "paused", "prepared", "released", "owned"]
TELLING = ("source", "released")


@pytest.mark.parametrize("victim, phase", [
    pytest.param(victim, phase, marks=() if (victim, phase) == TELLING else full)
    for phase in PHASES for victim in ("source", "destination")])
def test_an_agent_dies(cluster, guest, victim, phase, note):
    move = Move(cluster, guest, phase)
    move.agent(victim).kill()
    move.release()
    move.agent(victim).start()
    note(move.end()["state"])


@pytest.mark.parametrize("what", ["source dies", "destination dies",
                                  pytest.param("cancelled", marks=full)])
def test_the_stream_ends_before_it_begins(cluster, guest, what):
    """In the first bytes of its stream libxl must not fail (xen_header.h)."""
    move = Move(cluster, guest, "no stream yet")
    victim = what.removesuffix(" dies")
    if what == "cancelled":
        move.cancel()
    else:
        move.agent(victim).kill()
    move.release()
    if what != "cancelled":
        move.agent(victim).start()
    assert move.end()["state"] == ("cancelled" if what == "cancelled" else "succeeded")


@full
@pytest.mark.parametrize("phase", PHASES)
def test_the_coordinator_dies(cluster, guest, phase):
    move = Move(cluster, guest, phase)
    cluster.kill_coordinator()
    move.release()
    assert move.end()["state"] == "succeeded"


@full
@pytest.mark.parametrize("program", ["nbdkit", "qemu-storage-daemon"])
def test_a_receiver_dies(cluster, guest, program):
    move = Move(cluster, guest, "copying")
    deadline = time.monotonic() + 120
    while not move.agent("destination").end_children(program):
        assert time.monotonic() < deadline, f"no {program} at {move.destination}"
    assert move.end()["state"] == "succeeded"


@full
def test_a_reader_dies(cluster, guest):
    move = Move(cluster, guest, "copying")
    deadline = time.monotonic() + 120
    while not move.agent("source").end_children("qemu-nbd"):
        assert time.monotonic() < deadline, f"no reader at {move.source}"
    assert move.end()["state"] == "succeeded"


@full
def test_the_guests_own_qemu_dies(cluster, own_name):
    """Its disks are gone, as they would be without a migration: only the job and the destination
    are to end well."""
    guest = cluster.boot("xh2", own_name, is_full=True)
    migration = cluster.migrate(own_name, "xh2", "xh1", bandwidth_bytes_per_s=RATE)
    cluster.wait_phase(migration, "copying")
    cluster.agents["xh2"].host.run(f"kill -9 {cluster.agents['xh2'].qemu_of(own_name)}")
    ended = cluster.wait_end(migration, LIMIT_S)
    assert ended["state"] == "failed", ended
    assert list(cluster.homes(guest)) == ["xh2"]
    cluster.assert_clean("xh1")


# ---- networks and hosts
@full
@pytest.mark.parametrize("phase", ["copying", "memory", "paused", "prepared", "released"])
def test_the_link_is_cut_and_nobody_is_told(cluster, guest, phase):
    move = Move(cluster, guest, phase)
    with cluster.silent_cut(move.destination):
        move.release()
        time.sleep(8)
    ended = move.end()
    if phase == "copying":
        assert ended["state"] == "succeeded", ended
        assert guest.status().gap_ms < 5000


@full
def test_the_destination_loses_its_power(cluster, guest):
    move = Move(cluster, guest, "copying")
    cluster.power_off(move.destination)
    ended = cluster.wait_end(move.id, LIMIT_S)
    assert ended["state"] == "failed", ended
    cluster.power_on(move.destination)
    assert move.end()["state"] == "failed"


# ---- what cannot be
def test_a_missing_cpu_feature_is_told_by_name(cluster, own_name):
    guest = cluster.boot("xh1", own_name)
    body = cluster.request(own_name, "xh1", "xh2")
    answer = cluster.api.request("POST", "/v1/migrations", body)
    assert answer.status == 409, answer.text
    said = [blocker for blocker in answer.json()["blockers"] if "cpu" in blocker["code"]]
    assert said and all(name in answer.text for name in ("cx16", "sse3")), answer.text
    assert cluster.wait_one_home(guest) == "xh1"
    guest.assert_writes()
    cluster.assert_clean("xh2")


def refused_at_the_end(cluster, guest, spoil, mend, words):
    """What is spoilt at the destination when the memory is about to go fails the move, which says
    so in these words."""
    move = Move(cluster, guest, "memory")
    host = cluster.agents[move.destination].host
    host.run(spoil)
    try:
        move.release()
        ended = move.end()
    finally:
        host.run(mend)
    assert ended["state"] == "failed", ended
    assert words in ended["error"]["message"], ended["error"]


@full
def test_a_bridge_that_is_gone_fails_the_move(cluster, guest):
    gone, back = (f"ip link set {old} down; ip link set {old} name {new}; ip link set {new} up"
                  for old, new in (("xenbr1", "gone1"), ("gone1", "xenbr1")))
    refused_at_the_end(cluster, guest, gone, back, "no bridge xenbr1 on this host")


@full
def test_an_image_that_is_gone_fails_the_move(cluster, guest):
    refused_at_the_end(cluster, guest, "rm /srv/local/*.qcow2", "true", "disk xvdb")
