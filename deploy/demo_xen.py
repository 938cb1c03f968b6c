"""The demo on real Xen: two emulated Xen hosts, a pool each (deploy/lab)."""
import subprocess

from xenlab import centre
from xenlab.cluster import XenCluster, runs
from xenlab.place import LabError, NAMESPACE


class Stage:
    HYPERVISOR = "libxl"
    TITLE = "two emulated Xen hosts, xh1 in pool A and xh2 in pool B (deploy/lab up)"
    DESTINATION = "xh2"
    GUESTS = [("web", "xh1", [("raw", 16), ("qcow2", 16)])]
    EVACUATION = ("B", "A")  # back again, with the guest that moved: a host holds two
    EVACUATED = [("mail", "xh2", [("raw", 16), ("qcow2", 16)])]

    def __init__(self):
        assert not runs(), "a lab of this checkout runs already; deploy/lab down ends it"
        self.cluster = XenCluster()

    def up(self):
        self.cluster.up(is_shown=True)

    def boot(self, name, host, disks):
        return self.cluster.boot(host, name, disks=disks, is_full=True, memory_mib=96)

    def last_words(self):
        """Of the agents that can still be asked."""
        said = []
        for name, agent in self.cluster.agents.items():
            try:
                said.append((name, agent.tail(4)))
            except (LabError, subprocess.SubprocessError):
                continue
        return said

    def how_to_look(self):
        return ("deploy/lab shell xh2 'xl list'\n"
                f"   ip netns exec {NAMESPACE} curl --cacert {centre.told()['ca']} -H "
                f"'Authorization: Bearer {self.cluster.api.token}' {self.cluster.api.url}/v1/vms")

    def down(self):
        self.cluster.down()
