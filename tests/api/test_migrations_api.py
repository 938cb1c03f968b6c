"""Creating migrations over REST: what is refused, with which status, and that nothing is changed by
it; dry runs; reservations; mapping sets; lists."""
import threading

import pytest

from crosspool_test.fake_host import GIB
from test_migration import World


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


def count(world, table="migration"):
    return int(world.coordinator.query(f"SELECT count(*) FROM {table}")[0][0])


def codes(answer):
    return sorted(blocker["code"] for blocker in answer["blockers"])


def dry_run(world, **more):
    return world.api.post("/v1/migrations?dry_run=true", world.request(**more), expect=200)


def test_a_dry_run_shows_the_effective_map_and_creates_nothing(world):
    answer = dry_run(world, mapping={"networks": {"lan-a": "lan-b"},
                                     "srs": {"local-a1": "local-b1"},
                                     "disks": {"vdb": {"format": "qcow2"}}})
    assert answer["can_move"] is True and answer["blockers"] == []
    assert answer["host"]["name"] == "b1"
    assert answer["mapping"]["disks"] == {"vda": {"sr": "local-b1", "format": "raw"},
                                          "vdb": {"sr": "local-b1", "format": "qcow2"}}
    assert answer["mapping"]["vifs"] == {"52:54:00:00:00:01": "lan-b"}
    assert answer["predicted"] == {"disk_bytes": 8 * GIB, "allocated_bytes": 2 * GIB,
                                   "memory_bytes": GIB, "send_bytes": 3 * GIB, "least_s": None,
                                   "seconds": None, "pause_ms": None, "unknown_because":
                                   "no move from host a1 to host b1 was measured yet"}
    capped = dry_run(world, bandwidth_bytes_per_s=GIB)
    assert capped["predicted"]["least_s"] == 2
    assert count(world) == count(world, "step") == count(world, "ledger") == 0


def test_all_blockers_come_at_once_and_nothing_is_created(world):
    world.domain["state"] = "paused"
    world.domain["disks"][1].update(is_movable=False, why_not="it is a CD-ROM")
    world.a1.report()
    world.b1.inventory["memory_free_bytes"] = 0
    world.b1.inventory["srs"][0]["free_bytes"] = 0
    world.b1.inventory["hypervisor"] = "libxl"
    world.b1.report()
    wanted = ["disk-not-movable", "hypervisor-differs", "memory", "network-not-mapped", "sr-room",
              "vm-not-running"]
    body = {"mapping": {"srs": {"local-a1": "local-b1"}}}
    assert codes(dry_run(world, **body)) == wanted
    answer = world.api.request("POST", "/v1/migrations", world.request(**body))
    assert answer.status == 409
    assert answer.headers.get_content_type() == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:crosspool:problem:conflict" and problem["status"] == 409
    assert "6 blockers" in problem["detail"]
    assert codes(problem) == wanted
    memory = next(b for b in problem["blockers"] if b["code"] == "memory")
    assert memory["object"] == "host b1"
    assert (memory["needed"], memory["available"]) == (f"{GIB} bytes", "0 bytes")
    assert all(b["fix"] and b["message"] for b in problem["blockers"])
    assert count(world) == 0


def make_xen(world, source, destination):
    """Both hosts run Xen; each has the CPU word 1c that is given."""
    for host, word in ((world.a1, source), (world.b1, destination)):
        features = f"1d=078bfbff 1c={word:08x}"
        host.inventory.update(hypervisor="libxl", accelerator="xen", version="4.17.7", guest_types=[
            {"type": "pv", "is_live": False, "why_not_live": "this Xen has no shadow paging",
             "features": features},
            {"type": "pvh", "is_live": True, "why_not_live": "", "features": features}])
    world.domain.update(type="pvh", features=f"1d=078bfbff 1c={source:08x}", why_not="")
    world.a1.report()
    world.b1.report()


