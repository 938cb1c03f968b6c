"""Migrations by REST, whatever hosts they are between."""
from . import shell

ENDED = ("succeeded", "failed", "cancelled")


class Migrations:
    """Of an installation that has `api`, an admin's; `pool_of(host)`; and `mapping(source,
    destination)`, networks and SRs of one host to those of another."""

    def vm(self, name, pool=None, timeout=30, **members):
        """The VM's object as the coordinator lists it, as soon as it has these members: an
        inventory tells what was seen some time ago."""
        def find():
            for vm in self.api.get("/v1/vms?limit=200")["items"]:
                if vm["name"] == name and (pool is None or vm["pool_name"] == pool) and \
                        all(vm[member] == value for member, value in members.items()):
                    return vm
            return None
        return shell.wait_for(f"VM {name} in the inventory, {members}", find, timeout)

    def request(self, name, source, destination, **more):
        """Of a VM that runs at host `source`, as soon as the coordinator lists it so."""
        vm = self.vm(name, self.pool_of(source), state="running", host_name=source)
        body = {"vm": vm["id"],
                "destination": {"pool": self.pool_of(destination), "host": destination},
                "mapping": self.mapping(source, destination)}
        body.update(more)
        return body

    def migrate(self, name, source, destination, **more):
        """Starts a migration; returns its id."""
        return self.api.post("/v1/migrations",
                             self.request(name, source, destination, **more))["id"]

    def migration(self, migration):
        return self.api.get(f"/v1/migrations/{migration}")

    def cancel(self, migration, source=None):
        """Returns, with the source's agent, when its handoff has heard of it: one that has not goes
        on, and its verdict decides."""
        self.api.post(f"/v1/migrations/{migration}/cancel", {})
        if source:
            step = [step["id"] for step in self.migration(migration)["steps"]
                    if step["kind"] == "handoff"][-1]
            shell.wait_for("the handoff told to end", lambda: source.has_said(
                f"step {step} is told to end"), 60)

    def _wait(self, migration, what, reached, timeout, interval):
        def look():
            now = self.migration(migration)
            if reached(now):
                return now
            assert now["state"] not in ENDED, f"ended {now['state']}: {now.get('error')}"
            return None
        return shell.wait_for(f"migration in {what}", look, timeout, interval)

    def wait_state(self, migration, *states, timeout=120):
        return self._wait(migration, states, lambda now: now["state"] in states, timeout, 0.1)

    def wait_phase(self, migration, *phases, timeout=120):
        return self._wait(migration, phases, lambda now: now["phase"] in phases, timeout, 0.02)

    def wait_end(self, migration, timeout=240):
        return self.wait_state(migration, *ENDED, timeout=timeout)

    def leftovers(self):
        return self.api.get("/v1/leftovers")["items"]

    def wait_no_leftovers(self, timeout=60):
        shell.wait_for("no leftovers", lambda: not self.leftovers(), timeout, 0.2)
