"""Impossible requests are explained and the rest is planned; malformed documents name the place."""
import copy

import pytest
from crosspool_test import plan_checker, plan_instances

GIB = plan_instances.GIB


@pytest.fixture
def small():
    """Two hosts in A with two VMs each, two in B."""
    hosts = [plan_instances.host(n, n[0].upper(), 10 ** 8, 32 * GIB, 4) for n in ("a0", "a1", "b0", "b1")]
    vms = [{"name": f"v{i}", "host": f"a{i % 2}", "memory_bytes": 4 * GIB, "networks": ["lan"],
            "disks": [{"sr": f"sr-a{i % 2}", "size_bytes": GIB, "allocated_bytes": GIB}]}
           for i in range(4)]
    request = {"evacuate_pools": ["A"], "mapping": {"networks": {"lan": "lan"},
                                                    "srs": {"local": "local"}}}
    return plan_instances.whole(hosts, vms), request


def refused(tool, small, moved):
    """The refusals; the rest has a good plan of that many moves."""
    plan = tool.plan(*small)
    assert plan_checker.problems(*small, plan) == []
    assert len(plan["moves"]) == moved
    return {r["vm"]: r for r in plan["refused"]}


def test_no_room_at_all(tool, small):
    small[0]["vms"][0]["memory_bytes"] = 64 * GIB
    why = refused(tool, small, 3)["v0"]
    assert why["code"] == "no-host"
    assert "2 of 4 hosts (memory): it needs 68719476736 bytes of memory" in why["message"]
    assert "2 of 4 hosts (not-a-destination): host a0 is emptied itself" in why["message"]


def test_no_space_on_the_sr(tool, small):
    for sr in small[0]["srs"]:
        sr["free_bytes"] = GIB + 8 * (1 << 20)
    small[0]["vms"][3]["disks"][0].update(size_bytes=8 * GIB, allocated_bytes=8 * GIB)
    why = refused(tool, small, 2)
    assert "(sr-room): the SR that its disks go to" in why["v3"]["message"]


def test_thick_disks_need_their_size_and_thin_ones_what_is_allocated(tool, small):
    for sr in small[0]["srs"]:
        sr["free_bytes"] = 3 * GIB
    for vm in small[0]["vms"]:
        vm["disks"][0]["size_bytes"] = 16 * GIB
    assert refused(tool, small, 4) == {}
    for sr in small[0]["srs"]:
        sr["thin"] = False
    assert len(refused(tool, small, 0)) == 4


def test_no_common_cpu(tool, small):
    for host in small[0]["hosts"]:
        host["features"] = "1c=00000001"
    small[0]["vms"][1]["features"] = "1c=00002001"
    why = refused(tool, small, 3)["v1"]
    assert "(cpu-features): the CPU of host b0 lacks 1 features of the guest (cx16)" in why["message"]


def test_another_vendor(tool, small):
    for host in small[0]["hosts"]:
        host["cpu_vendor"] = "AuthenticAMD"
    small[0]["vms"][1]["cpu_vendor"] = "GenuineIntel"
    assert "the CPU of host b0 is of AuthenticAMD, the guest's of GenuineIntel" in \
        refused(tool, small, 3)["v1"]["message"]


def test_an_unmapped_network(tool, small):
    small[0]["vms"][2]["networks"] = ["dmz"]
    assert "network dmz has no counterpart in pool B; map it in /mapping/networks" in \
        refused(tool, small, 3)["v2"]["message"]


def test_an_unmapped_sr(tool, small):
    del small[1]["mapping"]["srs"]
    assert "SR sr-a0 is not reached by host b0; map it in /mapping/srs" in \
        refused(tool, small, 0)["v0"]["message"]


def test_a_deadline_in_the_past(tool, small):
    small[1]["deadline_s"] = -60
    plan = tool.plan(*small)
    assert plan["problems"] == ["the deadline is in the past (60 s ago); name a later one. The plan "
                                "below ignores it"]
    assert len(plan["moves"]) == 4


def test_a_deadline_that_cannot_be_met(tool, small):
    small[1]["deadline_s"] = 5
    assert "no plan can meet the deadline of 5 s: at least" in tool.plan(*small)["problems"][0]


def test_a_destination_that_is_also_a_source(tool, small):
    small[1]["destination_hosts"] = ["a1", "b0"]
    small[1]["vms"] = [{"vm": "v0", "host": "a1"}]
    why = refused(tool, small, 3)["v0"]
    assert why["code"] == "not-a-destination"
    assert "it shall go to host a1, but host a1 is emptied itself" in why["message"]


def test_a_vm_whose_destination_is_where_it_is(tool, small):
    small[1]["evacuate_pools"] = []
    small[1]["vms"] = [{"vm": "v0", "host": "a0"}]
    assert refused(tool, small, 0)["v0"]["code"] == "same-host"


def test_a_guest_that_writes_faster_than_the_way_is_wide(tool, small):
    small[0]["vms"][0]["dirty_bytes_per_s"] = 2 * 10 ** 8
    assert "the guest writes 200000000 bytes/s, which the way to host b0 cannot carry" in \
        refused(tool, small, 3)["v0"]["message"]