def test_hosts_and_vms_show_what_decides_where_a_vm_can_run(world):
    assert world.api.get("/v1/hosts/a1")["guest_types"] == []
    assert (world.vm()["type"], world.vm()["features"], world.vm()["why_not"]) == ("", "", "")
    make_xen(world, 0x2001, 0x200)
    assert world.api.get("/v1/hosts/a1")["guest_types"] == world.a1.inventory["guest_types"]
    world.domain["why_not"] = "it has a PCI device of its host"
    world.a1.report()
    vm = world.vm()
    assert (vm["type"], vm["features"]) == ("pvh", "1d=078bfbff 1c=00002001")
    assert vm["why_not"] == "it has a PCI device of its host"
    assert codes(dry_run(world)) == ["cpu-features", "vm-not-movable"]


def test_cpu_features_that_the_destination_lacks_are_named(world):
    make_xen(world, 0x2001, 0x200)
    blocker, = dry_run(world)["blockers"]
    assert (blocker["code"], blocker["object"]) == ("cpu-features", "host b1")
    assert blocker["needed"] == "sse3, cx16" and "sse3, cx16" in blocker["message"]
    make_xen(world, 0x2001, 0x2201)
    assert dry_run(world)["can_move"] is True


def networks(world):
    return {n["name"]: n["why_not"] for n in world.api.get("/v1/networks")["items"]}


def test_a_network_whose_bridge_is_missing_takes_no_vif_until_it_is_there(world):
    network, = world.b1.inventory["networks"]
    network["why_not"] = "the host has no bridge br0"
    world.b1.report()
    assert networks(world) == {"lan-a": "", "lan-b": "the host has no bridge br0"}
    blocker, = dry_run(world)["blockers"]
    assert (blocker["code"], blocker["object"]) == ("network-not-usable", "vif 52:54:00:00:00:01")
    assert "lan-b" in blocker["message"] and "no bridge br0" in blocker["message"]
    del network["why_not"]
    world.b1.report()
    assert networks(world) == {"lan-a": "", "lan-b": ""}
    assert dry_run(world)["can_move"] is True


def test_a_vm_with_two_vifs_of_one_mac_stays_and_hides_no_other(world):
    world.domain["vifs"].append(dict(world.domain["vifs"][0]))
    world.domain["disks"].append(dict(world.domain["disks"][0]))
    world.domain["why_not"] = "two of its VIFs have the MAC 52:54:00:00:00:01"
    world.a1.add_vm("g2")
    world.a1.report()
    assert sorted(vm["name"] for vm in world.api.get("/v1/vms")["items"]) == ["g1", "g2"]
    assert codes(dry_run(world)) == ["vm-not-movable"]
    assert "00:00:00:01" in dry_run(world)["blockers"][0]["message"]


def test_a_pv_vm_is_offered_to_move_suspended(world):
    make_xen(world, 0x2001, 0x2001)
    world.domain["type"] = "pv"
    world.a1.report()
    blocker, = dry_run(world)["blockers"]
    assert (blocker["code"], blocker["object"]) == ("vm-not-live", "vm g1")
    assert "no shadow paging" in blocker["message"] and '"mode": "suspend"' in blocker["fix"]
    assert codes(world.api.post("/v1/migrations", world.request(), expect=409)) == ["vm-not-live"]
    migration = world.create(mode="suspend")
    assert world.show(migration)["mode"] == "suspend"
    assert world.b1.take("prepare")["spec"]["mode"] == "suspend"
    world.b1.finish("prepare")
    assert world.a1.take("transfer")["spec"]["mode"] == "suspend"


def test_the_mode_is_live_when_none_is_named(world):
    migration = world.create()
    assert world.show(migration)["mode"] == "live"
    assert world.b1.take("prepare")["spec"]["mode"] == "live"


def test_the_mode_lasts_in_the_queue(world):
    make_xen(world, 0x2001, 0x2001)
    world.domain["type"] = "pv"
    for number in range(4):
        world.a1.add_vm(f"busy{number}", disks=0)
    world.a1.report()
    busy = [world.create(vm=f"busy{number}") for number in range(4)]
    waiting = world.create(mode="suspend")
    assert world.state(waiting) == "queued" and world.show(waiting)["mode"] == "suspend"
    world.cancel(busy[0])
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    world.wait_state(waiting, "preparing", world.a1, world.b1)
    assert world.show(waiting)["mode"] == "suspend"


