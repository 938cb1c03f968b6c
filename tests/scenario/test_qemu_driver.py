"""The QEMU driver alone: guests are booted, moved back and forth on shared disks and taken back,
under writes, without agents. CROSSPOOL_LOOPS moves in a row, 200 when not set."""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid

import pytest

from crosspool_test import guest as guests
from crosspool_test.guest import Guest
from crosspool_test.marks import full

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVE = pathlib.Path(os.environ.get("CROSSPOOL_BUILD", ROOT / "build/debug")) / "tests/tools/qemu-drive"
LOOPS = int(os.environ.get("CROSSPOOL_LOOPS", "200"))
TOOL = {"raw": "raw", "qcow2": "qcow2", "vhd": "vpc"}


class Bench:
    """Two run directories of one machine, as two hosts that share their disks."""

    def __init__(self, folder):
        self.folder = folder
        self.hosts = [folder / "a", folder / "b"]
        self.uuid = str(uuid.uuid4())
        self.disks = []
        self.vifs = [[], []]  # (mac, bridge) at each host
        self.inside = []  # command prefix of a network namespace
        self.home = 0

    def drive(self, host, *words, check=True, **more):
        return subprocess.run([*self.inside, DRIVE, self.hosts[host], *map(str, words)],
                              check=check, text=True, capture_output=True, timeout=120, **more)

    def place(self, host):
        return self.hosts[host] / "domains" / self.uuid

    def add_disk(self, form, mib):
        path = self.folder / f"disk{len(self.disks)}.{form}"
        options = ["-o", "force_size=on"] if form == "vhd" else []
        subprocess.run(["qemu-img", "create", "-q", "-f", TOOL[form], *options, path, f"{mib}M"],
                       check=True)
        self.disks.append((path, form))

    def map_file(self):
        """Where the parts of the domain are at the host where it is not."""
        path = self.folder / "map.json"
        vifs = [{"mac": mac, "bridge": bridge} for mac, bridge in self.vifs[1 - self.home]]
        path.write_text(json.dumps({"vifs": vifs, "disks": [
            {"device": "vd" + chr(ord("a") + i), "path": str(file), "format": form}
            for i, (file, form) in enumerate(self.disks)]}))
        return path

    def boot(self, **options):
        description = self.folder / "domain.json"
        description.write_text(json.dumps(
            guests.domain(self.uuid, "driven", self.disks, self.vifs[self.home], **options)))
        self.drive(self.home, "boot", description)
        guest = Guest("driven", self.place(self.home))
        guest.expect_at(self.place(1 - self.home))
        guest.wait_ready()
        return guest

    def move(self, guest):
        """To the other host; returns the pause by the driver's clock and by the guest's ticks."""
        other = 1 - self.home
        begin = time.monotonic()
        answer = self.drive(self.home, "move", self.uuid, self.hosts[other], self.map_file())
        self.home = other
        guest.move_to(self.place(other))
        guest.ticks.wait(5)
        return json.loads(answer.stdout)["pause_us"] / 1000, guest.ticks.longest_gap(begin)

    def leftovers(self):
        names = [path.name for host in self.hosts for path in host.glob("domains/*")]
        return names + [path.name for path in pathlib.Path("/dev/shm").glob(f"*{self.uuid}*")]

    def close(self):
        for host, directory in enumerate(self.hosts):
            if directory.exists():
                self.drive(host, "destroy", self.uuid)
        shutil.rmtree(self.folder)


@pytest.fixture
def bench():
    made = Bench(pathlib.Path(tempfile.mkdtemp(prefix="qd-")))
    try:
        yield made
    finally:
        made.close()


@pytest.mark.full
@pytest.mark.parametrize("forms", [("raw", "qcow2"), ("vhd", "raw")], ids="+".join)
def test_moves_in_a_row_under_writes_lose_nothing(bench, forms):
    for form in forms:
        bench.add_disk(form, 48)
    guest = bench.boot(memory=16, discards=3)
    pauses = []
    for _ in range(LOOPS):
        pauses.append(bench.move(guest))
        assert guest.verify().ok, guest.console.lines[-10:]
        guest.assert_writes()
    guest.ticks.check_one_place()
    guest.close()
    for name, values in zip(("driver", "ticks"), zip(*pauses)):
        print(f"{len(values)} moves, pause by {name}: median {statistics.median(values):.0f} ms, "
              f"longest {max(values):.0f} ms")
    bench.drive(bench.home, "destroy", bench.uuid)
    assert not bench.leftovers()


@pytest.mark.parametrize("form, iothread", [
    full("vhd", False), ("qcow2", True), full("raw", False), full("qcow2", False), full("raw", True),
    full("vhd", True)])
def test_a_destination_that_gives_up_leaves_the_guest_at_the_source(bench, form, iothread):
    bench.add_disk(form, 32)
    guest = bench.boot(memory=8, iothread=iothread)
    for _ in range(3):
        answer = bench.drive(0, "move", bench.uuid, bench.hosts[1], bench.map_file(), "abandon")
        assert json.loads(answer.stdout)["pause_us"] > 0
        assert guest.verify().ok, guest.console.lines[-10:]
        guest.assert_writes()
    assert not bench.place(1).exists()
    bench.move(guest)
    assert guest.verify().ok
    guest.close()


