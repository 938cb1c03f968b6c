"""A whole installation on one machine: PostgreSQL, coordinator, agents of several pools on loopback
addresses, guests on bridges. Used by the scenario tests, the benches and the demo."""
import contextlib
import json
import pathlib
import shutil
import tempfile
import uuid

from . import cut, images, shell
from .agent import Agent
from .coordinator import Coordinator
from .guest import Guest
from .migrations import Migrations
from .network import Network
from .postgres import Postgres

MIB = 1 << 20


# whatever of a cluster may still run when its starter was killed
PROGRAMS = ("crosspool-agent", "crosspool-coordinator", "qemu-system-x86_64", "qemu-img",
            "qemu-storage-daemon", "nbdkit", "postgres", "initdb")


def remove_memory(domain):
    for file in pathlib.Path("/dev/shm").glob(f"*{domain}*"):
        file.unlink(missing_ok=True)


def clear(directory, network, domains=()):
    """Ends and removes what a cluster of this directory and network left on the machine, even one
    whose starter was killed; the directory's files stay."""
    shell.end_processes_below(directory, PROGRAMS)
    network.down()
    for folder in pathlib.Path(directory).glob("*/run/domains/*"):
        remove_memory(folder.name)
    for domain in domains:
        remove_memory(domain)


class Cluster(Migrations):
    """layout: {"A": ["a1", "a2"], "B": ["b1"]}. Names of hosts are at most 3 characters. alike: the
    hosts of a pool have SRs of one name, so that one mapping does for all of them."""

    def __init__(self, layout, tag="cpt", directory=None, coordinator_options=None, alike=False):
        self.layout = layout
        self.is_alike = alike
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix=f"{tag}-"))
        self.is_temporary = directory is None
        self.directory.mkdir(parents=True, exist_ok=True)
        # 0755: PostgreSQL runs as another user below it
        self.directory.chmod(0o755)
        self.hosts = [host for hosts in layout.values() for host in hosts]
        self.network = Network(tag, self.hosts)
        self.postgres = Postgres(self.directory / "postgres", sockets=None if self.is_temporary
                                 else self.directory / "sql")
        self.coordinator = Coordinator(self.directory / "coordinator", self.postgres,
                                       **(coordinator_options or {}))
        self.agents = {}
        self.guests = {}
        self.api = None
        self.guest_files = shell.ROOT / "build" / "guest"

    # ---- life
    def up(self):
        self.network.up()
        self.postgres.start()
        self.coordinator.init()
        self.coordinator.start()
        self.api = self.coordinator.api(self.coordinator.make_token("cluster", "admin"))
        for pool in self.layout:
            self.api.post("/v1/pools", {"name": pool})
        for number, (pool, host) in enumerate(
                (pool, host) for pool, hosts in self.layout.items() for host in hosts):
            self._add_agent(pool, host, number)
        self.wait_for_hosts()
        return self

    def _add_agent(self, pool, host, number):
        agent = Agent(host, self.directory / host, f"127.0.1.{number + 1}",
                      self.coordinator.free_port(), [self.coordinator.endpoint()],
                      self.network.bridge(host), self.network_name(pool),
                      self.sr_name(pool) if self.is_alike else None)
        answer = self.api.post("/v1/enrolments", {"pool": pool, "name": host})
        agent.host = answer["host"]
        agent.enrol(answer["token"])
        agent.start()
        self.agents[host] = agent

    @staticmethod
    def network_name(pool):
        return f"lan-{pool.lower()}"

    @staticmethod
    def sr_name(pool):
        """With `alike`."""
        return f"local-{pool.lower()}"

    def wait_ready(self, timeout=60):
        """Until the coordinator answers and has its database."""
        def is_ready():
            try:
                return self.api.request("GET", "/readyz").status == 200
            except OSError:
                return False
        shell.wait_for("the coordinator to be ready", is_ready, timeout, 0.2)

    def wait_for_hosts(self, timeout=60):
        self.wait_ready(timeout)

        def all_up():
            for agent in self.agents.values():
                assert agent.is_running(), f"agent {agent.name} ended: {agent.tail()}"
            hosts = self.api.get("/v1/hosts")["items"]
            return len([h for h in hosts if h["state"] == "up"]) == len(self.hosts)
        shell.wait_for("all hosts up", all_up, timeout, 0.2)

    def down(self):
        for guest in self.guests.values():
            guest.close()
        for agent in self.agents.values():
            for pid in agent.domains().values():
                shell.run("kill", "-9", str(pid), check=False)
            agent.kill()
        self.coordinator.kill()
        self.postgres.stop()
        clear(self.directory, self.network, self.guests)
        if self.is_temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def restore(self):
        """Whatever an earlier test killed, held or cut works again."""
        for agent in self.agents.values():
            for file in agent.failpoints.iterdir():
                file.unlink()
            cut.heal(agent)
        for process in (self.postgres, self.coordinator, *self.agents.values()):
            if not process.is_running():
                process.start()
        self.wait_for_hosts()

    def remove_guests(self):
        """Ends every guest and deletes its disks, behind the agents' backs."""
        for guest in self.guests.values():
            guest.close()
        self.guests.clear()
        for agent in self.agents.values():
            for pid in agent.domains().values():
                shell.run("kill", "-9", str(pid), check=False)
            for folder in agent.run_directory.glob("domains/*"):
                shell.end_processes_below(folder, PROGRAMS)
                shutil.rmtree(folder, ignore_errors=True)
                remove_memory(folder.name)
            for image in images.vdis(agent.sr):
                (agent.sr / image).unlink()
        self.network.remove_taps()

    @contextlib.contextmanager
    def small_sr(self, host, size_bytes):
        """A second SR at the host with room for size_bytes. Yields (name, directory)."""
        agent = self.agents[host]
        directory = agent.directory / "small"
        directory.mkdir(exist_ok=True)
        shell.run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", directory)
        plain = list(agent.configuration["srs"])
        sr = {"name": f"small-{host}", "type": "ext", "location": str(directory)}
        self._reconfigure(agent, plain + [sr])
        shell.wait_for("the small SR in the inventory", lambda: sr["name"] in [
            item["name"] for item in self.api.get("/v1/srs")["items"]])
        try:
            yield sr["name"], directory
        finally:
            self._reconfigure(agent, plain)
            shell.run("umount", "-l", directory)

    def _reconfigure(self, agent, srs):
        agent.configuration["srs"] = srs
        agent.write_configuration()
        agent.restart()
        self.wait_for_hosts()

    # ---- guests
    def boot(self, host, name, disks, memory_mib=128, iothread=False, prefilled=None,
             is_full=False, rate=40, **options):
        """disks: list of (format, MiB), empty; the first one is a copy of the raw file `prefilled`,
        or random from end to end with `is_full`. rate: writes a second of each writer, 0 without a
        limit, which takes a whole processor. Options of the guest as in tests/guest/README.md.
        Returns the Guest, which writes to all its disks, when the coordinator lists it as running."""
        agent = self.agents[host]
        number = 10 + len(self.guests)
        domain = str(uuid.uuid4())
        devices = []
        for index, (image_format, mib) in enumerate(disks):
            _, path = images.create(agent.sr, image_format, mib * MIB)
            if prefilled and index == 0:
                images.copy_at_rest(prefilled, path)
            if is_full and index == 0:
                images.fill(path, mib * MIB)
            devices.append({"device": f"vd{chr(ord('a') + index)}", "path": str(path),
                            "format": image_format, "iothread": iothread})
        description = {
            "uuid": domain, "name": name, "memory_bytes": memory_mib * MIB, "vcpus": 1,
            "kernel": str(self.guest_files / "vmlinuz"),
            "initrd": str(self.guest_files / "initrd"),
            "cmdline": Guest.command_line(address=self.network.address(number), rate=rate,
                                          **options),
            "disks": devices,
            "vifs": [{"mac": f"52:54:00:00:00:{number:02x}", "bridge": self.network.bridge(host)}],
            "console": "console.sock", "tick": "tick.sock",
        }
        file = agent.directory / f"{domain}.json"
        file.write_text(json.dumps(description))
        agent.command("boot", str(file))
        guest = Guest(name, agent.run_directory / "domains" / domain)
        guest.domain = domain
        guest.address = self.network.address(number)
        self.guests[domain] = guest
        guest.wait_ready()
        self.vm(name, self.pool_of(host), state="running", domain=domain)
        return guest

    def pool_of(self, host):
        return next(pool for pool, hosts in self.layout.items() if host in hosts)

    def expect(self, guest, host):
        """The guest may appear at another host from now on."""
        guest.expect_at(self.agents[host].run_directory / "domains" / guest.domain)

    def follow(self, guest, host):
        """The guest runs at another host now."""
        guest.move_to(self.agents[host].run_directory / "domains" / guest.domain)

    # ---- migrations
    def mapping(self, source, destination):
        """Networks and SRs of host `source` to those of host `destination`."""
        return {"networks": {self.network_name(self.pool_of(source)):
                             self.network_name(self.pool_of(destination))},
                "srs": {self.agents[source].sr_name: self.agents[destination].sr_name}}

    def pool_mapping(self, source, destination):
        """Networks and SRs of a pool to those of another one, with `alike`."""
        return {"networks": {self.network_name(source): self.network_name(destination)},
                "srs": {self.sr_name(source): self.sr_name(destination)}}

    def migrate(self, name, source, destination, **more):
        """Starts a migration; returns its id."""
        for guest in self.guests.values():
            if guest.name == name:
                self.expect(guest, destination)
        return super().migrate(name, source, destination, **more)

    def homes(self, guest):
        """Hosts on which a QEMU of this guest lives."""
        return [name for name, agent in self.agents.items() if guest.domain in agent.domains()]

    def wait_no_children(self, host):
        """The agent may look at an image just now; what a migration left would stay."""
        agent = self.agents[host]
        shell.wait_for(f"no processes of {host}", lambda: not agent.children(), 20)

    def assert_clean(self, host, expected_vdis=()):
        """Nothing of a migration remains at the host: images, receivers, memory files."""
        agent = self.agents[host]
        found = images.vdis(agent.sr)
        assert sorted(found) == sorted(expected_vdis), f"{host}: images left: {found}"
        self.wait_no_children(host)
