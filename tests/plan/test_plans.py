"""Plans of many shapes keep every constraint, by a checker that shares nothing with the planner."""
import copy
import json
import re

import pytest
from conftest import ROOT
from crosspool_test import plan_checker, plan_instances

GIB = plan_instances.GIB


def checked(tool, inventory, request):
    plan = tool.plan(inventory, request)
    assert plan_checker.problems(inventory, request, plan) == []
    return plan


@pytest.mark.parametrize("seed", range(10))
def test_full_hosts_in_a_circle_are_helped(tool, seed):
    inventory, request = plan_instances.full_cycle(seed)
    plan = checked(tool, inventory, request)
    assert not plan["refused"]
    assert any(m["is_helper"] for m in plan["moves"])


def test_the_same_request_gives_the_same_text(tool):
    _, inventory, request = plan_instances.instance(14)
    assert tool.run("plan", inventory, request, "--json") == \
        tool.run("plan", inventory, request, "--json")


def test_a_plan_for_people_names_makespan_bound_gap_and_bottleneck(tool):
    _, inventory, request = plan_instances.instance(0)
    status, out, _ = tool.run("plan", inventory, request)
    assert status == 0
    assert re.search(r"106 moves, makespan [\d.]+ s, lower bound [\d.]+ s, gap [\d.]+%", out)
    assert "bottleneck: the link from pool A to pool B" in out


def test_the_example_of_the_documentation(tool):
    text = (ROOT / "docs" / "planning.md").read_text()
    inventory, request = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.S)[:2])
    plan = checked(tool, inventory, request)
    assert [r["vm"] for r in plan["refused"]] == []
    assert {m["vm"] for m in plan["moves"]} == {"web", "db"}


def test_evacuation_of_a_host_within_its_pool(tool):
    hosts = [plan_instances.host(f"h{i}", "A", 10 ** 8, 32 * GIB, 4) for i in range(3)]
    vms = [{"name": f"v{i}", "host": f"h{i % 3}", "memory_bytes": 4 * GIB, "disks": []}
           for i in range(9)]
    inventory = plan_instances.whole(hosts, vms, pools=("A",))
    plan = checked(tool, inventory, {"evacuate_hosts": ["h0"], "exclude": ["v3"]})
    assert {m["vm"] for m in plan["moves"]} == {"v0", "v6"}
    assert {m["to"] for m in plan["moves"]} == {"h1", "h2"}


def test_groups_priorities_and_pinned(tool):
    hosts = [plan_instances.host(f"h{i}", "A", 10 ** 8, 32 * GIB, 1) for i in range(4)]
    vms = [{"name": f"v{i}", "host": "h0", "memory_bytes": GIB, "disks": []} for i in range(6)]
    inventory = plan_instances.whole(hosts, vms, pools=("A",))
    request = {"evacuate_hosts": ["h0"], "pinned": ["v5"], "apart": [{"vms": ["v0", "v1", "v2"]}],
               "together": [{"vms": ["v3", "v4"]}], "vms": [{"vm": "v4", "priority": 10}]}
    plan = checked(tool, inventory, request)
    assert [(r["vm"], r["code"]) for r in plan["refused"]] == [("v5", "pinned")]
    assert min(plan["moves"], key=lambda m: m["begin_s"])["vm"] == "v4"


