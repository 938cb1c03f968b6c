"""What preflight knows from the database: reservations and their release at every end, warnings, rates
that ended migrations have measured, VLANs, the CPU of a pool."""
import pytest

from crosspool_test.fake_host import GIB

from test_migration import World


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


def look(world, **more):
    return world.api.post("/v1/migrations?dry_run=true", world.request(**more))


def codes(answer, kind="blockers"):
    return sorted(found["code"] for found in answer[kind])


# ---- reservations

def tight(world):
    """b1 has memory, SR room and CPUs for one of two equal VMs."""
    world.a1.add_vm("g2", disks=2)
    world.a1.report()
    world.b1.inventory["memory_free_bytes"] = 3 * GIB // 2
    world.b1.inventory["cpus"] = 3
    world.b1.sr["free_bytes"] = 10 * GIB
    world.b1.report()
    fits = look(world, vm="g2")
    assert codes(fits) == [] and codes(fits, "warnings") == ["sr-nearly-full"]


def refuse_prepare(world, migration):
    world.b1.failed(world.b1.take("prepare"), "no-space", "memory: none is left")
    world.finish_abort(migration, "failed")


def cancel_prepare(world, migration):
    step = world.b1.take("prepare")
    world.cancel(migration)
    world.b1.wait_cancel(step)
    world.b1.failed(step, "cancelled")
    world.finish_abort(migration, "cancelled")


def fail_transfer(world, migration):
    world.b1.finish("prepare")
    world.a1.failed(world.a1.take("transfer"), "no-space")
    world.finish_abort(migration, "failed")


def cancel_ready(world, migration):
    world.b1.finish("prepare")
    step = world.a1.take("transfer")
    world.a1.progress(migration, "mirrored")
    assert world.state(migration) == "ready"
    world.cancel(migration)
    world.a1.wait_cancel(step)
    world.a1.failed(step, "cancelled")
    world.finish_abort(migration, "cancelled")


def abandon_handoff(world, migration):
    world.b1.finish("prepare")
    world.api.post(f"/v1/migrations/{migration}/switchover")
    world.a1.finish("transfer")
    handoff = world.a1.take("handoff")
    receive = world.b1.take("receive")
    world.b1.failed(receive, "unsupported", verdict="abandoned")
    world.a1.failed(handoff, "unsupported", verdict="abandoned")
    world.finish_abort(migration, "failed")


@pytest.mark.parametrize("end", [refuse_prepare, cancel_prepare, fail_transfer, cancel_ready,
                                 abandon_handoff], ids=lambda end: end.__name__)
def test_an_end_without_a_move_gives_back_what_was_held(world, end):
    tight(world)
    migration = world.create(switchover="manual")
    held = look(world, vm="g2")
    assert codes(held) == ["memory", "sr-room"]
    assert "vcpus-overcommitted" in codes(held, "warnings")
    end(world, migration)
    free = look(world, vm="g2")
    assert codes(free) == [] and codes(free, "warnings") == ["sr-nearly-full"]
    assert world.leftovers() == []


def test_a_move_holds_until_the_host_counts_the_vm_itself(world):
    tight(world)
    migration, _ = world.to_cleaning()
    world.b1.inventory["memory_free_bytes"] -= GIB
    world.b1.sr["free_bytes"] -= 8 * GIB
    world.b1.report()
    assert codes(look(world, vm="g2")) == ["memory", "sr-room"]
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"
    gone = look(world, vm="g2")
    assert codes(gone) == ["memory", "sr-room"], "the VM is there"
    memory = next(b for b in gone["blockers"] if b["code"] == "memory")
    assert memory["available"] == f"{GIB // 2} bytes", "counted once"


def test_more_vcpus_than_the_host_has_is_a_blocker(world):
    world.b1.inventory["cpus"] = 1
    world.b1.report()
    blocker, = look(world)["blockers"]
    assert (blocker["code"], blocker["needed"], blocker["available"]) == ("vcpus", "2", "1")


def test_an_sr_that_gets_nearly_full_is_a_warning(world):
    world.b1.sr["free_bytes"] = 17 * GIB  # of 100; 8 are needed
    world.b1.report()
    answer = look(world)
    assert answer["can_move"] and codes(answer, "warnings") == ["sr-nearly-full"]


# ---- what is foretold