UNKNOWN = [
    ({"vm": "nobody"}, 'VM "nobody" does not exist'),
    ({"vm": "11111111-2222-4333-8444-555555555555"}, "does not exist"),
    ({"destination": {"pool": "Z"}}, 'pool "Z" does not exist'),
    ({"destination": {"pool": "B", "host": "z9"}}, 'host "z9" does not exist'),
    ({"destination": {"pool": "B", "host": "a1"}}, 'pool "B" has no host "a1"'),
    ({"mapping_set": "none"}, 'mapping set "none" does not exist'),
]


def test_unknown_objects_are_404_and_named(world):
    for change, words in UNKNOWN:
        problem = world.api.post("/v1/migrations", world.request(**change), expect=404)
        assert words in problem["detail"]
    assert count(world) == 0


MALFORMED = [
    ({"surprise": 1}, "/surprise: unknown key"),
    ({"vm": 5}, "/vm"),
    ({"vm": ""}, "/vm"),
    ({"vm": "x" * 200}, "/vm"),
    ({"destination": {"host": "b1"}}, "/destination/pool: is missing"),
    ({"destination": {"pool": "B", "rack": "1"}}, "/destination/rack: unknown key"),
    ({"mapping": []}, "/mapping"),
    ({"mapping": {"nets": {}}}, "/mapping: /nets: unknown key"),
    ({"mapping": {"disks": {"vda": {"format": "vmdk"}}}}, "/disks/vda: /format"),
    ({"mode": "cold"}, '/mode: expected one of "live", "suspend"'),
    ({"mode": True}, "/mode"),
    ({"stall_limit_ms": 99}, "/stall_limit_ms: expected an integer of 100"),
    ({"stall_limit_ms": 2.5}, "/stall_limit_ms"),
    ({"parallel_disks": 0}, "/parallel_disks"),
    ({"bandwidth_bytes_per_s": -1}, "/bandwidth_bytes_per_s"),
]


def test_malformed_requests_are_400_and_say_where(world):
    for change, words in MALFORMED:
        problem = world.api.post("/v1/migrations", world.request(**change), expect=400)
        assert words in problem["detail"], (change, problem)
    assert count(world) == 0


def test_unknown_query_parameters_are_400(world):
    for path in ("/v1/migrations?dryrun=true", "/v1/migrations?dry_run=yes"):
        world.api.post(path, world.request(), expect=400)
    for path in ("/v1/migrations?state=busy", "/v1/migrations?limit=0", "/v1/vms?cursor=x",
                 "/v1/hosts?pol=A"):
        world.api.get(path, expect=400)
    assert count(world) == 0


def test_a_name_that_two_vms_have_asks_for_the_id(world):
    world.a1.add_vm("g1")
    world.a1.report()
    problem = world.api.post("/v1/migrations", world.request(), expect=409)
    assert 'more than one VM is called "g1"' in problem["detail"]
    ids = [vm["id"] for vm in world.api.get("/v1/vms?name=g1")["items"]]
    world.create(vm=ids[0])


def test_a_vm_has_one_active_migration(world):
    first = world.create()
    problem = world.api.post("/v1/migrations", world.request(), expect=409)
    assert codes(problem) == ["vm-migrating"]
    assert first in problem["blockers"][0]["message"]
    world.cancel(first)
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    world.create()


def test_creates_at_the_same_time_make_one_migration(world):
    statuses = []

    def create():
        statuses.append(world.api.request("POST", "/v1/migrations", world.request()).status)
    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202] + [409] * 7
    assert count(world) == 1


def test_a_committed_vm_does_not_move_on_before_it_is_cleaned(world):
    migration, _ = world.to_cleaning()
    world.b1.report()
    back = {"vm": world.vm(pool="B")["id"], "destination": {"pool": "A", "host": "a1"},
            "mapping": {"networks": {"lan-b": "lan-a"}, "srs": {"local-b1": "local-a1"}}}
    assert codes(world.api.post("/v1/migrations", back, expect=409)) == ["vm-migrating"]
    world.a1.report()
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"
    world.api.post("/v1/migrations", back, expect=202)


