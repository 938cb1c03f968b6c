"""A running guest moves between pools while it writes; its data is proved inside and outside."""
import os
import time

import pytest

from crosspool_test import images, shell
from crosspool_test.marks import full

FORMATS = ["raw", "qcow2", "vhd"]
IS_FULL = os.environ.get("CROSSPOOL_FULL") == "1"
ROUNDS = int(os.environ.get("CROSSPOOL_ROUNDS", "20" if IS_FULL else "2"))


def sources_of(cluster, name, pool):
    return {disk["device"]: disk for disk in cluster.vm(name, pool)["disks"]}


def path_of(agent, vdi):
    return next(agent.sr.glob(f"{vdi}.*"))


def move_and_compare(cluster, guest, source, destination, formats=None):
    """One move; the images of both ends are compared in the pause. Returns the migration."""
    here, there = cluster.agents[source], cluster.agents[destination]
    pools = {"a1": "A", "b1": "B"}
    old = sources_of(cluster, guest.name, pools[source])
    there.set_failpoint("handoff.destination-prepared", "wait")
    disks = {device: {"sr": there.sr_name, "format": image_format}
             for device, image_format in (formats or {}).items()}
    mapping = dict(cluster.mapping(source, destination), disks=disks)
    migration = cluster.migrate(guest.name, source, destination, mapping=mapping)
    there.wait_failpoint("handoff.destination-prepared", 120)
    compared = {}
    try:
        for disk in cluster.migration(migration)["disks"]:
            left = path_of(here, old[disk["device"]]["vdi"])
            right = path_of(there, disk["destination_vdi"])
            compared[f"{left.suffix}->{right.suffix}"] = images.identical(left, right)
    finally:
        there.clear_failpoint("handoff.destination-prepared")
    ended = cluster.wait_end(migration)
    assert ended["state"] == "succeeded", ended
    assert all(compared.values()), compared
    cluster.follow(guest, destination)
    verdict = guest.verify()
    assert verdict.ok, verdict
    assert cluster.homes(guest) == [destination]
    new = sources_of(cluster, guest.name, pools[destination])
    cluster.assert_clean(source)
    cluster.assert_clean(destination, [path_of(there, d["vdi"]).name for d in new.values()])
    cluster.wait_no_leftovers()
    return ended, compared


@pytest.mark.long
@pytest.mark.parametrize("iothread", [full(False), True], ids=["main-loop", "iothread"])
def test_nine_format_pairs_are_identical_at_the_pause(cluster, name, iothread):
    guest = cluster.boot("a1", name, [(f, 48) for f in FORMATS], iothread=iothread, rate=200)
    guest.discards(True)
    formats = dict(zip(("vda", "vdb", "vdc"), FORMATS))
    seen = {}
    ends = ["a1", "b1"]
    for turn in range(3):
        formats = {device: FORMATS[(FORMATS.index(f) + turn) % 3] for device, f in formats.items()}
        _, compared = move_and_compare(cluster, guest, *ends, formats=formats)
        seen.update(compared)
        ends.reverse()
    assert len(seen) == 9, seen


def test_a_suspended_move_sends_the_memory_in_the_pause(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32), ("qcow2", 32)], rate=0)
    agent = cluster.agents["a1"]
    agent.set_failpoint("handoff.suspended", "wait")
    migration = cluster.migrate(name, "a1", "b1", mode="suspend")
    agent.wait_failpoint("handoff.suspended", 120)
    paused = cluster.wait_phase(migration, "paused")
    assert paused["mode"] == "suspend"
    assert paused["memory"].get("sent_bytes", 0) == 0, "nothing is sent before the pause"
    agent.clear_failpoint("handoff.suspended")
    ended = cluster.wait_end(migration)
    assert ended["state"] == "succeeded", ended
    assert ended["memory"]["sent_bytes"] > 8 << 20 and ended["memory"]["iteration"] == 1
    cluster.follow(guest, "b1")
    verdict = guest.verify()
    assert verdict.ok, verdict
    assert cluster.homes(guest) == ["b1"]
    cluster.wait_no_leftovers()


@pytest.mark.long
def test_rounds_in_a_row(cluster, name):
    guest = cluster.boot("a1", name, [(f, 32) for f in FORMATS], rate=200)
    guest.discards(True)
    ends = ["a1", "b1"]
    for _ in range(ROUNDS):
        move_and_compare(cluster, guest, *ends)
        ends.reverse()


