"""A host played by the test: it reports an inventory and answers steps as the test says, over the
real agent port with a real certificate."""
import copy
import time
import uuid

from .identity import Identity

GIB = 1 << 30
NIL = "00000000-0000-0000-0000-000000000000"


def domain(name, vdis=(), networks=("lan-a",), memory_bytes=GIB, state="running"):
    """vdis: ids of its disks, all raw, 4 GiB."""
    return {"uuid": str(uuid.uuid4()), "name": name, "state": state, "memory_bytes": memory_bytes,
            "vcpus": 2,
            "disks": [{"device": f"vd{chr(ord('a') + i)}", "vdi": vdi, "format": "raw",
                       "size_bytes": 4 * GIB, "is_movable": True, "why_not": ""}
                      for i, vdi in enumerate(vdis)],
            "vifs": [{"mac": f"52:54:00:00:00:{i + 1:02x}", "network": network}
                     for i, network in enumerate(networks)]}


def empty_inventory():
    """Of a host without networks, SRs and domains."""
    return {"hypervisor": "qemu", "accelerator": "kvm", "version": "7.2",
            "cpu_vendor": "GenuineIntel", "cpu_model": "some", "cpus": 8,
            "memory_bytes": 16 * GIB, "memory_free_bytes": 8 * GIB,
            "link_address": "127.0.0.1", "link_port": 7801,
            "networks": [], "srs": [], "domains": []}


class FakeHost:
    def __init__(self, coordinator, admin, directory, pool, name):
        self.coordinator = coordinator
        self.name = name
        self.identity = Identity(directory)
        self.id = admin.post("/v1/enrolments", {"pool": pool, "name": name})["host"]
        token = admin.post("/v1/enrolments", {"pool": pool, "name": name})["token"]
        self.identity.enrol(coordinator, token)
        self.api = self.identity.api(coordinator)
        self.generation = 0
        self.sequence = 0
        self.known = {}
        self.cancelling = set()
        self.settings = {}  # by migration; None: of an agent that does not understand them
        self.takes_traceparent = True  # None: of an agent that does not know it
        lan = f"lan-{pool.lower()}"
        self.inventory = empty_inventory()
        self.inventory["networks"].append({"name": lan, "bridge": "br0"})
        self.inventory["srs"].append({
            "id": str(uuid.uuid4()), "name": f"local-{name}", "type": "ext",
            "size_bytes": 100 * GIB, "free_bytes": 50 * GIB, "vdis": []})

    @property
    def sr(self):
        return self.inventory["srs"][0]

    def add_vm(self, name, disks=1, **more):
        vdis = [str(uuid.uuid4()) for _ in range(disks)]
        for vdi in vdis:
            self.sr["vdis"].append({"id": vdi, "format": "raw", "size_bytes": 4 * GIB,
                                    "allocated_bytes": GIB})
        made = domain(name, vdis, (self.inventory["networks"][0]["name"],), **more)
        self.inventory["domains"].append(made)
        return made

    # ---- the two calls
    def send(self, **members):
        """One report; `inventory` is taken as it is now."""
        body = {"inventory_generation": self.generation, **members}
        answer = self.api.request("POST", "/agent/v1/report", body)
        assert answer.status == 204, f"report of {self.name}: {answer.status} {answer.text}"

    def next_inventory(self):
        """Members of a report with a new inventory, to be sent now or late."""
        self.generation += 1
        return {"inventory_generation": self.generation,
                "inventory": copy.deepcopy(self.inventory)}

    def report(self):
        self.send(**self.next_inventory())

    def poll_once(self):
        body = {"known": sorted(self.known), "cancelling": sorted(self.cancelling)}
        if self.settings is not None:
            body["settings"] = [{"migration": migration, "version": one["version"]}
                                for migration, one in self.settings.items()]
        if self.takes_traceparent is not None:
            body["takes_traceparent"] = self.takes_traceparent
        answer = self.api.post("/agent/v1/poll", body)
        for one in answer.get("settings", []):
            self.settings[one["migration"]] = one
        for step in answer["steps"]:
            self.known[step["id"]] = step
        self.cancelling |= set(answer["cancel"])
        return answer

    def take(self, kind, timeout=20):
        """The step of this kind that waits for its result here."""
        end = time.monotonic() + timeout
        while True:
            for step in self.known.values():
                if step["kind"] == kind and step["id"] not in self.cancelling:
                    return step
            assert time.monotonic() < end, f"{self.name} got no {kind}: {self.known}"
            self.poll_once()

    def wait_cancel(self, step, timeout=20):
        end = time.monotonic() + timeout
        while step["id"] not in self.cancelling:
            assert time.monotonic() < end, f"{step['kind']} was not cancelled"
            self.poll_once()

    def wait_settings(self, migration, timeout=20, **members):
        """Polls until the migration's settings hold these members."""
        end = time.monotonic() + timeout
        while True:
            one = self.settings.get(migration, {})
            if all(one.get(name) == value for name, value in members.items()):
                return one
            assert time.monotonic() < end, f"{self.name} was not told {members}: {one}"
            self.poll_once()

    def progress(self, migration, phase="copying", copied=0, epoch=1):
        self.send(progress=[{"migration": migration, "phase": phase, "disks": [
            {"index": 0, "copied_bytes": copied, "mirror_epoch": epoch}]}])

    # ---- results
    def done(self, step, verdict="none", pause_us=0):
        self.answer(step, {"is_done": True, "verdict": verdict, "pause_us": pause_us})

    def failed(self, step, code, text="as the test wants", verdict="none"):
        self.answer(step, {"is_done": False, "error": code, "error_text": text,
                           "verdict": verdict})

    def answer(self, step, members):
        self.send(results=[{"step": step["id"], **members}])
        self.known.pop(step["id"], None)
        self.cancelling.discard(step["id"])

    def finish(self, kind, **more):
        step = self.take(kind)
        self.done(step, **more)
        return step

    # ---- what an agent writes down
    def ledger(self, migration, *entries):
        """entries: (kind, reference, is_removed)."""
        rows = []
        for kind, reference, is_removed in entries:
            self.sequence += 1
            rows.append({"sequence": self.sequence, "migration": migration, "kind": kind,
                         "reference": reference, "is_removed": is_removed})
        self.send(ledger=rows)
        return rows

    # ---- what a handoff does to the two inventories
    def lose_domain(self, uuid_):
        self.inventory["domains"] = [d for d in self.inventory["domains"] if d["uuid"] != uuid_]

    def gain_domain(self, description, spec):
        """The domain of `description` (the source's) as it is here after the move."""
        new = copy.deepcopy(description)
        for disk, planned in zip(new["disks"], spec["disks"]):
            disk["vdi"] = planned["destination"]["vdi"]
            self.sr["vdis"].append({"id": disk["vdi"], "format": disk["format"],
                                    "size_bytes": disk["size_bytes"], "allocated_bytes": GIB})
        for vif, planned in zip(new["vifs"], spec["vifs"]):
            vif["network"] = planned["destination_network"]
        self.inventory["domains"].append(new)
