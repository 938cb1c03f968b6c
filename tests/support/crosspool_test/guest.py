"""Speaks to the test guest (tests/guest/README.md): console commands, and its ticks measured on the
host's clock."""
import collections
import os
import pathlib
import re
import selectors
import socket
import subprocess
import threading
import time
import types

UART_BYTES = 16
ROOT = pathlib.Path(__file__).resolve().parents[3]


def build():
    """Makes the guest's files when needed; returns (kernel, initrd)."""
    folder = pathlib.Path(os.environ.get("CROSSPOOL_GUEST", ROOT / "build" / "guest"))
    subprocess.run([ROOT / "tests/guest/build", folder], check=True)
    return folder / "vmlinuz", folder / "initrd"


def command_line(address=None, **options):
    """The guest's kernel command line; options as in README.md (writers=2, memory=8 ...), those that
    are None are left out. address: without a length it gets /24."""
    if address:
        options["ip"] = address if "/" in address else f"{address}/24"
    words = [f"guest.{key}={value}" for key, value in options.items() if value is not None]
    # what the emulated processor would spend its first half second on
    quick = "mitigations=off nokaslr cryptomgr.notests"
    return " ".join([f"console=ttyS0 quiet panic=-1 {quick}", *words])


def domain(uuid, name, disks, vifs=(), memory_mb=128, vcpus=1, iothread=False, **options):
    """A domain.json document. disks: (path, format) in order; vifs: (mac, bridge); options as in
    command_line."""
    kernel, initrd = build()
    return {
        "uuid": uuid, "name": name, "memory_bytes": memory_mb << 20, "vcpus": vcpus,
        "kernel": str(kernel), "initrd": str(initrd),
        "cmdline": command_line(**options),
        "disks": [{"device": "vd" + chr(ord("a") + i), "path": str(path), "format": form,
                   "iothread": iothread} for i, (path, form) in enumerate(disks)],
        "vifs": [{"mac": mac, "bridge": bridge} for mac, bridge in vifs],
        "console": "console.sock", "tick": "tick.sock",
    }


def _connect(path):
    """None while nobody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


class GuestError(AssertionError):
    """The guest said that something is wrong, or did not answer."""


class Console:
    """One guest, wherever it runs: `move(folder)` follows it to another host."""

    def __init__(self, folder, timeout=60):
        self.folder = None
        self.connection = None
        self.pending = b""
        self.lines = []  # everything it ever said
        self.move(folder, timeout)

    def move(self, folder, timeout=60):
        self.close()
        self.folder = pathlib.Path(folder)
        deadline = time.monotonic() + timeout
        while self.connection is None:
            self.connection = _connect(self.folder / "console.sock")
            if self.connection is None:
                if time.monotonic() > deadline:
                    raise GuestError(f"no console at {self.folder}")
                time.sleep(0.01)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None
        self.pending = b""

    def _line(self, deadline):
        while b"\n" not in self.pending:
            self.connection.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                piece = self.connection.recv(65536)
            except TimeoutError as late:
                said = " | ".join(self.lines[-8:])
                raise GuestError(f"the guest does not answer; it said: {said}") from late
            if not piece:
                raise GuestError("the console was closed: " + " | ".join(self.lines[-8:]))
            self.pending += piece
        line, self.pending = self.pending.split(b"\n", 1)
        text = line.decode(errors="replace").strip()
        if text:
            self.lines.append(text)
        return text

    def command(self, line, answer, timeout=60):
        """Sends one command; returns the first later line that begins with `answer`."""
        self.connection.sendall(line.encode() + b"\n")
        deadline = time.monotonic() + timeout
        while True:
            text = self._line(deadline)
            if text.startswith(answer):
                return text
            if "Oops" in text or "Kernel panic" in text or "BUG:" in text:
                raise GuestError(text)

    def wait_ready(self, timeout=60):
        """Until the guest answers and its writers have begun (or stand still by option)."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.status(timeout=2)
            except GuestError as silent:
                if time.monotonic() > deadline or "closed" in str(silent):
                    raise

    def status(self, timeout=60):
        text = self.command("status", "STATUS", timeout)
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}

    def verify(self, timeout=120):
        """Every sector and page holds what was written last; raises GuestError with the details."""
        text = self.command("verify", "VERIFY", timeout)
        if not text.startswith("VERIFY ok"):
            bad = [line for line in self.lines if line.startswith(("BAD", "ERROR"))]
            raise GuestError(" | ".join([text, *bad[-10:]]))
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}

    def longest_gap(self):
        """Milliseconds by the guest's own clock in which no write to some disk ended."""
        return self.status()["gap_ms"]

    def stop(self):
        self.command("stop", "OK stop")

    def run(self):
        self.command("run", "OK run")

    def reset(self):
        self.command("reset", "OK reset")

    def rate(self, writes_per_s):
        self.command(f"rate {writes_per_s}", "OK rate")

    def discards(self, percent):
        self.command(f"discards {percent}", "OK discards")

    def poweroff(self):
        self.connection.sendall(b"poweroff\n")

    def reboot(self):
        self.connection.sendall(b"reboot\n")