def test_an_inventory_begun_before_the_move_does_not_undo_it(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32)])
    hosts = [cluster.agents[host] for host in ("a1", "b1")]
    hosts[0].set_failpoint("handoff.drained", "wait")
    migration = cluster.migrate(name, "a1", "b1")
    hosts[0].wait_failpoint("handoff.drained", 120)
    for agent in hosts:  # they see the VM paused, and its disks but no VM: not what was told before
        agent.set_failpoint("inventory.built", "wait")
    for agent in hosts:
        agent.wait_failpoint("inventory.built", 30)
    hosts[0].clear_failpoint("handoff.drained")
    ended = cluster.wait_end(migration)
    assert ended["state"] == "succeeded", ended
    cluster.follow(guest, "b1")
    before = generations(cluster)
    for agent in hosts:
        agent.clear_failpoint("inventory.built")

    def is_told():
        after = generations(cluster)
        found = {vm["pool_name"]: vm["id"] for vm in cluster.api.get("/v1/vms?limit=200")["items"]
                 if vm["name"] == name}
        assert found == {"B": ended["destination_vm"]}
        return all(now > old for now, old in zip(after, before))
    shell.wait_for("an inventory of each host", is_told, 30, 0.02)


def generations(cluster):
    return [int(row[0]) for row in cluster.coordinator.query(
        "SELECT inventory_generation FROM host ORDER BY name")]


def test_the_destination_pool_has_a_new_vm_object(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32)])
    before = cluster.vm(name, "A")
    migration = cluster.migrate(name, "a1", "b1")
    ended = cluster.wait_end(migration)
    assert ended["state"] == "succeeded", ended
    cluster.follow(guest, "b1")
    after = cluster.vm(name, "B")
    assert after["id"] == ended["destination_vm"] != before["id"]
    assert after["disks"][0]["vdi"] == ended["disks"][0]["destination_vdi"]
    assert after["vifs"][0]["network_name"] == "lan-b"
    assert after["vifs"][0]["mac"] == before["vifs"][0]["mac"]
    names = [(vm["name"], vm["pool_name"]) for vm in cluster.api.get("/v1/vms?limit=200")["items"]]
    assert (name, "A") not in names


def test_the_guest_answers_pings_before_during_and_after(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32)])
    ping = cluster.network.start_ping(guest.address)
    time.sleep(1)
    migration = cluster.migrate(name, "a1", "b1")
    ended = cluster.wait_end(migration)
    cluster.follow(guest, "b1")
    assert ended["state"] == "succeeded", ended
    shell.wait_for("an answer at the new host", lambda: "1 received" in cluster.network.inside(
        "ping", "-n", "-c", "1", "-W", "5", guest.address), 30)
    time.sleep(1)
    sent, received = cluster.network.ping_result(ping)
    # what is lost is lost in the pause, and until the switches know of the new place
    assert sent - received <= ended["pause_us"] / 50000 + 10, (sent, received, ended["pause_us"])


def test_progress_says_what_happens(cluster, name):
    cluster.boot("a1", name, [("raw", 64), ("qcow2", 64)], is_full=True, rate=20)
    migration = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=16 << 20)
    copying = cluster.wait_phase(migration, "copying")
    assert [d["total_bytes"] for d in copying["disks"]] == [64 << 20, 64 << 20]
    part = shell.wait_for("a part of the first disk", lambda: (
        lambda m: m if m["disks"][0]["copied_bytes"] > 16 << 20 else None)(
            cluster.migration(migration)), 60)
    assert part["disks"][0]["is_mirrored"] and not part["disks"][1]["is_mirrored"]
    ended = cluster.wait_end(migration)
    assert ended["state"] == "succeeded"
    assert all(d["copied_bytes"] == d["total_bytes"] for d in ended["disks"])
    assert ended["pause_us"] > 0
    assert ended["memory"]["sent_bytes"] > 0
    cluster.guests[cluster.vm(name, "B")["domain"]].close()


def test_two_migrations_at_once(cluster, name):
    guests = [cluster.boot("a1", f"{name}{n}", [("raw", 64)]) for n in "xy"]
    moves = [cluster.migrate(guest.name, "a1", "b1") for guest in guests]
    for guest, move in zip(guests, moves):
        ended = cluster.wait_end(move)
        assert ended["state"] == "succeeded", ended
        cluster.follow(guest, "b1")
        assert guest.verify().ok
        assert cluster.homes(guest) == ["b1"]
    cluster.wait_no_leftovers()
    cluster.assert_clean("a1")


def test_a_restarted_agent_finds_its_guests_again(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32)])
    cluster.vm(name, "A")
    cluster.agents["a1"].restart()
    cluster.wait_for_hosts()
    assert cluster.vm(name, "A")["state"] == "running"
    assert guest.verify().ok
    migration = cluster.migrate(name, "a1", "b1")
    assert cluster.wait_end(migration)["state"] == "succeeded"
    cluster.follow(guest, "b1")
    assert guest.verify().ok