def move(world, name, disk_bytes=64 << 20, memory_bytes=32 << 20, pause_us=50000, **more):
    """A whole migration of a VM of a1 with that progress, whose copy and handoff took 4 s each."""
    made = world.a1.add_vm(name, memory_bytes=GIB // 8)
    world.a1.report()
    migration = world.create(vm=name, **more)
    world.b1.finish("prepare")
    world.a1.finish("transfer")
    step = world.a1.take("handoff")
    world.a1.send(progress=[{
        "migration": migration, "phase": "memory", "memory": {"sent_bytes": memory_bytes},
        "disks": [{"index": 0, "copied_bytes": 2 * disk_bytes, "zero_bytes": disk_bytes}]}])
    world.a1.done(step, verdict="owned", pause_us=pause_us)
    world.b1.finish("receive", verdict="owned")
    world.a1.lose_domain(made["uuid"])
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"
    world.coordinator.query(
        "UPDATE migration SET copy_ended_at = copy_began_at + interval '4 s', handoff_ended_at ="
        f" handoff_began_at + interval '4 s' WHERE id = '{migration}'")
    world.a1.report()
    return migration


def test_nothing_is_foretold_before_anything_was_measured(world):
    predicted = look(world)["predicted"]
    assert predicted["seconds"] is None and predicted["pause_ms"] is None
    assert predicted["unknown_because"] == "no move from host a1 to host b1 was measured yet"
    assert predicted["send_bytes"] == 2 * GIB + GIB


def test_time_and_pause_come_from_measured_moves_of_the_pair(world):
    move(world, "m1", pause_us=40000)
    move(world, "m2", pause_us=60000)
    answer = look(world)
    predicted = answer["predicted"]
    # 64 MiB in 4 s and 32 MiB in 4 s: 2 GiB of disks and 1 GiB of memory
    assert predicted["seconds"] == 2 * GIB // (16 << 20) + GIB // (8 << 20)
    assert predicted["pause_ms"] == 50 and predicted["unknown_because"] is None
    assert codes(answer, "warnings") == []
    capped = look(world, bandwidth_bytes_per_s=8 << 20)["predicted"]
    assert capped["seconds"] == 2 * GIB // (8 << 20) + GIB // (8 << 20)
    assert capped["least_s"] == 2 * GIB // (8 << 20)
    suspended = look(world, mode="suspend")
    assert suspended["predicted"]["pause_ms"] == 1000 * GIB // (8 << 20) + 1
    assert codes(suspended, "warnings") == ["pause-long"]


def test_moves_that_were_slowed_do_not_count(world):
    move(world, "m1", bandwidth_bytes_per_s=1 << 20)
    assert look(world)["predicted"]["seconds"] is None
    move(world, "m2", disk_bytes=16 << 20)
    answer = look(world)
    assert answer["predicted"]["seconds"] == 2 * GIB // (4 << 20) + GIB // (8 << 20)
    assert codes(answer, "warnings") == ["link-slow"]


# ---- networks by VLAN and id

def test_networks_are_mapped_by_vlan_and_id(world):
    world.a1.inventory["networks"][0]["vlan"] = 12
    world.b1.inventory["networks"] = [{"name": "lan-b", "bridge": "br0", "vlan": 12},
                                      {"name": "dmz", "bridge": "br1"}]
    world.a1.report()
    world.b1.report()
    networks = {network["name"]: network for network in world.api.get("/v1/networks")["items"]}
    assert [networks[name]["vlan"] for name in ("lan-a", "lan-b", "dmz")] == [12, 12, None]
    srs = {"local-a1": "local-b1"}
    for wanted, expected in (({"vlan:12": "vlan:12"}, "lan-b"),
                             ({networks["lan-a"]["id"]: networks["dmz"]["id"]}, "dmz")):
        answer = look(world, mapping={"networks": wanted, "srs": srs})
        assert codes(answer) == []
        assert set(answer["mapping"]["vifs"].values()) == {expected}
    world.b1.inventory["networks"][1]["vlan"] = 12
    world.b1.report()
    answer = look(world, mapping={"networks": {"vlan:12": "vlan:12"}, "srs": srs})
    assert codes(answer) == ["network-ambiguous"]
    answer = look(world, mapping={"networks": {"vlan:12": "vlan:13"}, "srs": srs})
    assert codes(answer) == ["network-unknown"]


# ---- the CPU of a pool

def test_a_pools_cpu_is_what_its_hosts_have_in_common(world):
    b2 = world.host("B", "b2")
    assert world.api.get("/v1/pools/B/cpu") == {
        "pool": world.api.get("/v1/pools/B")["id"], "pool_name": "B", "cpu_vendor": "GenuineIntel",
        "hosts": 1, "guest_types": []}

    def tell(host, features, **more):
        host.inventory.update(more, guest_types=[
            {"type": "pvh", "is_live": True, "why_not_live": "", "features": features}])
        host.report()
    tell(world.b1, "1d=0000000f 1c=00002001")
    tell(b2, "1d=00000007 1c=00002000")
    cpu = world.api.get("/v1/pools/B/cpu")
    assert cpu["hosts"] == 2 and cpu["guest_types"] == [
        {"type": "pvh", "hosts": 2, "is_common": True, "features": "1d=00000007 1c=00002000",
         "why_not": ""}]
    tell(b2, "1d=00000007", cpu_vendor="AuthenticAMD")
    cpu = world.api.get("/v1/pools/B/cpu")
    assert cpu["cpu_vendor"] is None
    assert "different vendors" in cpu["guest_types"][0]["why_not"]