class Ticks:
    """Records the guest's ticks at every host it may run on, in one list of (time, number, folder).
    Add the destination before the move begins, so that no tick of it is missed."""

    def __init__(self, *folders):
        self.ticks = []
        self._paths = {}
        self._lock = threading.Lock()
        self._is_ended = False
        for folder in folders:
            self.add(folder)
        self._thread = threading.Thread(target=self._record, daemon=True)
        self._thread.start()

    def add(self, folder):
        with self._lock:
            self._paths[pathlib.Path(folder) / "tick.sock"] = None

    def watches(self, folder):
        return pathlib.Path(folder) / "tick.sock" in self._paths

    def close(self):
        self._is_ended = True
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def longest_gap(self, since=0.0):
        """Longest time without a tick, in milliseconds, between ticks after `since`
        (time.monotonic)."""
        times = [when for when, _, _ in list(self.ticks) if when >= since]
        return max((b - a for a, b in zip(times, times[1:])), default=0.0) * 1000

    def wait(self, count=1, timeout=30):
        """Until `count` more ticks came."""
        wanted = len(self.ticks) + count
        deadline = time.monotonic() + timeout
        while len(self.ticks) < wanted:
            if time.monotonic() > deadline:
                raise GuestError("the guest does not tick")
            time.sleep(0.005)

    def check_one_place(self):
        """It never ran in two places. What it had written into its UART (16 bytes) when it was
        paused moves with it, and QEMU may also have passed it on where it was: so many ticks may
        come twice at a move, the last ones there and the first ones here. A reboot starts at 0
        again and must be recorded by a new object."""
        seen = {}
        twice = collections.Counter()
        for _, number, folder in list(self.ticks):
            first = seen.setdefault(number, folder)
            if first == folder:
                continue
            twice[number // 100, folder] += 1
            if twice[number // 100, folder] * len(f"{number}\n") > UART_BYTES:
                raise GuestError(f"tick {number} came from {first} and from {folder}")

    def _open_missing(self, selector):
        with self._lock:
            for path, connection in self._paths.items():
                if connection is None and path.exists():
                    connection = _connect(path)
                    if connection:
                        connection.setblocking(False)
                        selector.register(connection, selectors.EVENT_READ, [path, b""])
                        self._paths[path] = connection

    def _take(self, selector, key):
        path, rest = key.data
        now = time.monotonic()
        try:
            piece = key.fileobj.recv(65536)
        except OSError:
            piece = b""
        if not piece:
            selector.unregister(key.fileobj)
            key.fileobj.close()
            with self._lock:
                self._paths[path] = None
            return
        *lines, key.data[1] = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip().isdigit():
                self.ticks.append((now, int(line), path.parent))

    def _record(self):
        with selectors.DefaultSelector() as selector:
            while not self._is_ended:
                self._open_missing(selector)
                for key, _ in selector.select(0.01):
                    self._take(selector, key)
            for key in list(selector.get_map().values()):
                key.fileobj.close()


class Guest:
    """A guest by name: its console and its ticks, at the host where it runs now."""

    command_line = staticmethod(command_line)

    def __init__(self, name, folder, timeout=60):
        self.name = name
        self.console = Console(folder, timeout)
        self.ticks = Ticks(folder)
        self.since = time.monotonic()

    def close(self):
        self.console.close()
        self.ticks.close()

    def wait_ready(self, timeout=60):
        self.console.wait_ready(timeout)
        self.reset_gap()

    def expect_at(self, folder):
        """It may move to this host: ticks are taken there from the first one on, so that the pause
        is measured."""
        self.ticks.add(folder)

    def move_to(self, folder, timeout=60):
        folder = pathlib.Path(folder)
        if folder == self.console.folder and self.console.connection:
            return
        self.console.move(folder, timeout)
        if not self.ticks.watches(folder):
            self.ticks.add(folder)
            self.since = time.monotonic()  # nobody saw when it began to tick there

    def status(self):
        """Numbers since reset_gap; longest_gap_ms is the longer one of the write gap by the guest's
        clock and the tick gap by the host's, which sees pauses."""
        numbers = self.console.status()
        numbers["tick_gap_ms"] = self.ticks.longest_gap(self.since)
        numbers["longest_gap_ms"] = max(numbers["gap_ms"], numbers["tick_gap_ms"])
        return types.SimpleNamespace(**numbers)

    def verify(self, timeout=120):
        """ok, and what the guest said."""
        try:
            return types.SimpleNamespace(ok=True, **self.console.verify(timeout))
        except GuestError as failure:
            return types.SimpleNamespace(ok=False, text=str(failure))

    @property
    def gap_before_move_ms(self):
        """Longest write gap by the guest's clock, which stands still in the pause of a move."""
        return self.console.longest_gap()

    def pause_ms(self, since=0.0):
        return self.ticks.longest_gap(since)

    def reset_gap(self):
        self.console.reset()
        self.since = time.monotonic()

    def assert_writes(self, timeout=10):
        """It goes on writing, without errors."""
        before = self.console.status()
        deadline = time.monotonic() + timeout
        while True:
            now = self.console.status()
            assert now["errors"] == 0, now
            if now["writes"] >= before["writes"] + 10:
                return
            assert time.monotonic() < deadline, f"no writes: {now}"
            time.sleep(0.05)

    def stop(self):
        self.console.stop()

    def run(self):
        self.console.run()

    def rate(self, writes_per_s):
        self.console.rate(writes_per_s)

    def discards(self, percent):
        """Percent of the writes; True is 5."""
        self.console.discards(5 if percent is True else int(percent))

    def poweroff(self):
        self.console.poweroff()

    def reboot(self):
        self.console.reboot()