def test_a_cycle_without_a_free_slot_anywhere(tool, small):
    for host in small[0]["hosts"]:
        host["memory_free_bytes"] = 0
    request = {"vms": [{"vm": "v0", "host": "a1"}, {"vm": "v1", "host": "a0"}],
               "mapping": {"srs": {"local": "local"}}}
    why = refused(tool, (small[0], request), 0)
    assert set(why) == {"v0", "v1"}
    assert "no host has room to hold one of them for a while" in why["v0"]["message"]


def test_without_helpers_a_cycle_is_refused(tool, small):
    for host in small[0]["hosts"][:2]:
        host["memory_free_bytes"] = 0
    request = {"vms": [{"vm": "v0", "host": "a1"}, {"vm": "v1", "host": "a0"}],
               "mapping": {"networks": {"lan": "lan"}, "srs": {"local": "local"}}}
    assert refused(tool, (small[0], request), 3) == {}
    request["without_helpers"] = True
    assert "or allow helper moves" in refused(tool, (small[0], request), 0)["v0"]["message"]


def test_a_group_that_cannot_be_together(tool, small):
    small[1]["together"] = [{"vms": ["v0", "v1"]}]
    small[1]["vms"] = [{"vm": "v0", "host": "b0"}, {"vm": "v1", "host": "b1"}]
    assert refused(tool, small, 2)["v0"]["code"] == "together"


def test_a_vm_that_cannot_move_says_why(tool, small):
    small[0]["vms"][0]["why_not"] = "it has a passed-through device"
    assert refused(tool, small, 3)["v0"]["message"] == "it has a passed-through device"


BROKEN = [
    (lambda i, r: i["hosts"][1].pop("memory_free_bytes"),
     "inventory: /hosts/1/memory_free_bytes: is missing"),
    (lambda i, r: i["hosts"][1].update(memory_free_bytes="8 GiB"),
     "inventory: /hosts/1/memory_free_bytes: expected an integer of 0 to"),
    (lambda i, r: i["hosts"][2].update(send_bytes_per_s=0),
     "inventory: /hosts/2/send_bytes_per_s: expected an integer of 1 to"),
    (lambda i, r: i["vms"][3].update(speed=1), "inventory: /vms/3/speed: unknown key"),
    (lambda i, r: i["vms"][3].update(host="a9"),
     'inventory /vms/3/host: expected the name of a host, there is no "a9"'),
    (lambda i, r: i["vms"][3]["disks"][0].update(sr="sr-b0"),
     'inventory /vms/3/disks/0/sr: expected an SR that host "a1" reaches, "sr-b0" is none'),
    (lambda i, r: i["hosts"][1].update(pool="C"),
     'inventory /hosts/1/pool: expected the name of a pool, there is no "C"'),
    (lambda i, r: i["vms"][2].update(name="v1"),
     'inventory /vms/2/name: expected a name that no other vm has, "v1" is there twice'),
    (lambda i, r: i["vms"][1].update(features="1c=xyz"), "inventory /vms/1/features: "),
    (lambda i, r: i.update(links=[{"from": "A", "to": "B", "bytes_per_s": 1}] * 2),
     "inventory /links/1: expected one link for each direction"),
    (lambda i, r: r.update(evacuate_hosts=["x"]),
     'request /evacuate_hosts/0: expected the name of a host, there is no "x"'),
    (lambda i, r: r.update(vms=[{"vm": "nobody"}]),
     'request /vms/0/vm: expected the name of a VM, there is no "nobody"'),
    (lambda i, r: r.update(slots=0), "request: /slots: expected an integer of 1 to"),
    (lambda i, r: r.update(running=[{"vm": "v0", "host": "b0", "disks": [], "memory_left_bytes": 1}]),
     "request /running/0/disks: expected 1 items, one for each disk"),
    (lambda i, r: r.update(running=[{"vm": "v0", "host": "a0", "memory_left_bytes": 1,
                                     "disks": [{"left_bytes": 1}]}]),
     "request /running/0/host: expected another host than the one it is on"),
    (lambda i, r: r.update(together=[{"vms": ["v0"]}, {"vms": ["v0"]}]),
     "request /together/1/vms/0: expected a VM that is in one such group only"),
]


@pytest.mark.parametrize("breaks, text", BROKEN, ids=[t for _, t in BROKEN])
def test_malformed(tool, small, breaks, text):
    inventory, request = copy.deepcopy(small)
    breaks(inventory, request)
    tool.refuses(inventory, request, text)


def test_no_json(tool, small):
    tool.refuses("{", small[1], "inventory: not valid JSON at line 1")
    tool.refuses(small[0], '{"slots": 1, "slots": 2}', "request: not valid JSON")


def test_command_line(tool, small):
    for more, text in ((["--cap", "3"], "unknown option --cap"), (["--request", "x"], "given twice")):
        status, out, err = tool.run("plan", *small, *more)
        assert (status, out) == (2, "") and text in err
    status, _, err = tool.run("simulate", *small, "--cap", "0")
    assert status == 2 and "--cap: expected an integer of 1 to" in err
    status, _, err = tool.run("plot", *small)
    assert status == 2 and "expected a command: plan, simulate" in err
