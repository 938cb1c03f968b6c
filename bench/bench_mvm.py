"""makespans of plans for the instances that mVM's authors published, against their published plans"""
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import figures
from crosspool_test import plan_checker, plan_instances, shell

TOOL = pathlib.Path(os.environ["CROSSPOOL_BUILD"]) / "cli" / "crosspool"
# what they published with the paper (UCC'15, sections V.B and V.C): instance and plan in one file
SOURCE = os.environ.get("CROSSPOOL_MVM", "https://github.com/btrplace/migrations-UCC-15")
CLONE = shell.ROOT / "build" / "mvm"
FOLDER = "src/test/java/org/btrplace/scheduler/ucc15"
UNIT = 400 << 20  # of their memory sizes, which count rooms only: what moves is said by the durations
MBIT = plan_instances.MBIT
RACKS = 10_000 * MBIT  # between the racks of the larger instance; all in it move to one rack


def fetch():
    if not CLONE.exists():
        shell.run("git", "clone", "-q", "--depth", "1", SOURCE, CLONE, timeout=300)
    return CLONE / FOLDER


class Published:
    """One file: the instance as a request of ours, and what their plan says of it. Each VM has the
    bytes that take as long at the rate of their plan, which is the most that both NICs allow, as
    theirs takes; they are sent once, for their durations hold what is sent again."""

    def __init__(self, path, nic_of, pool_of, links=()):
        document = json.loads(path.read_text())
        mapping = document["origin"]["mapping"]
        memory, = [v for v in document["origin"]["views"] if v.get("rcId") == "mem"]
        self.moves = [a for a in document["actions"] if a["id"] == "migrateVM"]
        self.begin = min(m["start"] for m in self.moves)
        where = {str(vm): node for node, content in mapping["onlineNodes"].items()
                 for vm in content["runningVMs"]}
        used = dict.fromkeys(memory["nodes"], 0)
        for vm, node in where.items():
            used[node] += memory["vms"][vm]
        hosts = [plan_instances.host(f"n{node}", pool_of(int(node)), nic_of(int(node)) * MBIT,
                                     (size - used[node]) * UNIT, 64)
                 for node, size in memory["nodes"].items()]
        vms = [self._vm(m, where[str(m["vm"])], memory["vms"][str(m["vm"])]) for m in self.moves]
        pools = sorted({host["pool"] for host in hosts})
        self.inventory = plan_instances.whole(hosts, vms, links, pools=pools)
        self.request = plan_instances.request(
            [(f"v{m['vm']}", f"n{m['to']}") for m in self.moves], slots=64, handoff_ms=0)

    @staticmethod
    def _vm(move, node, size):
        sent = (move["end"] - move["start"]) * move["bw"] * MBIT
        rest = sent - size * UNIT
        assert rest >= 0, (move, size)
        return {"name": f"v{move['vm']}", "host": f"n{node}", "memory_bytes": size * UNIT,
                "dirty_bytes_per_s": 0, "write_bytes_per_s": 0, "networks": ["lan"],
                "disks": [{"sr": f"sr-n{node}", "size_bytes": rest, "allocated_bytes": rest}]}

    def theirs(self):
        """(makespan, mean time until a VM has moved, mean duration of a move), seconds"""
        return figures_of([(m["start"] - self.begin, m["end"] - self.begin) for m in self.moves])

    def ours(self, folder):
        inventory, request = folder / "inventory.json", folder / "request.json"
        inventory.write_text(json.dumps(self.inventory))
        request.write_text(json.dumps(self.request))
        done = subprocess.run([TOOL, "plan", "--inventory", inventory, "--request", request,
                               "--json"], capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        plan = json.loads(done.stdout)
        wrong = plan_checker.problems(self.inventory, self.request, plan)
        assert not wrong and not plan["refused"], (wrong, plan["refused"])
        return figures_of([(m["begin_s"], m["end_s"]) for m in plan["moves"]]), plan["makespan_s"] / (1 + plan["gap"])


def figures_of(spans):
    return (max(end for _, end in spans), statistics.mean(end for _, end in spans),
            statistics.mean(end - begin for begin, end in spans))


def instances():
    """[(title, instances)]"""
    folder = fetch()
    small = [Published(path, lambda node: 500 if node < 2 else 1000, lambda node: "A")
             for path in sorted((folder / "random").glob("random.*.json"))]
    large = [Published(folder / "energy" / "mVM.json", lambda node: 1000,
                       lambda node: "A" if node < 48 else "B",
                       [{"from": "A", "to": "B", "bytes_per_s": RACKS}])]
    return [("10 VMs on 4 servers of 0.5 and 1 Gbit/s", small),
            ("96 VMs, 72 servers of 1 Gbit/s, one rack receives at 10 Gbit/s", large)]


def main():
    options = figures.options(__doc__)
    report = figures.Report("mvm", "Plans of the published mVM instances")
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory(prefix="cpb-") as folder:
        for title, published in instances():
            theirs = [p.theirs() for p in published]
            ours, bounds = zip(*[p.ours(pathlib.Path(folder)) for p in published])
            both = [[mine[k] / other[k] for mine, other in zip(ours, theirs)] for k in range(3)]
            ratios[title] = [statistics.mean(values) for values in both]
            at_bound = sum(mine[0] <= bound * 1.001 for mine, bound in zip(ours, bounds))
            rows.append([title, len(published), *[figures.spread(values) for values in both],
                         f"{sum(r > 1.001 for r in both[0])}", f"{at_bound}"])
    report.say(
        "The instances and plans that the authors of mVM published with *Scheduling Live-Migrations "
        "for Fast, Adaptable and Energy-Efficient Relocation Operations* (UCC'15), ours / theirs, "
        "median (least - most). A move takes as long as theirs where it has the rate that theirs "
        "has, and as much longer as its rate is lower. Their goal was the mean time until a VM has "
        "moved, ours is the makespan. Every plan of ours was replayed by the checker.\n\n"
        + figures.table(
            ["instances", "", "makespan", "mean time until a VM has moved", "mean duration of a move",
             "longer than theirs", "at the lower bound"], rows))
    for title, (makespan, _, _) in ratios.items():
        report.figure(f"makespan against mVM's plans, mean, {title}", makespan, "<=", 1)
    if options.write:
        report.write()


if __name__ == "__main__":
    main()
