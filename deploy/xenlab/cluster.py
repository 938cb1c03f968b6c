"""The lab as tests, demo and benches use it: hosts with agents in two pools, guests, migrations."""
import concurrent.futures
import contextlib
import itertools
import subprocess
import sys

from crosspool_test import shell
from crosspool_test.migrations import Migrations

from . import accelerator, agents, centre, images, network
from .guest import XenGuest
from .lab import each, known_hosts
from .place import ROOT
from .xen_agent import IMAGES, XenAgent

UP_LIMIT_S = 900  # with everything to be made anew
FIRST_NUMBER = 30  # of a guest
AGAIN_S = 120  # an emulated guest boots in some ten seconds


def lab(*words, is_shown=False):
    """Runs deploy/lab; an AssertionError with its last words when it fails. is_shown: what it says
    goes to standard error."""
    output = {"stdout": sys.stderr} if is_shown else {"capture_output": True}
    done = subprocess.run([ROOT / "deploy" / "lab", *words], stdin=subprocess.DEVNULL, text=True,
                          timeout=UP_LIMIT_S, check=False, **output)
    said = (done.stderr or "see above").strip().splitlines()[-8:]
    assert done.returncode == 0, f"deploy/lab {' '.join(words)}: {' | '.join(said)}"


def runs():
    """Whether something of this checkout's lab runs."""
    return bool(centre.told()) or any(host.pid() for host in known_hosts())