def test_memory_and_room_of_other_migrations_are_not_free(world):
    world.b1.inventory["memory_free_bytes"] = 2 * GIB - 1
    world.b1.sr["free_bytes"] = 12 * GIB - 1
    world.b1.report()
    world.a1.add_vm("g2", disks=1)
    world.a1.report()
    first = world.create()
    problem = world.api.post("/v1/migrations", world.request(vm="g2"), expect=409)
    assert codes(problem) == ["memory", "sr-room"]
    room = next(b for b in problem["blockers"] if b["code"] == "sr-room")
    assert room["available"] == f"{4 * GIB - 1} bytes"
    # what the first has written already is not reserved twice
    spec = world.b1.take("prepare")["spec"]
    world.b1.sr["vdis"] += [{"id": d["destination"]["vdi"], "format": "raw",
                             "size_bytes": 4 * GIB, "allocated_bytes": 4 * GIB}
                            for d in spec["disks"]]
    world.b1.sr["free_bytes"] = 4 * GIB
    world.b1.inventory["memory_free_bytes"] = 2 * GIB
    world.b1.report()
    assert world.state(first) == "preparing"
    world.create(vm="g2")


def test_rooms_are_not_given_twice_to_creates_at_the_same_time(world):
    for number in range(6):
        world.a1.add_vm(f"m{number}", disks=1)
    world.b1.sr["free_bytes"] = 9 * GIB
    world.a1.report()
    world.b1.report()
    statuses = []

    def create(number):
        body = world.request(vm=f"m{number}")
        statuses.append(world.api.request("POST", "/v1/migrations", body).status)
    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202, 202] + [409] * 4