def running_half(inventory, request, plan, now):
    """The inventory and request at `now` in the middle of the plan, disks sent before memory."""
    inventory, request = copy.deepcopy(inventory), copy.deepcopy(request)
    vms = {v["name"]: v for v in inventory["vms"]}
    hosts = {h["name"]: h for h in inventory["hosts"]}
    ended = {m["vm"]: m for m in plan["moves"] if m["end_s"] <= now}
    running = [m for m in plan["moves"] if m["begin_s"] < now < m["end_s"]]
    for move in list(ended.values()) + running:
        hosts[move["to"]]["memory_free_bytes"] -= vms[move["vm"]]["memory_bytes"]
    for move in ended.values():
        hosts[move["from"]]["memory_free_bytes"] += vms[move["vm"]]["memory_bytes"]
        vms[move["vm"]]["host"] = move["to"]
        for disk in vms[move["vm"]]["disks"]:
            disk["sr"] = f"sr-{move['to']}"
    request["vms"] = [v for v in request["vms"]
                      if v["vm"] not in ended and v["vm"] not in {m["vm"] for m in running}]
    request["running"] = [
        {"vm": m["vm"], "host": m["to"], "measured_bytes_per_s": 0,
         "disks": [{"left_bytes": d["allocated_bytes"] // 2} for d in vms[m["vm"]]["disks"]],
         "memory_left_bytes": vms[m["vm"]]["memory_bytes"]} for m in running]
    return inventory, request


@pytest.mark.parametrize("seed", [1, 2, 9, 14])
def test_plans_again_in_the_middle(tool, seed):
    _, inventory, request = plan_instances.instance(seed)
    plan = checked(tool, inventory, request)
    if any(m["is_helper"] for m in plan["moves"]):
        pytest.skip("a VM between its two moves is on a host that the request does not know")
    for v, m in zip(request["vms"], request["vms"]):
        v["host"] = next(x["to"] for x in plan["moves"] if x["vm"] == m["vm"])
    now = plan["makespan_s"] / 2
    later_inventory, later_request = running_half(inventory, request, plan, now)
    assert later_request["running"]
    later = checked(tool, later_inventory, later_request)
    assert not later["refused"]
    assert {m["vm"] for m in later["moves"] if m["is_running"]} == \
        {r["vm"] for r in later_request["running"]}
    assert all(m["begin_s"] == 0 for m in later["moves"] if m["is_running"])


def test_a_measured_rate_holds_for_the_rest_of_a_running_move(tool):
    hosts = [plan_instances.host(f"h{i}", "A", 10 ** 9, 0, 4) for i in range(2)]
    vms = [{"name": "v", "host": "h0", "memory_bytes": 8 * GIB, "disks": []}]
    inventory = plan_instances.whole(hosts, vms, pools=("A",))
    request = {"running": [{"vm": "v", "host": "h1", "disks": [], "memory_left_bytes": 10 ** 9,
                            "measured_bytes_per_s": 10 ** 8}], "handoff_ms": 0}
    assert checked(tool, inventory, request)["makespan_s"] == pytest.approx(10, rel=1e-3)


# -- the simulation

@pytest.mark.parametrize("seed", [0, 6, 7, 13, 14])
def test_simulated_as_planned(tool, seed):
    _, inventory, request = plan_instances.instance(seed)
    result = tool.simulate(inventory, request)
    assert result["plan"]["unfinished"] == 0
    assert result["plan"]["makespan_s"] == pytest.approx(result["planned_makespan_s"], rel=1e-3)
    assert max(p["share"] for p in result["plan"]["peaks"]) < 1.0001
    assert result["capped"]["cap"] == 3
    assert result["capped"]["most_at_once"] <= 3


def test_slower_reality_is_simulated(tool):
    _, inventory, request = plan_instances.instance(1)
    actual = copy.deepcopy(inventory)
    for host in actual["hosts"]:
        host["send_bytes_per_s"] //= 2
        host["receive_bytes_per_s"] //= 2
    result = tool.simulate(inventory, request, "--actual", tool.write("actual.json", actual))
    assert result["plan"]["unfinished"] == 0
    assert result["plan"]["makespan_s"] > 1.5 * result["planned_makespan_s"]


def test_an_actual_inventory_of_other_hosts_is_refused(tool):
    _, inventory, request = plan_instances.instance(1)
    actual = copy.deepcopy(inventory)
    actual["vms"].pop()
    request["vms"].pop()
    status, _, err = tool.run("simulate", inventory, request, "--actual",
                              tool.write("actual.json", actual))
    assert status == 2
    assert "expected the same hosts, SRs, links and VMs" in err
