"""The demo on the qemu driver: two pools of plain QEMU hosts on this machine's loopback."""
import pathlib
import shutil

from crosspool_test.cluster import Cluster, clear
from crosspool_test.network import Network

DIRECTORY = pathlib.Path("/var/tmp/crosspool-demo")
TAG = "cpd"  # of the bridges
LAYOUT = {"A": ["a1", "a2"], "B": ["b1"]}


class Stage:
    HYPERVISOR = "qemu"
    TITLE = "PostgreSQL, coordinator, agents of pools A (a1, a2) and B (b1)"
    DESTINATION = "b1"
    GUESTS = [("web", "a1", [("raw", 128), ("qcow2", 128)]), ("mail", "a2", [("raw", 192)])]

    def __init__(self):
        """What a demo that was killed left behind goes first."""
        clear(DIRECTORY, Network(TAG, [host for pool in LAYOUT.values() for host in pool]))
        shutil.rmtree(DIRECTORY, ignore_errors=True)
        DIRECTORY.mkdir(parents=True)
        self.cluster = Cluster(LAYOUT, tag=TAG, directory=DIRECTORY)

    def up(self):
        self.cluster.up()

    def boot(self, name, host, disks):
        return self.cluster.boot(host, name, disks)

    def last_words(self):
        daemons = [("coordinator", self.cluster.coordinator), *self.cluster.agents.items()]
        return [(title, daemon.tail(4)) for title, daemon in daemons]

    def how_to_look(self):
        return (f"curl --cacert {self.cluster.coordinator.ca_path} -H 'Authorization: Bearer "
                f"{self.cluster.api.token}' {self.cluster.coordinator.url()}/v1/vms")

    def down(self):
        self.cluster.down()
        shutil.rmtree(DIRECTORY, ignore_errors=True)
