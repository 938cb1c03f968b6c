"""GET /v1/inventory: the planner takes it as it is, and it tells what is really free."""
import json
import subprocess

import pytest

from crosspool_test import shell
from crosspool_test.fake_host import GIB

from test_migration import World


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


def plan(tmp_path, inventory, request):
    """What `crosspool plan` says of the exported document."""
    files = tmp_path / "inventory.json", tmp_path / "request.json"
    files[0].write_text(json.dumps(inventory))
    files[1].write_text(json.dumps(request))
    done = subprocess.run([shell.BUILD / "cli" / "crosspool", "plan", "--inventory", files[0],
                           "--request", files[1], "--json"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def by_name(items):
    return {item["name"]: item for item in items}


def test_the_planner_takes_it(world, tmp_path):
    inventory = world.api.get("/v1/inventory")
    request = {"evacuate_pools": ["A"], "mapping": {"networks": {"lan-a": "lan-b"},
                                                    "srs": {"local-a1": "local-b1"}}}
    found = plan(tmp_path, inventory, request)
    assert found["refused"] == []
    assert [(move["vm"], move["to"]) for move in found["moves"]] == [("g1", "b1")]
    unmapped = plan(tmp_path, inventory, {"evacuate_pools": ["A"]})
    assert [refusal["vm"] for refusal in unmapped["refused"]] == ["g1"]


def test_what_a_guest_writes_is_what_its_last_move_saw(world, tmp_path):
    def writes():
        vm = by_name(world.api.get("/v1/inventory")["vms"])["g1"]
        return vm["dirty_bytes_per_s"], vm["write_bytes_per_s"]

    assert writes() == (0, 0)
    migration = world.to_handing_off()
    disks = [{"index": index, "total_bytes": 4 * GIB, "mirrored_bytes": 500 << 20}
             for index in (0, 1)]
    world.a1.send(progress=[{"migration": migration, "phase": "copying", "disks": disks, "memory": {
        "total_bytes": GIB, "sent_bytes": GIB, "dirty_bytes_per_s": 20 << 20, "iteration": 3}}])
    assert writes() == (0, 0)
    handoff, receive = world.a1.take("handoff"), world.b1.take("receive")
    world.a1.done(handoff, verdict="owned", pause_us=4711)
    world.b1.done(receive, verdict="owned")
    world.move_domain(handoff["spec"])
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"
    world.coordinator.query("UPDATE migration SET copy_began_at = handoff_began_at"
                            " - interval '100 s'")
    assert writes() == (20 << 20, 10 << 20)
    world.coordinator.query("UPDATE migration SET copy_began_at = handoff_began_at"
                            " - interval '2 s'")
    dirty, written = writes()  # 520 MiB/s, where 125 MB/s can be sent
    assert dirty + written == pytest.approx(0.4 * 125e6, abs=2)
    assert written / dirty == pytest.approx(500 / 20, rel=1e-3)


def test_names_that_two_vms_share_become_ids(world, tmp_path):
    world.a1.add_vm("twin")
    world.b1.add_vm("twin")
    for host in (world.a1, world.b1):
        host.report()
    inventory = world.api.get("/v1/inventory")
    ids = {vm["id"] for vm in world.api.get("/v1/vms?name=twin")["items"]}
    assert ids | {"g1"} == {vm["name"] for vm in inventory["vms"]} and len(ids) == 2
    assert plan(tmp_path, inventory, {})["moves"] == []


def test_what_a_migration_will_take_is_not_free(world):
    before = world.api.get("/v1/inventory")
    world.create()
    after = world.api.get("/v1/inventory")
    memory = [by_name(found["hosts"])["b1"]["memory_free_bytes"] for found in (before, after)]
    rooms = [{sr["label"]: sr for sr in found["srs"]}["local-b1"]["free_bytes"]
             for found in (before, after)]
    assert memory == [8 * GIB, 7 * GIB]
    assert rooms[0] - rooms[1] == 8 * GIB  # two raw disks
    assert by_name(after["vms"])["g1"]["why_not"].startswith("migration ")


def test_hosts_that_take_nobody_are_marked(world):
    def marked():
        return [host["name"] for host in world.api.get("/v1/inventory")["hosts"]
                if host["maintenance"]]
    assert marked() == []
    world.api.post("/v1/hosts/b1/maintenance")
    assert marked() == ["b1"]
    world.api.request("DELETE", "/v1/hosts/b1/maintenance")
    world.api.post("/v1/pools/A/maintenance")
    assert marked() == ["a1"]
    world.coordinator.query("UPDATE host SET last_seen = now() - interval '1 hour'"
                            " WHERE name = 'b1'")
    assert marked() == ["a1", "b1"]


def test_a_vm_that_cannot_move_says_why(world):
    world.a1.add_vm("halted", state="halted")
    fixed = world.a1.add_vm("fixed")
    fixed["disks"][0].update(is_movable=False, why_not="it is a CD")
    world.a1.report()
    why = {name: vm["why_not"] for name, vm in by_name(world.api.get("/v1/inventory")["vms"]).items()}
    assert why["g1"] == ""
    assert "halted" in why["halted"] and why["fixed"] == "disk vda: it is a CD"


def test_a_token_of_a_pool_sees_its_own(world, tmp_path):
    api = world.coordinator.api(world.coordinator.make_token("of-b", "viewer", "--pool", "B"))
    inventory = api.get("/v1/inventory")
    assert [pool["name"] for pool in inventory["pools"]] == ["B"]
    assert [host["name"] for host in inventory["hosts"]] == ["b1"]
    assert inventory["vms"] == [] and [sr["label"] for sr in inventory["srs"]] == ["local-b1"]
    plan(tmp_path, inventory, {})
