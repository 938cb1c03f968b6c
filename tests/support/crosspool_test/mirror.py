"""Both ends of a disk transfer on one machine, without coordinator and handoff: a guest of the QEMU
driver, mirror-drive at the source and at the destination, and a proxy between them that can be cut."""
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid

from . import guest as guests
from . import images, shell
from .guest import Guest

MIB = 1 << 20


class Proxy:
    """TCP from a port of its own to another one. `stall()` swallows all silently, as a black hole
    does; `reset()` ends what there is."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target = None
        self.is_stalled = False
        self.stalled_pairs = None  # None: all of them
        self.pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            near.close()
            return
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (near, far)
        self.pairs.append(pair)
        ends = [threading.Thread(target=self._pump, args=(pair, *way), daemon=True)
                for way in ((near, far), (far, near))]
        for end in ends:
            end.start()

    def _wait_passable(self, pair):
        while self.is_stalled and (self.stalled_pairs is None or pair in self.stalled_pairs):
            time.sleep(0.01)

    def _pump(self, pair, source, sink):
        try:
            while piece := source.recv(1 << 18):
                self._wait_passable(pair)
                sink.sendall(piece)
        except OSError:
            pass
        self._wait_passable(pair)
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stall(self, is_stalled=True):
        self.stalled_pairs = None
        self.is_stalled = is_stalled

    def only_new_pass(self):
        """What is stalled now stays so; new connections go through."""
        self.stalled_pairs = list(self.pairs)

    def reset(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                end.close()

    def close(self):
        self.is_stalled = False
        self.listener.close()
        self.reset()


class DriveError(AssertionError):
    """mirror-drive answered with an error; .code is its word."""

    def __init__(self, line):
        super().__init__(line)
        self.code = line.split()[2]
        self.text = line.split(" ", 3)[3]


class Drive:
    """One mirror-drive process."""

    def __init__(self, role, config, spec, log, environment=None):
        self.log = log
        with open(log, "ab") as err:
            self.process = subprocess.Popen(
                [shell.BUILD / "tests/tools/mirror-drive", role, config, spec], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err,
                env=dict(os.environ, **(environment or {})))
        self.answers = {}
        self.arrived = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.wait("ready", 20)

    def _read(self):
        for line in self.process.stdout:
            with self.arrived:
                self.answers.setdefault(line.split()[0], []).append(line.strip())
                self.arrived.notify_all()
        with self.arrived:
            self.answers["end"] = ["end"]
            self.arrived.notify_all()

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def has_answered(self, word):
        with self.arrived:
            return bool(self.answers.get(word))

    def wait(self, word, timeout=60):
        """The answer to an earlier command, without its first two words."""
        with self.arrived:
            self.arrived.wait_for(lambda: self.answers.get(word) or "end" in self.answers, timeout)
            if not self.answers.get(word):
                raise AssertionError(f"no answer to {word}: {self.tail()}")
            line = self.answers[word].pop(0)
        if line.split()[1] == "error":
            raise DriveError(line)
        return line.split(" ", 2)[2] if line.count(" ") > 1 else ""

    def do(self, line, timeout=60):
        self.send(line)
        return self.wait(line.split()[0], timeout)

    def progress(self):
        return json.loads(self.do("progress"))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:]


class Qmp:
    """The driver's own monitor of a domain, as the handoff uses it."""

    def __init__(self, folder):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(str(folder / "qmp.sock"))
        self.lines = self.connection.makefile("rw")
        self.lines.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        json.dump({"execute": name, "arguments": arguments}, self.lines)
        self.lines.write("\n")
        self.lines.flush()
        while True:
            answer = json.loads(self.lines.readline())
            if "return" in answer:
                return answer["return"]
            assert "error" not in answer, answer

    def close(self):
        self.lines.close()
        self.connection.close()