class XenCluster(Migrations):
    def __init__(self):
        self.agents = {}
        self.guests = []
        self.api = None
        self.numbers = itertools.count(FIRST_NUMBER)

    # ---- life
    def up(self, *options, is_shown=False):
        """Options as those of deploy/lab up. From now on this thread is in the lab's network."""
        lab("up", "2", *options, is_shown=is_shown)
        network.enter()
        self.api = centre.api()
        self._meet_hosts()
        return self

    def _meet_hosts(self):
        self.agents = {host.name: XenAgent(host) for host in known_hosts()}
        self.wait_for_hosts()

    @contextlib.contextmanager
    def one_more_host(self):
        """While open there is a third host; its name. Guests that it has at the end are lost."""
        lab("up", "3")
        self._meet_hosts()
        name = max(self.agents)
        try:
            yield name
        finally:
            self.agents.pop(name).host.forget()

    def down(self):
        lab("down")

    def wait_for_hosts(self, timeout=120):
        """The coordinator lists all hosts as up."""
        def all_up():
            try:
                hosts = self.api.get("/v1/hosts")["items"]
            except OSError:
                return False
            return len([h for h in hosts if h["state"] == "up"]) == len(self.agents)
        shell.wait_for("all hosts up", all_up, timeout, 0.5)

    def restore(self):
        """Whatever an earlier test killed, held or cut works again."""
        def mend(agent):
            network.join(agent.name, "migration")
            agent.clear_failpoints()
            if not agent.is_running():
                agent.start()
        for agent in self.agents.values():
            mend(agent)
        self.wait_for_hosts()

    def remove_guests(self):
        """Ends every guest and deletes its disks, behind the agents' backs."""
        self.guests.clear()
        command = ("for id in $(xl list | awk 'NR > 1 && $2 > 0 { print $2 }'); do xl destroy $id; "
                   f"done; rm -f {IMAGES}/*.raw {IMAGES}/*.qcow2")
        each(lambda agent: agent.host.run(command), list(self.agents.values()))

    @contextlib.contextmanager
    def silent_cut(self, name):
        """While open nothing of the migration network reaches the host, and nobody is told."""
        network.leave(name, "migration")
        try:
            yield
        finally:
            network.join(name, "migration")

    def power_off(self, name):
        """At once; what was not flushed is lost."""
        self.agents[name].host.stop()

    def power_on(self, name):
        """It boots from its disks as they are, with its agent."""
        host = self.agents[name].host
        built = images.build()
        host.start(built, accelerator.choose(built), host.settings()["features"], keep_disks=True)
        host.wait_ready()
        self.agents[name].start()
        self.wait_for_hosts()

    def kill_coordinator(self):
        """SIGKILL; the lab starts it again at once. Returns when it answers again."""
        shell.end_processes_below(centre.DIRECTORY, ["crosspool-coordinator"])

        def is_ready():
            try:
                return self.api.request("GET", "/readyz").status == 200
            except OSError:
                return False
        shell.wait_for("the coordinator to be ready", is_ready, 60, 0.2)

    # ---- guests
    def boot(self, name, guest, kind="pvh", disks=(("raw", 16), ("qcow2", 16)), bridges=None,
             is_full=False, memory_mib=128, ends="", directory=IMAGES, start="", **options):
        """A guest at host `name` that writes to all its disks, (format, MiB), as soon as the
        coordinator lists it as running. is_full: the disks are random from end to end. Options as
        in tests/guest/README.md; unless told one writer for each disk, 20 writes a second. ends:
        what its end means, in words of xl.cfg ("on_crash=restart"). directory: of its images; the
        agents know those of their SR only. start: the command that starts it from a file of xl."""
        host = self.agents[name].host
        number = next(self.numbers)
        environment = {"DISKS": " ".join(f"{form}:{mib}" for form, mib in disks),
                       "BRIDGES": " ".join(bridges or agents.BRIDGES.values()),
                       "FILL": "1" if is_full else "", "MEMORY": memory_mib, "ENDS": ends,
                       "DIRECTORY": directory, "START": start}
        words = " ".join(f"guest.{key}={value}" for key, value in
                         {"writers": 1, "rate": 20, **options}.items())
        host.run(" ".join([*(f"{key}='{value}'" for key, value in environment.items()),
                           f"/lab/guest/create {kind} {guest} {number} {words}"]), timeout=400)
        vm = self.vm(guest, self.pool_of(name), timeout=120, state="running")
        made = XenGuest(guest, number, vm["domain"], host, len(disks))
        self.guests.append(made)
        return made

    def pool_of(self, name):
        return self.agents[name].pool

    def expect(self, guest, name):
        """Nothing to prepare: the guest is asked through the host where it is."""

    def follow(self, guest, name):
        """The guest runs at another host now."""
        guest.host = self.agents[name].host

    def disk_count(self, name):
        """Of the guests that are at the host."""
        return sum(guest.disk_count for guest in self.guests if guest.host.name == name)

    def number_of(self, guest, name):
        """Of the guest's domain at a host; None when it has none there."""
        return self.agents[name].numbers().get(guest.domain)

    def wait_again(self, guest, name, old):
        """The guest runs in another domain there than `old`, has booted, and writes; its number."""
        def again():
            number = self.number_of(guest, name)
            runs = self.homes(guest).get(name, "")[2:] == "----"
            return runs and number != old and number
        new = shell.wait_for(f"{guest.name} in another domain than {old}", again, AGAIN_S, 1)
        self.follow(guest, name)

        def answers():
            try:
                return guest.ask("status", 10)
            except AssertionError:
                return None
        shell.wait_for(f"{guest.name} booted", answers, AGAIN_S, 1)
        guest.assert_writes()
        assert guest.verify().ok
        return new

    def homes(self, guest):
        """{host: state as in `xl list`}, of each host that has the guest's domain."""
        found = zip(self.agents, each(XenAgent.domains, list(self.agents.values())))
        return {name: domains[guest.domain] for name, domains in found if guest.domain in domains}

    def wait_one_home(self, guest, timeout=60):
        """The one host that has the domain, where it runs."""
        def one():
            homes = self.homes(guest)
            is_one = len(homes) == 1 and all(state[2:] == "----" for state in homes.values())
            return list(homes)[0] if is_one else None
        return shell.wait_for(f"guest {guest.name} at one host", one, timeout, 0.5)

    # ---- migrations
    def mapping(self, source, destination):
        """Networks and SRs of host `source` to those of host `destination`."""
        here, there = self.agents[source], self.agents[destination]
        return {"networks": {f"{kind}-{here.pool.lower()}": f"{kind}-{there.pool.lower()}"
                             for kind in agents.BRIDGES},
                "srs": {here.sr_name: there.sr_name}}

    def pool_mapping(self, source, destination):
        """The same of all hosts of a pool, to the first one of the other pool."""
        of = {pool: [name for name in sorted(self.agents) if self.pool_of(name) == pool]
              for pool in (source, destination)}
        whole = {"networks": {}, "srs": {}}
        for name in of[source]:
            for kind, mapped in self.mapping(name, of[destination][0]).items():
                whole[kind].update(mapped)
        return whole

    def compare_images(self, migration, source, disks):
        """In the pause: what differs between both ends' images, or is wrong with the new ones.
        disks: of the VM's object at the source."""
        old = {disk["device"]: disk for disk in disks}
        now = self.migration(migration)
        here = self.agents[source]
        there = self.agents[now["destination"]["host_name"]]
        found = []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for disk in now["disks"]:
                left = old[disk["device"]]
                form = disk.get("destination_format") or left["format"]
                one = pool.submit(here.digest, left["vdi"], left["format"])
                other = pool.submit(there.digest, disk["destination_vdi"], form)
                if one.result() != other.result():
                    found.append(f"{disk['device']} differs")
                wrong = there.check_image(disk["destination_vdi"], form)
                if wrong:
                    found.append(f"{disk['device']}: {wrong}")
        return found

    def wait_no_children(self, name):
        """The agent may look at an image just now; what a migration left would stay."""
        agent = self.agents[name]
        shell.wait_for(f"no processes of {name}", lambda: not agent.children(), 60, 0.5)

    def assert_clean(self, name, expected_images=0):
        """Nothing of a migration remains at the host."""
        found = self.agents[name].images()
        assert len(found) == expected_images, f"{name}: images {found}"
        self.wait_no_children(name)
