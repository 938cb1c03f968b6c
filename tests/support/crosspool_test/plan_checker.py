"""Replays a plan against the inventory and the request, and knows nothing but the constraints: it
shares no code and no formula with the planner. `problems` lists everything that is wrong."""
from collections import defaultdict

SLACK = 1e-6      # of a rate or size: rounding in the JSON
SLACK_S = 2e-5


class Checker:
    def __init__(self, inventory, request, plan):
        self.inventory, self.request, self.plan = inventory, request, plan
        self.hosts = {h["name"]: h for h in inventory["hosts"]}
        self.vms = {v["name"]: v for v in inventory["vms"]}
        self.srs = {s["name"]: s for s in inventory.get("srs", [])}
        self.links = {(x["from"], x["to"]): x["bytes_per_s"] for x in inventory.get("links", [])}
        self.handoff = request.get("handoff_ms", 1000) / 1000
        self.running = {r["vm"]: r for r in request.get("running", [])}
        self.wrong = []
        self.loads = defaultdict(list)  # resource -> (begin, end, rate)

    def say(self, text):
        self.wrong.append(text)

    def reached(self, host):
        return [s for s in self.srs.values() if host in s["hosts"]]

    def target_sr(self, host, sr):
        """Where a disk on `sr` is once its VM is on `host`; None = nowhere."""
        reached = self.reached(host)
        if any(s["name"] == sr for s in reached):
            return sr
        mapped = self.request.get("mapping", {}).get("srs", {})
        word = mapped.get(sr, mapped.get(self.srs[sr].get("label")))
        for key in ("name", "label"):
            for s in reached:
                if word is not None and s.get(key) == word:
                    return s["name"]
        return None

    def room_of(self, sr, disk):
        size = disk["allocated_bytes"] if self.srs[sr].get("thin") else disk["size_bytes"]
        return size + size // 4096 + (1 << 20)

    # -- one move

    def stages(self, move, at):
        """(bytes, written anew, SRs) of what is sent, in order; `at`: SR of each disk before."""
        vm = self.vms[move["vm"]]
        running = self.running.get(move["vm"]) if move["is_running"] else None
        stages, moved = [], False
        for i, disk in enumerate(vm.get("disks", [])):
            to = self.target_sr(move["to"], at[i])
            if to is None:
                self.say(f"{move['vm']}: no SR for disk {i} on {move['to']}")
            elif to != at[i]:
                moved = True
                size = running["disks"][i]["left_bytes"] if running else disk["allocated_bytes"]
                stages.append((size, vm.get("write_bytes_per_s", 0), {at[i], to}))
        size = running["memory_left_bytes"] if running else vm["memory_bytes"]
        written = vm.get("dirty_bytes_per_s", 0) + (vm.get("write_bytes_per_s", 0) if moved else 0)
        stages.append((size, written, set()))
        return [s for s in stages if s[0] > 0]

    def send(self, move, stages):
        """Sends the stages at the plan's rates; books what each resource carries. When done."""
        pools = (self.hosts[move["from"]]["pool"], self.hosts[move["to"]]["pool"])
        resources = [("send", move["from"]), ("receive", move["to"]), ("link", pools)]
        queue, left, done = list(stages), stages[0][0] if stages else 0, move["begin_s"]
        before = move["begin_s"]
        for rate in move["rates"]:
            now, end, speed = rate["begin_s"], rate["end_s"], rate["bytes_per_s"]
            if now < before - SLACK_S or end < now:
                self.say(f"{move['vm']}: rates overlap or come before the move begins")
            before = end
            while queue and now < end - 1e-9:
                _, written, srs = queue[0]
                net = speed - written
                needs = left / net if net > 0 else float("inf")
                until = min(end, now + needs)
                for resource in resources + [("sr", s) for s in srs]:
                    self.loads[resource].append((now, until, speed))
                left -= max(net, 0) * (until - now)
                now = until
                if left <= queue[0][0] * SLACK + 4096:
                    queue.pop(0)
                    left = queue[0][0] if queue else 0
                    done = now
        if queue:
            self.say(f"{move['vm']}: {left + sum(s[0] for s in queue[1:]):.0f} bytes are not sent")
        if move["end_s"] < done + self.handoff - SLACK_S - 1e-4 * (done - move["begin_s"]):
            self.say(f"{move['vm']}: ends before its handoff can be over")

    # -- all moves

    def check_capacity(self):
        for (kind, which), loads in self.loads.items():
            if kind in ("send", "receive"):
                capacity = self.hosts[which][f"{kind}_bytes_per_s"]
            elif kind == "link":
                capacity = self.links.get(which)
            else:
                capacity = self.srs[which].get("bytes_per_s", 0) or None
            if capacity is None:
                continue
            events = sorted([(b + SLACK_S, 1, r) for b, e, r in loads if e - b > 2 * SLACK_S] +
                            [(e - SLACK_S, 0, -r) for b, e, r in loads if e - b > 2 * SLACK_S])
            now = worst = 0
            for _, _, change in events:
                now += change
                worst = max(worst, now)
            if worst > capacity * (1 + SLACK) + 8:
                self.say(f"{kind} {which}: {worst:.0f} bytes/s of {capacity}")

    def check_levels(self, what, changes, limits):
        """changes: (time, key, delta); what frees at a time is free for what starts then."""
        level = dict(limits)
        for time, key, delta in sorted(changes, key=lambda c: (c[0], -c[2])):
            level[key] -= -delta
            if level[key] < 0:
                self.say(f"{what} {key}: {-level[key]} too much at {time:.3f} s")
                return

    def check_all(self):
        at = {v: [d["sr"] for d in vm.get("disks", [])] for v, vm in self.vms.items()}
        where = {v: vm["host"] for v, vm in self.vms.items()}
        memory, space, slots, total = [], [], [], []
        default = self.request.get("slots", 4)
        moves = sorted(enumerate(self.plan["moves"]), key=lambda m: (m[1]["begin_s"], m[0]))
        ended = {}
        for index, move in moves:
            name, vm = move["vm"], self.vms[move["vm"]]
            begin, end = round(move["begin_s"], 4), round(move["end_s"], 4)
            if where[name] != move["from"]:
                self.say(f"{name}: is on {where[name]}, not on {move['from']}")
            if begin < ended.get(name, 0) - SLACK_S:
                self.say(f"{name}: starts again before it has arrived")
            self.check_host(move)
            self.send(move, self.stages(move, at[name]))
            slots += [(begin, h, -1) for h in (move["from"], move["to"])]
            slots += [(end, h, 1) for h in (move["from"], move["to"])]
            total += [(begin, "all", -1), (end, "all", 1)]
            if not move["is_running"]:
                memory.append((begin, move["to"], -vm["memory_bytes"]))
            memory.append((end, move["from"], vm["memory_bytes"]))
            for i, disk in enumerate(vm.get("disks", [])):
                to = self.target_sr(move["to"], at[name][i])
                if to is not None and to != at[name][i]:
                    if not move["is_running"]:
                        space.append((begin, to, -self.room_of(to, disk)))
                    space.append((end, at[name][i], self.room_of(at[name][i], disk)))
                    at[name][i] = to
            where[name], ended[name] = move["to"], end
        self.check_levels("memory of", memory,
                          {h: x["memory_free_bytes"] for h, x in self.hosts.items()})
        self.check_levels("space of", space, {s: x["free_bytes"] for s, x in self.srs.items()})
        if not self.running:
            self.check_levels("slots of", slots,
                              {h: x.get("slots", default) for h, x in self.hosts.items()})
            if self.request.get("at_once"):
                self.check_levels("moves", total, {"all": self.request["at_once"]})
        self.check_capacity()
        self.check_end(where)
        return self.wrong

    def check_host(self, move):
        vm, to = self.vms[move["vm"]], self.hosts[move["to"]]
        if to.get("maintenance") and not move["is_running"]:
            self.say(f"{move['vm']}: {move['to']} is in maintenance")
        mapped = self.request.get("mapping", {}).get("networks", {})
        is_near = to["pool"] == self.hosts[vm["host"]]["pool"]
        for network in vm.get("networks", []):
            if (network if is_near else mapped.get(network)) not in to.get("networks", []):
                self.say(f"{move['vm']}: {move['to']} has no network for {network}")
        if vm.get("cpu_vendor") and to.get("cpu_vendor") not in (None, "", vm["cpu_vendor"]):
            self.say(f"{move['vm']}: the CPU of {move['to']} is of another vendor")
        words = dict(w.split("=") for w in to.get("features", "").split())
        for word, bits in (w.split("=") for w in vm.get("features", "").split()):
            if words and int(bits, 16) & ~int(words.get(word, "0"), 16) and word[0] in "1e7":
                self.say(f"{move['vm']}: {move['to']} lacks CPU features")

    def check_end(self, where):
        request = self.request
        refused = {r["vm"] for r in self.plan["refused"]}
        emptied = {h for h, x in self.hosts.items() if h in request.get("evacuate_hosts", [])
                   or x["pool"] in request.get("evacuate_pools", [])}
        wanted = {v for v, vm in self.vms.items() if vm["host"] in emptied}
        wanted = (wanted | {v["vm"] for v in request.get("vms", [])}) - set(request.get("exclude", []))
        wanted |= set(self.running)
        for name, vm in self.vms.items():
            moved = where[name] != vm["host"]
            if moved and name in refused:
                self.say(f"{name}: is refused and moves")
            if moved != (name in wanted and name not in refused):
                self.say(f"{name}: {'moves unasked' if moved else 'neither moves nor is refused'}")
            if moved and where[name] in emptied and name not in self.running:
                self.say(f"{name}: ends on {where[name]}, which shall be empty")
            if moved and name in request.get("pinned", []):
                self.say(f"{name}: is pinned")
        for v in request.get("vms", []):
            if v.get("host") and v["vm"] not in refused and v["vm"] in wanted and \
                    where[v["vm"]] != v["host"]:
                self.say(f"{v['vm']}: ends on {where[v['vm']]}, not on {v['host']}")
        self.check_groups(where, wanted - refused)
        last = max((m["end_s"] for m in self.plan["moves"]), default=0)
        if abs(last - self.plan["makespan_s"]) > SLACK_S:
            self.say(f"makespan {self.plan['makespan_s']}, the last move ends at {last}")
        if self.plan["bound"]["seconds"] > last + 1e-3 * last + SLACK_S:
            self.say(f"the bound {self.plan['bound']['seconds']} is above the makespan {last}")

    def check_groups(self, where, moved):
        for group in self.request.get("apart", []):
            seen = {}
            for name in group["vms"]:
                other = seen.setdefault(where[name], name)
                if other != name and (name in moved or other in moved):
                    self.say(f"{name} and {other} shall be apart and are on {where[name]}")
        for group in self.request.get("together", []):
            members = [v for v in group["vms"] if v in moved]
            if members and len({where[v] for v in group["vms"]}) > 1:
                self.say(f"the group of {members[0]} is not together")


def problems(inventory, request, plan):
    return Checker(inventory, request, plan).check_all()
