"""A host that goes on whatever happens around it, as an agent does: its calls are repeated until a
coordinator takes them, each step is done once, and its result is reported until it was taken."""
import threading
import time

from crosspool_test.api import AnyApi
from crosspool_test.fake_host import FakeHost


class Player(FakeHost):
    """endpoints: coordinators, or one Front. `holds` names kinds of steps whose results wait."""

    def __init__(self, centre, endpoints, pool, name):
        super().__init__(endpoints[0], centre.api, centre.directory / name, pool, name)
        self.pool = pool
        self.network = self.inventory["networks"][0]["name"]
        # room for everything that a test moves at once
        self.inventory.update(memory_bytes=1 << 40, memory_free_bytes=1 << 40)
        self.sr.update(size_bytes=1 << 44, free_bytes=1 << 44)
        self.api = AnyApi([self.identity.api(endpoint, timeout=40) for endpoint in endpoints])
        self.acts = []  # (kind, migration), one for each step that was done
        self.journal = {}  # step id: its result
        self.peer = None
        self.holds = set()
        self.domains = {}  # as they were made, by UUID
        self.lock = threading.RLock()
        self.thread = None
        self.is_over = False
        self.failure = None

    def add_vm(self, name, **more):
        made = super().add_vm(name, **more)
        self.domains[made["uuid"]] = made
        return made

    @staticmethod
    def pause_of(migration):
        return 1 + int(migration[:6], 16)

    # ---- the thread
    def start(self):
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        """Ends it; what went wrong in it is the test's failure. A poll that is parked is left."""
        self.is_over = True
        if self.failure:
            raise self.failure

    def _run(self):
        try:
            while not self.is_over:
                self.turn()
        except BaseException as failure:  # shown by stop()
            self.failure = failure

    def turn(self):
        self.poll_once()
        for step in list(self.known.values()):
            while step["kind"] in self.holds and not self.is_over:
                time.sleep(0.01)
            self.do(step)

    def do(self, step):
        if step["id"] not in self.journal:
            self.journal[step["id"]] = self.act(step)
        self.answer(step, self.journal[step["id"]])
        if step["kind"] in ("handoff", "receive"):
            with self.lock:
                self.report()

    def act(self, step):
        kind, spec = step["kind"], step["spec"]
        self.acts.append((kind, spec["migration"]))
        result = {"is_done": True, "verdict": "none", "pause_us": 0}
        with self.lock:
            if kind == "handoff":
                self.lose_domain(spec["domain"])
                result.update(verdict="owned", pause_us=self.pause_of(spec["migration"]))
            if kind == "receive":
                self.gain_domain(self.peer.domains[spec["domain"]], spec)
                result["verdict"] = "owned"
        return result


def make_pair(centre, endpoints, vms):
    """Hosts a1 in pool A with these VMs and b1 in pool B, known to each other and reported."""
    for pool in ("A", "B"):
        centre.api.post("/v1/pools", {"name": pool})
    a1, b1 = (Player(centre, endpoints, *place) for place in (("A", "a1"), ("B", "b1")))
    a1.peer, b1.peer = b1, a1
    for vm in vms:
        a1.add_vm(vm)
    a1.report()
    b1.report()
    return a1, b1
