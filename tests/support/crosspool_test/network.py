"""Switches for the guests of one machine: one bridge per host, joined by a central one, and a
network namespace beside them from which guests can be pinged. None of the bridges has an address,
so that nothing but the namespace reaches the guests."""
import subprocess

from . import shell


class Network:
    """tag: at most 6 characters, unique on the machine; it starts every interface's name."""

    SUBNET = "10.77.0"

    def __init__(self, tag, hosts):
        self.tag = tag
        self.hosts = list(hosts)
        self.namespace = f"{tag}-net"

    def bridge(self, host):
        return f"{self.tag}{host}"

    def address(self, number):
        """Address of guest `number` (10 to 250)."""
        return f"{self.SUBNET}.{number}"

    def up(self):
        self.down()
        switch = f"{self.tag}sw"
        shell.run("ip", "link", "add", switch, "type", "bridge")
        shell.run("ip", "link", "set", switch, "up")
        for host in self.hosts:
            bridge = self.bridge(host)
            shell.run("ip", "link", "add", bridge, "type", "bridge")
            shell.run("ip", "link", "set", bridge, "up")
            self._join(bridge, switch, f"{self.tag}v{host}")
        shell.run("ip", "netns", "add", self.namespace)
        shell.run("ip", "link", "add", f"{self.tag}n0", "type", "veth", "peer", "name", "eth0",
                  "netns", self.namespace)
        shell.run("ip", "link", "set", f"{self.tag}n0", "master", switch, "up")
        self.inside("ip", "address", "add", f"{self.SUBNET}.1/24", "dev", "eth0")
        self.inside("ip", "link", "set", "eth0", "up")

    @staticmethod
    def _join(bridge, switch, name):
        shell.run("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b")
        shell.run("ip", "link", "set", f"{name}a", "master", bridge, "up")
        shell.run("ip", "link", "set", f"{name}b", "master", switch, "up")

    def inside(self, *command):
        return shell.run("ip", "netns", "exec", self.namespace, *command)

    def start_ping(self, address, interval=0.05):
        """A ping that runs until ping_result()."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, "ping", "-n", "-D", "-i", str(interval),
             "-W", "5", address],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @staticmethod
    def ping_result(process):
        """(sent, received) after stopping the ping."""
        process.send_signal(2)
        text, _ = process.communicate(timeout=20)
        for line in text.splitlines():
            if "packets transmitted" in line:
                words = line.replace(",", "").split()
                return int(words[0]), int(words[3])
        raise AssertionError(f"ping said: {text[-300:]}")

    def remove_taps(self):
        """Taps of guests that were killed: they stay when QEMU ends."""
        for line in shell.run("ip", "-o", "link", "show", "type", "tun").splitlines():
            tap = line.split(":")[1].strip().split("@")[0]
            if any(f"master {self.bridge(host)} " in line for host in self.hosts):
                shell.run("ip", "link", "del", tap, check=False)

    def down(self):
        self.remove_taps()
        for host in self.hosts:
            shell.run("ip", "link", "del", f"{self.tag}v{host}a", check=False)
            shell.run("ip", "link", "del", self.bridge(host), check=False)
        shell.run("ip", "link", "del", f"{self.tag}n0", check=False)
        shell.run("ip", "link", "del", f"{self.tag}sw", check=False)
        shell.run("ip", "netns", "del", self.namespace, check=False)