class MirrorBench:
    """disks: [(format, MiB, destination format)]."""

    def __init__(self, disks, filled=True, stall_limit_ms=2000, parallel_disks=1, retry_ms=20000,
                 bandwidth=0, destination_mount=None, iothread=False, is_compressed=False,
                 before_boot=None, **guest_options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cpm-"))
        self.domain, self.migration = str(uuid.uuid4()), str(uuid.uuid4())
        self.hosts = [str(uuid.uuid4()), str(uuid.uuid4())]
        self.sr = pathlib.Path(destination_mount or self.folder / "sr")
        self.failpoints = self.folder / "failpoints"
        self.failpoints.mkdir()
        self.sr.mkdir(exist_ok=True)
        self.proxy = Proxy()
        self.guest = self.source = self.destination = None
        self.retry_ms = retry_ms
        self.is_compressed = is_compressed
        self.disks = [self._make_disk(i, *disk, filled) for i, disk in enumerate(disks)]
        for disk in self.disks if before_boot else ():
            before_boot(disk["path"])
        shell.run(shell.BUILD / "tests/tools/mirror-drive", "keys", self.folder, *self.hosts)
        self._write_spec(stall_limit_ms, parallel_disks, bandwidth)
        self._describe(iothread, guest_options)
        self._boot()

    def _make_disk(self, index, form, mib, to, filled):
        path = self.folder / f"disk{index}.{form}"
        base = self.folder / "base.raw"
        with open(base, "wb") as file:
            file.truncate(mib * MIB)
            if filled:  # half of it data, in pieces that end anywhere
                for start in range(0, mib * MIB, 4 * MIB):
                    file.seek(start + 512 * random.randrange(512))
                    file.write(os.urandom(2 * MIB))
        options = ["-o", "force_size=on"] if form == "vhd" else []
        if self.is_compressed:
            options.append("-c")
        shell.run("qemu-img", "convert", "-f", "raw", "-O", images.QEMU_FORMAT[form], *options, base,
                  path)
        base.unlink()
        vdi = str(uuid.uuid4())
        return {"path": path, "format": form, "size": mib * MIB, "vdi": vdi, "to": to}

    def _write_spec(self, stall_limit_ms, parallel_disks, bandwidth):
        nowhere = str(uuid.uuid4())
        self.spec = {
            "migration": self.migration, "domain": self.domain, "name": "driven",
            "memory_bytes": 128 * MIB,
            "source": {"id": self.hosts[0], "address": "127.0.0.1", "port": 1},
            "destination": {"id": self.hosts[1], "address": "127.0.0.1", "port": self.proxy.port},
            "disks": [{"device": "vd" + chr(ord("a") + i), "size_bytes": disk["size"],
                       "source": {"sr": nowhere, "vdi": nowhere, "format": disk["format"]},
                       "destination": {"sr": nowhere, "vdi": disk["vdi"], "format": disk["to"]}}
                      for i, disk in enumerate(self.disks)],
            "vifs": [], "bandwidth_bytes_per_s": bandwidth, "stall_limit_ms": stall_limit_ms,
            "parallel_disks": parallel_disks}
        (self.folder / "spec.json").write_text(json.dumps(self.spec))

    def _describe(self, iothread, options):
        (self.folder / "domain.json").write_text(json.dumps(guests.domain(
            self.domain, "driven", [(disk["path"], disk["format"]) for disk in self.disks],
            iothread=iothread, **{"writers": 4, "base": 1, **options})))

    def _boot(self):
        shell.run(shell.BUILD / "tests/tools/qemu-drive", self.folder / "a", "boot",
                  self.folder / "domain.json")
        self.guest = Guest("driven", self.place)
        self.guest.wait_ready()

    def destroy_domain(self):
        self.guest.close()
        self.guest = None
        shell.run(shell.BUILD / "tests/tools/qemu-drive", self.folder / "a", "destroy", self.domain)

    def boot_again(self):
        """The same domain in a new QEMU."""
        self.destroy_domain()
        self._boot()

    @property
    def place(self):
        return self.folder / "a" / "domains" / self.domain

    def destination_path(self, index=0):
        disk = self.disks[index]
        return self.sr / f"{disk['vdi']}.{disk['to']}"

    def _config(self, index, name, **more):
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({
            "host": self.hosts[index], "keys": str(self.folder),
            "state": str(self.folder / f"{name}-state"), "run": str(self.folder / name), **more}))
        return path

    def start_destination(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        plugin = next(shell.BUILD.rglob("nbdkit-crosspool-plugin.so"))
        config = self._config(1, "b", port=port, plugin=str(plugin), sr_name="local",
                              sr=str(self.sr))
        self.proxy.target = port
        self.destination = Drive("receive", config, self.folder / "spec.json",
                                 self.folder / "b.log")

    def start_source(self):
        config = self._config(0, "a", retry_ms=self.retry_ms)
        self.source = Drive("transfer", config, self.folder / "spec.json", self.folder / "a.log",
                            {"CROSSPOOL_FAILPOINTS": str(self.failpoints)})

    def start(self):
        self.start_destination()
        self.start_source()

    def wait_progress(self, what, condition, timeout=60):
        return shell.wait_for(what, lambda: condition(self.source.progress()), timeout)

    def wait_copied(self, share, timeout=60):
        """Until so much of the first disk is copied."""
        self.wait_progress(f"{share:.0%} of disk 0", lambda now: now["disks"][0]["copied_bytes"] >=
                           share * now["disks"][0]["total_bytes"], timeout)

    def monitor(self):
        return Qmp(self.place)

    def is_running(self):
        monitor = self.monitor()
        try:
            return monitor.command("query-status")["running"]
        finally:
            monitor.close()

    def drain_and_compare(self):
        """As the handoff does it: the guest is suspended, the mirrors end, the images are flushed
        and closed; then both sides must hold the same. Leaves the guest suspended."""
        monitor = self.monitor()
        monitor.command("stop")
        begin = time.monotonic()
        self.source.do("drain 10000")
        self.drained_ms = (time.monotonic() - begin) * 1000
        self.destination.do("flush")
        monitor.close()
        for index, disk in enumerate(self.disks):
            assert images.identical(disk["path"], self.destination_path(index)), \
                f"disk {index}: {disk['format']} to {disk['to']} differs"

    def resume_and_verify(self):
        monitor = self.monitor()
        monitor.command("cont")
        monitor.close()
        self.verify()

    def verify(self):
        self.guest.assert_writes()
        verdict = self.guest.verify()
        assert verdict.ok, verdict.text

    def leftovers(self):
        """What is left at the source: in QEMU, in the ledger, in folders."""
        nodes = self._block_monitor("query-named-block-nodes", flat=True)
        found = [node["node-name"] for node in nodes if node["node-name"].startswith("cp")]
        found += [bitmap["name"] for node in nodes for bitmap in node.get("dirty-bitmaps", [])]
        found += [job["id"] for job in self._block_monitor("query-jobs")]
        found += [str(path) for path in (self.folder / "a").glob("cp*")]
        found += [str(path) for path in (self.folder / "a-state" / "chunks").glob("*")]
        ledger = self.source.do("ledger")
        return found + ([ledger] if ledger else [])

    def _block_monitor(self, name, **arguments):
        monitor = self.monitor()
        try:
            return monitor.command(name, **arguments)
        finally:
            monitor.close()

    def set_failpoint(self, name, action):
        (self.failpoints / f"{name}.hit").unlink(missing_ok=True)
        (self.failpoints / name).write_text(action)

    def wait_failpoint(self, name, timeout=60):
        shell.wait_for(f"failpoint {name}",
                       (self.failpoints / f"{name}.hit").exists, timeout, 0.005)

    def clear_failpoint(self, name):
        (self.failpoints / name).unlink(missing_ok=True)

    def close(self):
        for drive in (self.source, self.destination):
            if drive and drive.process.poll() is None:
                drive.kill()
        if self.guest:
            self.guest.close()
        shell.run(shell.BUILD / "tests/tools/qemu-drive", self.folder / "a", "destroy", self.domain,
                  check=False)
        self.proxy.close()
        if not os.environ.get("CROSSPOOL_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
