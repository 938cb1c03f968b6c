"""What `bench/run plan` measures but for its times, as a test: each plan keeps every constraint, and
plans are near what no plan can beat. 120 instances; with CROSSPOOL_FULL=1 the bench's 1,000."""
import os
import statistics

from crosspool_test import plan_checker, plan_instances

INSTANCES = 1000 if os.environ.get("CROSSPOOL_FULL") == "1" else 120


def problems(inventory, request, plan):
    """Of the whole request: nothing broken, nothing left out."""
    return plan_checker.problems(inventory, request, plan) + plan["refused"] + plan["problems"]


def test_plans_are_near_their_bound(tool):
    broken, ratios = {}, []
    for seed in range(INSTANCES):
        _, inventory, request = plan_instances.instance(seed)
        plan = tool.plan(inventory, request)
        assert plan["moves"]
        wrong = problems(inventory, request, plan)
        if wrong:
            broken[seed] = wrong[:3]
        ratios.append(1 + plan["gap"])
    assert broken == {}
    assert min(ratios) > 0.9999, "the bound is none"
    assert statistics.mean(ratios) <= 1.02
    assert sum(ratio <= 1.05 for ratio in ratios) >= 0.95 * INSTANCES


def test_a_relocation_against_three_at_a_time(tool):
    result = tool.simulate(*plan_instances.relocation(), "--cap", "3")
    assert result["plan"]["unfinished"] == result["capped"]["unfinished"] == 0
    assert result["plan"]["makespan_s"] <= 0.32 * result["capped"]["makespan_s"]


def test_ten_thousand_moves_and_the_rest_of_them_again(tool):
    inventory, request = plan_instances.large()
    plan = tool.plan(inventory, request)
    assert len(plan["moves"]) == 10_000
    assert problems(inventory, request, plan) == []
    inventory, request = plan_instances.in_the_middle(inventory, request, plan)
    assert len(request["running"]) == 500
    assert problems(inventory, request, tool.plan(inventory, request)) == []