def test_with_only_a_pool_the_host_with_most_memory_is_chosen(world):
    b2 = world.host("B", "b2")
    b2.inventory["memory_free_bytes"] = 12 * GIB
    b2.report()
    mapping = {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b2"}}
    migration = world.create(destination={"pool": "B"}, mapping=mapping)
    assert world.show(migration)["destination"]["host_name"] == "b2"
    b2.take("prepare")
    # b1 has no SR of that name: with b2 away there is none
    assert codes(dry_run(world, destination={"pool": "B", "host": "b1"}, mapping=mapping)) == \
        ["sr-unknown", "sr-unknown", "vm-migrating"]


def test_blockers_that_came_up_in_the_queue_end_it_with_the_reason(world):
    for number in range(4):
        world.a1.add_vm(f"busy{number}", disks=0)
    world.a1.report()
    busy = [world.create(vm=f"busy{number}") for number in range(4)]
    waiting = world.create()
    assert world.state(waiting) == "queued"
    world.domain["state"] = "shutdown"
    world.a1.report()
    world.cancel(busy[0])
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    world.wait_state(waiting, "failed", world.a1, world.b1)
    ended = world.show(waiting)
    assert ended["error"]["code"] == "conflict" and "is shutdown" in ended["error"]["message"]
    assert ended["steps"] == [] and world.leftovers() == []


# ---- mapping sets

def test_a_mapping_set_is_used_and_overridden_by_the_request(world):
    made = world.api.post("/v1/mapping-sets", {"name": "a-to-b", "mapping": {
        "networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "nowhere"},
        "disks": {"vdz": {"sr": "local-b1"}}}}, expect=201)
    assert codes(dry_run(world, mapping={}, mapping_set="a-to-b")) == ["sr-unknown", "sr-unknown"]
    answer = dry_run(world, mapping={"srs": {"local-a1": "local-b1"}}, mapping_set=made["id"])
    assert answer["can_move"] is True
    assert answer["mapping"]["srs"] == {"local-a1": "local-b1"}
    wrong = dry_run(world, mapping={"srs": {"local-a1": "local-b1"},
                                    "disks": {"vdy": {"sr": "local-b1"}}}, mapping_set="a-to-b")
    assert codes(wrong) == ["unknown-disk"], "the request's own words must mean something"


def test_mapping_sets_are_made_shown_replaced_and_removed(world):
    api = world.api
    body = {"name": "s1", "mapping": {"srs": {"x": "y"}}}
    made = api.post("/v1/mapping-sets", body, expect=201)
    assert made["mapping"]["srs"] == {"x": "y"}
    assert "exists already" in api.post("/v1/mapping-sets", body, expect=409)["detail"]
    assert api.get("/v1/mapping-sets/s1") == made
    other = {"name": "s2", "mapping": {"networks": {"n": "m"}}}
    replaced = api.put(f"/v1/mapping-sets/{made['id']}", other)
    assert (replaced["id"], replaced["name"]) == (made["id"], "s2")
    assert replaced["mapping"]["srs"] == {}
    api.put("/v1/mapping-sets/s2", {"name": "s2", "mapping": {"netz": {}}}, expect=400)
    assert api.get("/v1/mapping-sets")["items"] == [replaced]
    api.delete("/v1/mapping-sets/s2", expect=204)
    api.get("/v1/mapping-sets/s2", expect=404)
    api.delete("/v1/mapping-sets/s2", expect=404)


# ---- lists

def test_lists_come_in_pages(world):
    for number in range(7):
        world.a1.add_vm(f"p{number}", disks=0)
    world.a1.report()
    seen, path = [], "/v1/vms?limit=3"
    sizes = []
    while path:
        page = world.api.get(path)
        seen += [vm["name"] for vm in page["items"]]
        sizes.append(len(page["items"]))
        path = page["next"] and f"/v1/vms?limit=3&cursor={page['next']}"
    assert sorted(seen) == sorted(["g1", *(f"p{n}" for n in range(7))])
    assert sizes == [3, 3, 2]
    assert world.api.get("/v1/vms?limit=8")["next"] is None


def test_migrations_are_listed_newest_first_and_by_state(world):
    names = [f"p{number}" for number in range(3)]
    for name in names:
        world.a1.add_vm(name, disks=0)
    world.a1.report()
    made = [world.create(vm=name) for name in names]
    world.cancel(made[0])
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    listed = world.api.get("/v1/migrations")["items"]
    assert [m["id"] for m in listed] == made[::-1]
    first = world.api.get("/v1/migrations?limit=2")
    rest = world.api.get(f"/v1/migrations?limit=2&cursor={first['next']}")
    assert [m["id"] for m in first["items"] + rest["items"]] == made[::-1]
    active = world.api.get("/v1/migrations?state=active")["items"]
    assert [m["id"] for m in active] == made[:0:-1]
    cancelled = world.api.get("/v1/migrations?state=cancelled")["items"]
    assert [m["id"] for m in cancelled] == made[:1]
    assert world.api.get(f"/v1/migrations/{made[0]}") == cancelled[0]
    world.api.get("/v1/migrations/none", expect=404)
    world.api.get("/v1/migrations/11111111-2222-4333-8444-555555555555", expect=404)
    world.cancel("11111111-2222-4333-8444-555555555555", expect=404)


def test_hosts_show_what_they_reported_and_whether_they_are_up(world):
    hosts = {host["name"]: host for host in world.api.get("/v1/hosts")["items"]}
    assert hosts["a1"]["state"] == "up" and hosts["a1"]["hypervisor"] == "qemu"
    assert world.api.get("/v1/hosts/a1") == world.api.get(f"/v1/hosts/{hosts['a1']['id']}")
    world.coordinator.query("UPDATE host SET last_seen = now() - interval '1 h' WHERE name = 'a1'")
    assert world.api.get("/v1/hosts/a1")["state"] == "lost"
    world.api.get("/v1/hosts/none", expect=404)
    srs = {sr["name"]: sr for sr in world.api.get("/v1/srs")["items"]}
    assert [host["name"] for host in srs["local-a1"]["hosts"]] == ["a1"]


def test_an_sr_that_two_hosts_of_a_pool_reach_is_one(world):
    a2 = world.host("A", "a2")
    a2.inventory["srs"] = [dict(world.a1.sr)]
    a2.report()
    srs = [sr for sr in world.api.get("/v1/srs")["items"] if sr["name"] == "local-a1"]
    assert [[h["name"] for h in sr["hosts"]] for sr in srs] == [["a1", "a2"]]
    a2.inventory["srs"] = []
    a2.report()
    srs = [sr for sr in world.api.get("/v1/srs")["items"] if sr["name"] == "local-a1"]
    assert [[h["name"] for h in sr["hosts"]] for sr in srs] == [["a1"]]
    assert world.vm()["disks"][0]["sr_name"] == "local-a1"
