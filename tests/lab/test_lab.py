"""The lab itself: emulated Xen hosts that reach each other, and a way into them."""
import re
import subprocess

import pytest

from xenlab import network, place
from xenlab.cluster import lab


@pytest.fixture(autouse=True)
def hosts(cluster):
    return [agent.host for agent in cluster.agents.values()]


def test_hosts_run_xen_with_what_pvh_and_hvm_guests_need(hosts):
    for host in hosts:
        said = host.run("xl info")
        assert re.search(r"^xen_version +: 4\.17", said, re.M)
        assert re.search(r"^virt_caps +:.*\bhap\b", said, re.M)


def test_a_host_can_have_another_cpu(hosts):
    first, second = (re.search(r"^hw_caps +: (.*)$", host.run("xl info"), re.M)[1]
                     for host in hosts)
    assert first != second


def test_hosts_reach_each_other_with_packets_of_9000_bytes(hosts):
    for subnet in ("lan", "migration"):
        hosts[0].run(f"ping -c 2 -M do -s 8972 {network.address(subnet, 2)}")


def test_a_host_that_leaves_a_network_is_silent_until_it_is_back(cluster, hosts):
    command = f"ping -c 1 -W 2 {network.address('migration', 2)}"
    with cluster.silent_cut(hosts[1].name):
        assert " 0 received" in hosts[0].run(command, check=False)
    hosts[0].run(command)


def test_an_exit_status_comes_out():
    done = subprocess.run([place.ROOT / "deploy/lab", "shell", "xh2", "exit 7"],
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 7


@pytest.mark.full
def test_up_again_leaves_what_runs(hosts):
    hosts[0].run("touch /run/still-the-same")
    lab("up", "2")
    hosts[0].run("test -e /run/still-the-same")
