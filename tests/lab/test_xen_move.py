"""Guests of real Xen hosts move between pools by REST while they write."""
import pytest

from xenlab import traffic

LIMIT_S = 400


def other(cluster, guest):
    return next(name for name in cluster.agents if name != guest.host.name)


def assert_moved(cluster, guest, destination, ended):
    """It runs there and nowhere else, its data is whole, nothing is left."""
    assert ended["state"] == "succeeded", ended
    source = guest.host.name
    assert cluster.wait_one_home(guest) == destination
    cluster.follow(guest, destination)
    verdict = guest.verify()
    assert verdict.ok, verdict.text
    guest.assert_writes()
    cluster.wait_no_leftovers()
    for name in {source, destination}:
        cluster.assert_clean(name, cluster.disk_count(name))
    vm = cluster.vm(guest.name, cluster.pool_of(destination), state="running")
    assert vm["id"] == ended["destination_vm"]
    pool = cluster.pool_of(destination).lower()
    assert {vif["network_name"] for vif in vm["vifs"]} <= {f"lan-{pool}", f"back-{pool}"}
    return verdict


def summary(ended):
    memory = ended["memory"]["sent_bytes"] >> 20
    return f"pause {ended['pause_us'] / 1e6:.1f} s, memory {memory} MiB"


def test_a_pvh_guest_moves_and_its_networks_know_it_at_once(cluster, guest, note):
    destination = other(cluster, guest)
    with traffic.Announcements(cluster.agents[destination].host, guest) as first, \
            traffic.Announcements(cluster.agents[destination].host, guest, vif=1) as second:
        ping = traffic.Ping(guest)
        ended = cluster.wait_end(cluster.migrate(guest.name, guest.host.name, destination), LIMIT_S)
        answers = [traffic.answers(guest, vif) for vif in (0, 1)]
        sent, received = ping.end()
        announced = first.wait(), second.wait()
    note(f"{summary(ended)}, {sent - received} of {sent} pings lost, {announced} announcements")
    assert_moved(cluster, guest, destination, ended)
    assert all(answers) and all(announced)
    # what is lost is lost in the pause, and until the guest has connected its VIFs again
    assert sent - received <= ended["pause_us"] / 1e6 / traffic.PING_INTERVAL_S + 50


def test_both_ends_hold_the_same_in_the_pause(cluster, guest, note):
    source, destination = guest.host.name, other(cluster, guest)
    disks = cluster.vm(guest.name, cluster.pool_of(source), state="running")["disks"]
    there = cluster.agents[destination]
    there.set_failpoint("handoff.destination-prepared", "wait")
    migration = cluster.migrate(guest.name, source, destination)
    there.wait_failpoint("handoff.destination-prepared", LIMIT_S)
    try:
        found = cluster.compare_images(migration, source, disks)
    finally:
        there.clear_failpoint("handoff.destination-prepared")
    ended = cluster.wait_end(migration, LIMIT_S)
    assert not found
    verdict = assert_moved(cluster, guest, destination, ended)
    note(f"{summary(ended)}, {len(disks)} images equal, {verdict.checked} sectors verified")


@pytest.mark.full
def test_ten_moves_in_a_row(cluster, own_name, note):
    guest = cluster.boot("xh2", own_name, is_full=True)
    for _ in range(10):
        destination = other(cluster, guest)
        ended = cluster.wait_end(cluster.migrate(guest.name, guest.host.name, destination), LIMIT_S)
        assert_moved(cluster, guest, destination, ended)
        note(summary(ended))


@pytest.mark.full
def test_a_move_changes_the_formats_of_disks(cluster, guest):
    source, destination = guest.host.name, other(cluster, guest)
    disks = cluster.vm(guest.name, cluster.pool_of(source), state="running")["disks"]
    sr = cluster.agents[destination].sr_name
    turned = {disk["device"]: {"sr": sr, "format": "raw" if disk["format"] != "raw" else "qcow2"}
              for disk in disks}
    mapping = dict(cluster.mapping(source, destination), disks=turned)
    ended = cluster.wait_end(
        cluster.migrate(guest.name, source, destination, mapping=mapping), LIMIT_S)
    assert_moved(cluster, guest, destination, ended)
    now = cluster.vm(guest.name, cluster.pool_of(destination), state="running")["disks"]
    assert {d["device"]: d["format"] for d in now} == {d: t["format"] for d, t in turned.items()}


@pytest.mark.full
def test_an_hvm_guest_moves(cluster, own_name, note):
    guest = cluster.boot("xh2", own_name, kind="hvm")
    ended = cluster.wait_end(cluster.migrate(own_name, "xh2", "xh1"), LIMIT_S)
    assert_moved(cluster, guest, "xh1", ended)
    note(summary(ended))


@pytest.mark.full
def test_a_pv_guest_moves_by_suspend_and_not_live(cluster, own_name, note):
    guest = cluster.boot("xh2", own_name, kind="pv")
    body = cluster.request(own_name, "xh2", "xh1")
    answer = cluster.api.request("POST", "/v1/migrations", body)
    assert answer.status == 409, answer.text
    assert any("suspend" in blocker["fix"] for blocker in answer.json()["blockers"]), answer.text
    migration = cluster.migrate(own_name, "xh2", "xh1", mode="suspend")
    ended = cluster.wait_end(migration, LIMIT_S)
    assert_moved(cluster, guest, "xh1", ended)
    note(summary(ended))