def test_a_broken_stream_leaves_the_guest_running(bench):
    bench.add_disk("raw", 32)
    guest = bench.boot()
    saver = subprocess.Popen([DRIVE, bench.hosts[0], "save", bench.uuid], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    assert saver.stdout.read(1 << 20)
    saver.stdout.close()
    assert saver.wait(timeout=30) == 1
    text = saver.stderr.read().decode()
    assert "unreachable: running: saving domain" in text and "Broken pipe" in text, text
    assert guest.verify().ok
    guest.assert_writes()
    guest.close()


def test_a_killed_saver_is_undone_by_resume(bench):
    bench.add_disk("qcow2", 32)
    guest = bench.boot()
    saver = subprocess.Popen([DRIVE, bench.hosts[0], "save", bench.uuid], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
    while saver.stdout.read(1 << 16):  # to the end: the guest is suspended
        pass
    saver.wait()
    assert " paused " in bench.drive(0, "list").stdout
    for _ in range(2):
        bench.drive(0, "resume", bench.uuid)
    assert " running " in bench.drive(0, "list").stdout
    assert guest.verify().ok
    guest.close()


@pytest.mark.parametrize("size", [full(0), full(24), 40, full(100000), 5000000])
def test_a_stream_cut_short_leaves_nothing_at_the_destination(bench, size):
    bench.add_disk("raw", 32)
    bench.boot().close()
    config = bench.folder / "config.json"
    config.write_text(bench.drive(0, "config", bench.uuid).stdout)
    stream = bench.folder / "stream"
    with stream.open("wb") as file:
        subprocess.run([DRIVE, bench.hosts[0], "save", bench.uuid], stdout=file, check=True,
                       stderr=subprocess.DEVNULL)
    os.truncate(stream, size)
    with stream.open("rb") as file:
        answer = bench.drive(1, "restore", bench.uuid, config, bench.map_file(), check=False,
                             stdin=file)
    assert answer.returncode == 1
    assert "memory stream: it ended too early" in answer.stderr
    bench.drive(0, "destroy", bench.uuid)
    assert not bench.leftovers()


def test_restore_refuses_what_does_not_fit(bench):
    bench.add_disk("raw", 32)
    bench.boot().close()
    config = json.loads(bench.drive(0, "config", bench.uuid).stdout)
    file = bench.folder / "config.json"

    def refusal(changed, mapping=None):
        file.write_text(json.dumps(changed))
        path = bench.map_file()
        if mapping:
            path.write_text(json.dumps(mapping))
        answer = bench.drive(1, "restore", bench.uuid, file, path, check=False,
                             stdin=subprocess.DEVNULL)
        assert answer.returncode == 1
        return answer.stderr.splitlines()[-1]

    disk = dict(config["disks"][0])
    assert "the domain runs with kvm" in refusal(dict(config, accelerator="kvm"))
    assert "has 33554432 bytes, expected 1048576" in refusal(
        dict(config, disks=[dict(disk, size_bytes=1 << 20)]))
    assert "no bridge nobridge on this host" in refusal(
        dict(config, vifs=[{"mac": "52:54:00:00:00:01", "bridge": "x"}]),
        {"disks": [{key: disk[key] for key in ("device", "path", "format")}],
         "vifs": [{"mac": "52:54:00:00:00:01", "bridge": "nobridge"}]})
    assert "the map has 0 disks" in refusal(config, {"disks": [], "vifs": []})
    assert "of memory" in refusal(dict(config, memory_bytes=1 << 41))
    assert not bench.place(1).exists()
    bench.drive(0, "destroy", bench.uuid)


def test_boot_refuses_a_domain_that_runs_and_starts_one_that_ended(bench):
    bench.add_disk("raw", 32)
    guest = bench.boot()
    again = bench.drive(0, "boot", bench.folder / "domain.json", check=False)
    assert again.returncode == 1 and "runs already" in again.stderr
    guest.poweroff()
    deadline = time.monotonic() + 30
    while " halted " not in bench.drive(0, "list").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    guest.close()
    bench.drive(0, "boot", bench.folder / "domain.json")
    guest = Guest("driven", bench.place(0))
    guest.wait_ready()
    assert guest.verify().ok
    guest.close()


@pytest.fixture
def switches():
    """Two bridges joined by a wire, in a network namespace of their own that has an address there."""
    name = f"qd-{os.getpid()}"
    inside = ["ip", "netns", "exec", name]
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for words in ("add lan-a type bridge", "add lan-b type bridge",
                      "add wire-a type veth peer name wire-b", "set wire-a master lan-a up",
                      "set wire-b master lan-b up", "set lan-a up", "set lan-b up"):
            subprocess.run([*inside, "ip", "link", *words.split()], check=True)
        subprocess.run([*inside, "ip", "address", "add", "10.99.0.1/24", "dev", "lan-a"], check=True)
        yield inside
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def taps(inside):
    text = subprocess.run([*inside, "ip", "-o", "link", "show", "type", "tun"], check=True,
                          capture_output=True, text=True).stdout
    return text.splitlines()


def test_the_network_follows_the_guest(switches, bench):
    bench.inside = switches
    bench.vifs = [[("52:54:00:00:99:02", "lan-a")], [("52:54:00:00:99:02", "lan-b")]]
    bench.add_disk("raw", 32)
    guest = bench.boot(address="10.99.0.2")
    ping = [*switches, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "3", "10.99.0.2"]
    for bridge in ("lan-a", "lan-b", "lan-a"):
        subprocess.run(ping, check=True, capture_output=True)
        found = taps(switches)
        assert len(found) == 1 and f"master {bridge} " in found[0], found
        bench.move(guest)
    subprocess.run(ping, check=True, capture_output=True)
    guest.close()
    bench.drive(bench.home, "destroy", bench.uuid)
    assert not taps(switches)
