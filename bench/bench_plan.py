"""plans of 1,000 seeded instances against their lower bound, and against three moves at a time"""
import collections
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import figures
from crosspool_test import plan_checker, plan_instances

BUILD = pathlib.Path(os.environ["CROSSPOOL_BUILD"])
TOOL, TIMER = BUILD / "cli" / "crosspool", BUILD / "tests" / "tools" / "plan-time"


class Documents:
    """An inventory and a request as files."""

    def __init__(self, folder, inventory, request):
        self.inventory, self.request = folder / "inventory.json", folder / "request.json"
        self.inventory.write_text(json.dumps(inventory))
        self.request.write_text(json.dumps(request))

    def run(self, command, *more):
        done = subprocess.run([TOOL, command, "--inventory", self.inventory, "--request",
                               self.request, "--json", *more], capture_output=True, text=True,
                              check=False)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def cpu_seconds(self):
        """CPU seconds of one core for the plan alone: documents are read before, JSON is not made."""
        return float(subprocess.check_output([TIMER, self.inventory, self.request]).split()[0])


def instances(report, folder, count):
    by_shape, moves, detours, broken = collections.defaultdict(list), 0, 0, []
    for seed in range(count):
        shape, inventory, request = plan_instances.instance(seed)
        plan = Documents(folder, inventory, request).run("plan")
        wrong = plan_checker.problems(inventory, request, plan)
        if wrong or plan["refused"]:
            broken.append((seed, (wrong or plan["refused"])[0]))
        by_shape[shape].append(1 + plan["gap"])
        moves += len(plan["moves"])
        detours += sum(m["is_helper"] for m in plan["moves"]) // 2
    ratios = sorted(r for values in by_shape.values() for r in values)
    rows = [[shape, len(values), f"{statistics.mean(values):.4f}",
             f"{figures.percentile(values, 95):.3f}", f"{max(values):.3f}",
             f"{100 * sum(r <= 1.05 for r in values) / len(values):.1f}%"]
            for shape, values in [*by_shape.items(), ("all", ratios)]]
    report.say(f"{count} instances, {moves} moves, {detours} detours; makespan / lower bound:\n\n"
               + figures.table(["shape", "instances", "mean", "95th percentile", "worst",
                                "within 1.05"], rows)
               + f"\n\nPlans that the checker refused, or that left a VM out: {len(broken)}"
               + "".join(f"; seed {seed}: {what}" for seed, what in broken[:5]) + ".")
    report.figure("makespan / bound that 95% of the instances keep",
                  figures.percentile(ratios, 95), "<=", 1.05)
    report.figure("makespan / bound, mean", statistics.mean(ratios), "<=", 1.02)
    report.figure("plans with a broken constraint", len(broken) / count, "<=", 0)


def full_cycles(report, folder, count):
    """Not among the instances above: what a detour costs is not in the bound."""
    ratios, wrong, detours = [], 0, 0
    for seed in range(count):
        inventory, request = plan_instances.full_cycle(seed)
        plan = Documents(folder, inventory, request).run("plan")
        wrong += bool(plan_checker.problems(inventory, request, plan) or plan["refused"])
        detours += sum(m["is_helper"] for m in plan["moves"]) // 2
        ratios.append(1 + plan["gap"])
    report.say(f"{count} further instances of full hosts in a circle, which {detours} detours over a "
               f"spare host break: makespan / lower bound {figures.spread(ratios)}; {wrong} plans "
               "with a broken constraint.")


def against_cap(report, folder):
    inventory, request = plan_instances.relocation()
    result = Documents(folder, inventory, request).run("simulate", "--cap", "3")
    ours, capped = result["plan"], result["capped"]
    rows = [[what, f"{r['makespan_s']:.0f}", r["most_at_once"], f"{r['longest_pause_s']:.2f}"]
            for what, r in (("plan", ours), ("3 at a time, in inventory order", capped))]
    report.say("96 VMs of 24 servers to 48 others, 1 Gbit/s NICs, 10 Gbit/s between the racks, both "
               "simulated by the same model:\n\n"
               + figures.table(["", "makespan s", "most at once", "longest pause s"], rows))
    report.figure("makespan against 3 at a time", ours["makespan_s"] / capped["makespan_s"], "<=",
                  0.32)


def large(report, folder, repeats):
    inventory, request = plan_instances.large()
    documents = Documents(folder, inventory, request)
    first = [documents.cpu_seconds() for _ in range(repeats)]
    plan = documents.run("plan")
    assert len(plan["moves"]) == 10_000 and not plan["refused"]
    wrong = plan_checker.problems(inventory, request, plan)
    inventory, request = plan_instances.in_the_middle(inventory, request, plan)
    documents = Documents(folder, inventory, request)
    again = [documents.cpu_seconds() for _ in range(repeats)]
    later = documents.run("plan")
    wrong += plan_checker.problems(inventory, request, later)
    report.say("10,000 moves over 1,000 hosts, CPU seconds of one core, median of "
               f"{repeats}:\n\n"
               + figures.table(["", "CPU s", "makespan / bound"],
                               [["planned", figures.spread(first, "{:.3f}"), f"{1 + plan['gap']:.3f}"],
                                ["planned again, 500 running",
                                 figures.spread(again, "{:.3f}"), f"{1 + later['gap']:.3f}"]])
               + f"\n\nConstraints broken: {len(wrong)}.")
    report.figure("10,000 moves planned, s / 1 s", statistics.median(first), "<=", 1)
    report.figure("planned again, s / 0.2 s", statistics.median(again) / 0.2, "<=", 1)


def main():
    options = figures.options(__doc__, instances=1000, repeats=5)
    report = figures.Report("plan", "Plans")
    with tempfile.TemporaryDirectory(prefix="cpb-") as folder:
        folder = pathlib.Path(folder)
        instances(report, folder, options.instances)
        full_cycles(report, folder, options.instances // 20)
        against_cap(report, folder)
        large(report, folder, options.repeats)
    if options.write:
        report.write()


if __name__ == "__main__":
    main()
