"""The lab's networks: bridges with the hosts' taps in a network namespace of the lab's own, so that
nothing of the lab is on the machine's network. The process that makes or uses them enters it."""
import ctypes
import os
import pathlib
import subprocess

from .place import LabError, NAMESPACE, SCRIPTS, run

MTU = 9000
MOST_HOSTS = 8
CLONE_NEWNET = 0x40000000


def _read_names():
    lines = (SCRIPTS / "dom0" / "names").read_text().splitlines()
    return dict(line.split("=") for line in lines if "=" in line)


NAMES = _read_names()
# name of the bridge -> its subnet; in the order of a host's interfaces
SUBNETS = {"control": NAMES["CONTROL_SUBNET"], "lan": NAMES["LAN_SUBNET"],
           "migration": NAMES["MIGRATION_SUBNET"], "back": NAMES["BACK_SUBNET"]}
OUTSIDE = f"{SUBNETS['lan']}.1"  # the machine's own address, where coordinators listen


def address(subnet, number):
    """Of host `number`."""
    return f"{SUBNETS[subnet]}.{10 + number}"


def hosts_file():
    """/etc/hosts of every host: their names stand for their addresses in the migration network."""
    names = [f"{address('migration', n)} xh{n}" for n in range(1, MOST_HOSTS + 1)]
    return "\n".join(["127.0.0.1 localhost", *names]) + "\n"


def _ip(*words):
    run("ip", *words)


def exists():
    return pathlib.Path("/run/netns", NAMESPACE).exists()


def enter():
    """This process and the ones it starts from now on are in the lab's network."""
    fd = os.open(f"/run/netns/{NAMESPACE}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
            raise LabError(f"cannot enter the lab's network: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)


def _make_bridges():
    _ip("link", "set", "lo", "up")
    for name, subnet in SUBNETS.items():
        _ip("link", "add", name, "type", "bridge", "forward_delay", "0", "stp_state", "0",
            "mcast_snooping", "0")
        _ip("link", "set", name, "mtu", str(MTU), "up")
        if name != "migration":
            _ip("address", "add", f"{subnet}.1/24", "dev", name)


def up():
    """Makes the network if it is not there, and enters it."""
    if exists():
        enter()
        return
    _ip("netns", "add", NAMESPACE)
    enter()
    _make_bridges()


def tap(host, subnet):
    return f"{host}-{subnet[:3]}"


def make_taps(host):
    for subnet in SUBNETS:
        name = tap(host, subnet)
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
        _ip("tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr")
        _ip("link", "set", name, "mtu", str(MTU), "master", subnet, "up")


def leave(host, subnet):
    """What the host sends there is lost, and nothing comes to it; its link stays up."""
    _ip("link", "set", tap(host, subnet), "nomaster")


def join(host, subnet):
    """Undoes `leave`."""
    _ip("link", "set", tap(host, subnet), "master", subnet)


def down():
    """Takes bridges and taps along."""
    if exists():
        _ip("netns", "delete", NAMESPACE)
