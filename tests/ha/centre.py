"""Two coordinators over one pair of PostgreSQL servers, a balancer in front of them, and what tests
ask about the effects of what they did."""
import http.client
import shutil

from crosspool_test import shell
from crosspool_test.api import AnyApi, Api
from crosspool_test.balancer import Balancer
from crosspool_test.coordinator import Coordinator

# what moves a VM; a source that hears the verdict from the destination first is told to conclude
ACTS = {"prepare", "transfer", "receive", "handoff", "clean-source", "clean-destination"}
ENDED = ("succeeded", "failed", "cancelled")


class Front:
    """The coordinators as one, behind the balancer; in the place of one Coordinator."""

    def __init__(self, coordinators):
        self.coordinators = coordinators
        self.ports = {name: Coordinator.free_port() for name in ("api", "agents")}
        self.balancers = [
            Balancer(port, [c.configuration[name]["port"] for c in coordinators])
            for name, port in self.ports.items()]

    def url(self):
        return f"https://127.0.0.1:{self.ports['api']}"

    def agent_url(self):
        return f"https://127.0.0.1:{self.ports['agents']}"

    @property
    def ca_path(self):
        return self.coordinators[0].ca_path

    def api(self, token):
        return Api(self.url(), self.ca_path, token)


class Centre:
    OPTIONS = {"host_lost_after_s": 600}

    def __init__(self, servers, directory):
        first = Coordinator(directory / "c1", servers, **self.OPTIONS)
        first.init()
        second = Coordinator(directory / "c2", servers,
                             database=first.configuration["database"], **self.OPTIONS)
        shutil.copytree(first.state_directory, second.state_directory)
        second.write_configuration()
        self.servers = servers
        self.directory = directory
        self.coordinators = [first, second]
        self.front = Front(self.coordinators)
        self.token = None
        self.api = None

    def start(self):
        for process in (*self.coordinators, *self.front.balancers):
            process.start()
        self.token = self.coordinators[0].make_token("admin", "admin")
        self.api = AnyApi([c.api(self.token) for c in self.coordinators])

    def stop(self):
        for coordinator in self.coordinators:
            coordinator.kill()
        for balancer in self.front.balancers:
            balancer.stop()

    def query(self, sql):
        return self.coordinators[0].query(sql)

    def metric(self, coordinator, name):
        text = coordinator.api(self.token).get("/metrics")
        return float(text.split(f"\n{name} ")[1].split()[0])

    # ---- migrations
    def create(self, vm, source, destination):
        """The id of the one migration of this VM. A call whose answer was lost may have made it:
        then the repeated one is refused, because the VM is under way or gone already."""
        body = {"vm": vm, "destination": {"pool": destination.pool, "host": destination.name},
                "mapping": {"networks": {source.network: destination.network},
                            "srs": {source.sr["name"]: destination.sr["name"]}}}
        answer = self.api.request("POST", "/v1/migrations", body)
        if answer.status == 202:
            return answer.json()["id"]
        found = self.query(f"SELECT id FROM migration WHERE name = '{vm}'")
        assert answer.status in (404, 409) and len(found) == 1, f"{answer.status}: {answer.text}"
        return found[0][0]

    def show(self, migration):
        return self.api.get(f"/v1/migrations/{migration}")

    def wait_state(self, migration, *states, timeout=60):
        def look():
            now = self.show(migration)
            assert now["state"] in states or now["state"] not in ENDED, now
            return now if now["state"] in states else None
        return shell.wait_for(f"migration in {states}", look, timeout, 0.05)

    def wait_ready(self):
        """Until each coordinator that runs has its database."""
        for coordinator in self.coordinators:
            if coordinator.is_running():
                api = coordinator.api(None)
                shell.wait_for("a coordinator to be ready", lambda a=api: self._is_ready(a), 60)

    @staticmethod
    def _is_ready(api):
        try:
            return api.request("GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    # ---- what there must be in the end, however often something was asked for
    def check_moved(self, migrations, source, destination):
        """Each of {VM: migration} has moved, by each act once, and nothing is left."""
        for vm, migration in migrations.items():
            ended = self.wait_state(migration, *ENDED)
            assert ended["state"] == "succeeded", ended
            kinds = [step["kind"] for step in ended["steps"]]
            assert len(kinds) == len(set(kinds)), ended["steps"]
            assert set(kinds) - {"conclude"} == ACTS, ended["steps"]
            assert {step["state"] for step in ended["steps"]} == {"done"}
            assert ended["pause_us"] == source.pause_of(migration)
            objects = self.query(f"SELECT p.name, h.name FROM vm v JOIN pool p ON p.id = v.pool_id"
                                 f" JOIN host h ON h.id = v.host_id WHERE v.name = '{vm}'")
            assert objects == [[destination.pool, destination.name]]
        for host in (source, destination):
            assert len(host.acts) == len(set(host.acts)), "an act was done twice"
        acts = {act for host in (source, destination) for act in host.acts}
        steps = self.query("SELECT kind, migration_id FROM step")
        assert acts == {tuple(step) for step in steps}, "an act and its row do not match"
        assert self.query("SELECT count(*) FROM migration") == [[str(len(migrations))]]
        assert self.api.get("/v1/leftovers")["items"] == []
