"""The checker sees what is wrong: plans that were good are broken in one way each."""
import copy

import pytest
from crosspool_test import plan_checker, plan_instances


@pytest.fixture
def good(tool):
    _, inventory, request = plan_instances.instance(9)
    plan = tool.plan(inventory, request)
    assert plan_checker.problems(inventory, request, plan) == []
    return inventory, request, copy.deepcopy(plan)


def found(good, text):
    wrong = plan_checker.problems(*good)
    assert any(text in w for w in wrong), wrong


def test_a_rate_above_the_nic(good):
    for move in good[2]["moves"]:
        for rate in move["rates"]:
            rate["bytes_per_s"] *= 1.01
    found(good, "bytes/s of")


def test_a_move_that_is_too_short(good):
    rate = good[2]["moves"][3]["rates"][-1]
    rate["end_s"] -= 0.1 * (rate["end_s"] - rate["begin_s"])
    found(good, "bytes are not sent")


def test_a_move_without_its_handoff(good):
    good[2]["moves"][0]["end_s"] = good[2]["moves"][0]["rates"][-1]["end_s"]
    found(good, "ends before its handoff can be over")


def test_all_at_once(good):
    for move in good[2]["moves"]:
        by = move["begin_s"]
        move["begin_s"] -= by
        move["end_s"] -= by
        for rate in move["rates"]:
            rate["begin_s"] -= by
            rate["end_s"] -= by
    found(good, "too much at 0.000 s")
    found(good, "bytes/s of")


def test_a_vm_that_is_forgotten(good):
    good[2]["moves"].pop()
    found(good, "neither moves nor is refused")


def test_a_vm_that_goes_elsewhere(good):
    move = good[2]["moves"][0]
    move["to"] = next(h["name"] for h in good[0]["hosts"] if h["name"] not in (move["from"], move["to"]))
    found(good, f"{move['vm']}: ends on")


def test_a_vm_that_moves_and_is_refused(good):
    good[2]["refused"].append({"vm": good[2]["moves"][0]["vm"], "code": "x", "message": "x"})
    found(good, "is refused and moves")


def test_a_vm_that_is_not_there(good):
    good[2]["moves"][0]["from"] = good[2]["moves"][0]["to"]
    found(good, "is on ")


def test_a_makespan_that_is_not_the_last_end(good):
    good[2]["makespan_s"] -= 1
    found(good, "the last move ends at")


def test_a_bound_above_the_makespan(good):
    good[2]["bound"]["seconds"] = good[2]["makespan_s"] * 1.1
    found(good, "is above the makespan")


def test_a_host_without_the_network(good):
    good[0]["hosts"][1]["networks"] = ["other"]
    found(good, "has no network for lan")


def test_too_many_at_once(good):
    for host in good[0]["hosts"]:
        host["slots"] = 1
    found(good, "slots of")


def test_groups(good):
    moves = good[2]["moves"]
    same = [m["vm"] for m in moves if m["to"] == moves[0]["to"]]
    other = next(m["vm"] for m in moves if m["to"] != moves[0]["to"])
    good[1]["apart"] = [{"vms": same[:2]}]
    good[1]["together"] = [{"vms": [moves[0]["vm"], other]}]
    found(good, "shall be apart")
    found(good, "is not together")
