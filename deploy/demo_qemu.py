"""The demo on the qemu driver: two pools of plain QEMU hosts on this machine's loopback."""
import pathlib
import shutil

from crosspool_test.cluster import Cluster, clear
from crosspool_test.network import Network

DIRECTORY = pathlib.Path("/var/tmp/crosspool-demo")
TAG = "cpd"  # of the bridges
LAYOUT = {"A": ["a1", "a2", "a3"], "B": ["b1", "b2", "b3"]}
LIGHT = {"writers": 1, "rate": 20}  # all guests of an evacuation share this machine with their moves


class Stage:
    HYPERVISOR = "qemu"
    TITLE = "PostgreSQL, coordinator, agents of pools A (a1, a2, a3) and B (b1, b2, b3)"
    DESTINATION = "b1"
    GUESTS = [("web", "a1", [("raw", 128), ("qcow2", 128)]), ("mail", "a2", [("raw", 192)])]
    EVACUATION = ("A", "B")
    EVACUATED = [(f"vm{number}", host, [("raw", 32), ("qcow2", 32)])
                 for number, host in enumerate(2 * LAYOUT["A"], 1)]

    def __init__(self):
        """What a demo that was killed left behind goes first."""
        clear(DIRECTORY, Network(TAG, [host for pool in LAYOUT.values() for host in pool]))
        shutil.rmtree(DIRECTORY, ignore_errors=True)
        DIRECTORY.mkdir(parents=True)
        self.cluster = Cluster(LAYOUT, tag=TAG, directory=DIRECTORY, alike=True)

    def up(self):
        self.cluster.up()

    def boot(self, name, host, disks):
        light = LIGHT if (name, host, disks) in self.EVACUATED else {}
        return self.cluster.boot(host, name, disks, **light)

    def last_words(self):
        daemons = [("coordinator", self.cluster.coordinator), *self.cluster.agents.items()]
        return [(title, daemon.tail(4)) for title, daemon in daemons]

    def how_to_look(self):
        return (f"curl --cacert {self.cluster.coordinator.ca_path} -H 'Authorization: Bearer "
                f"{self.cluster.api.token}' {self.cluster.coordinator.url()}/v1/vms")

    def down(self):
        self.cluster.down()
        shutil.rmtree(DIRECTORY, ignore_errors=True)
