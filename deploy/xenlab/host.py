"""One emulated Xen host: its QEMU, its consoles, and the way into its dom0."""
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import time

from . import accelerator, network
from .place import LabError, NAMESPACE, RUN, run

MEMORY_MIB = 1024
DOM0_MIB = 384
DATA_DISK_BYTES = 4 << 30
READY = "LAB READY"
BOOT_LIMIT_S = 240
SSH_CONFIG = RUN / "ssh.conf"


def write_ssh_config(keys, numbers):
    """`ssh -F build/lab/run/ssh.conf xh1` works from anywhere on this machine: over the connection
    that `up` opened, or by a new one through the lab's network."""
    host_key = " ".join((keys / "host.pub").read_text().split()[:2])
    known = RUN / "known_hosts"
    known.write_text(f"crosspool-lab {host_key}\n")
    lines = [f"Host xh{n}\n    HostName {network.address('control', n)}" for n in numbers]
    lines += ["Host *", "    User root", f"    IdentityFile {keys / 'user'}",
              "    IdentitiesOnly yes", f"    UserKnownHostsFile {known}",
              "    HostKeyAlias crosspool-lab", "    StrictHostKeyChecking yes",
              "    LogLevel ERROR", f"    ControlPath {RUN}/%n/ssh",
              "    ServerAliveInterval 30", "    ServerAliveCountMax 20",
              f"    ProxyCommand nsenter --net=/run/netns/{NAMESPACE} busybox nc %h %p"]
    SSH_CONFIG.write_text("\n".join(lines) + "\n")


class Host:
    def __init__(self, number):
        self.number = number
        self.name = f"xh{number}"
        self.folder = RUN / self.name
        self.console = self.folder / "console.log"
        self.process = None  # its QEMU, when this object started it

    # ---- life
    def pid(self):
        """Of its QEMU; None when it is down."""
        try:
            pid = int((self.folder / "qemu.pid").read_text())
            arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        return pid if f"{self.folder}/".encode() in arguments else None

    def settings(self):
        """What it was started with."""
        return json.loads((self.folder / "host.json").read_text())

    def start(self, images, choice, features="", serves_storage=False, keep_disks=False):
        """features: changes to the emulated CPU such as "-cx16,-sse3". Its disks are new unless
        they are to be kept. The process must be in the lab's network."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in ("console.log", "qemu.pid", "ssh"):
            (self.folder / file).unlink(missing_ok=True)
        if not keep_disks:
            self._make_disks(images)
        network.make_taps(self.name)
        cpu = ",".join(word for word in (choice.cpu, features) if word)
        settings = {"accelerator": choice.name, "features": features, "image": images.root.name}
        (self.folder / "host.json").write_text(json.dumps(settings))
        command = self._command(images, choice, cpu, serves_storage)
        with open(self.folder / "qemu.log", "wb") as log:
            self.process = subprocess.Popen([str(word) for word in command],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)

    def _make_disks(self, images):
        root, data = self.folder / "root.qcow2", self.folder / "data.raw"
        root.unlink(missing_ok=True)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", images.root, root)
        data.unlink(missing_ok=True)
        data.touch()
        os.truncate(data, DATA_DISK_BYTES)

    def _command(self, images, choice, cpu, serves_storage):
        linux = f"lab.number={self.number} lab.storage={int(serves_storage)}"
        xen = f"loglvl=warning guest_loglvl=warning dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M"
        command = ["qemu-system-x86_64", "-name", self.name, "-machine", "q35", "-accel",
                   choice.accel, "-cpu", cpu, "-smp", "1", "-m", str(MEMORY_MIB), "-nodefaults",
                   "-no-user-config", "-display", "none", "-pidfile", self.folder / "qemu.pid",
                   *accelerator.hypervisor_options(images, xen, linux),
                   "-chardev", f"socket,id=console,path={self.folder}/console.sock,server=on,"
                   f"wait=off,logfile={self.console}", "-serial", "chardev:console",
                   "-monitor", f"unix:{self.folder}/monitor.sock,server=on,wait=off",
                   "-device", "virtio-rng-pci"]
        # what a host flushes outlives its power
        for disk, form in (("root.qcow2", "qcow2"), ("data.raw", "raw")):
            identity = disk.split(".", maxsplit=1)[0]
            command += ["-drive", f"if=none,id={identity},format={form},cache=writeback,"
                        f"file={self.folder}/{disk}",
                        "-device", f"virtio-blk-pci,drive={identity}"]
        for index, subnet in enumerate(network.SUBNETS):
            command += ["-netdev", f"tap,id={subnet},script=no,downscript=no,"
                        f"ifname={network.tap(self.name, subnet)}",
                        "-device", f"virtio-net-pci,netdev={subnet},romfile=,"
                        f"mac=52:54:00:78:{index:02x}:{self.number:02x}"]
        return command

    def wait_ready(self):
        """Until commands can be run in its dom0."""
        deadline = time.monotonic() + BOOT_LIMIT_S
        while not (self.console.exists() and READY in self.console.read_text(errors="replace")):
            if self.process.poll() is not None if self.process else self.pid() is None:
                raise LabError(f"{self.name}: QEMU ended: {self._last_words()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is not up after {BOOT_LIMIT_S} s: "
                               f"{self._last_words()}")
            time.sleep(0.1)
        self._connect(deadline)
        self.run(f"date -s @{time.time():.2f}")  # the emulated clock lags behind

    def _connect(self, deadline):
        """A connection that stays, so that each command costs no handshake."""
        check = ["ssh", "-F", SSH_CONFIG, "-O", "check", self.name]
        if subprocess.run(check, capture_output=True, check=False).returncode == 0:
            return
        command = ["ssh", "-F", SSH_CONFIG, "-fMN", "-o", "ConnectTimeout=20", self.name]
        while subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} does not let ssh in: {self._last_words()}")
            time.sleep(0.5)

    def _last_words(self):
        logs = (self.folder / "qemu.log", self.console)
        said = [path.read_text(errors="replace") for path in logs if path.exists()]
        return " | ".join("\n".join(said).splitlines()[-8:])

    def stop(self):
        """At once, as by a power cut."""
        subprocess.run(["ssh", "-F", SSH_CONFIG, "-O", "exit", self.name], capture_output=True,
                       check=False)
        pid = self.pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        while self.pid() is not None:
            time.sleep(0.02)

    def forget(self):
        """Stops it for good; `up` makes a new one in its place."""
        self.stop()
        shutil.rmtree(self.folder)

    # ---- inside
    def ssh(self, *options):
        return ["ssh", "-F", str(SSH_CONFIG), *options, self.name]

    def run(self, command, check=True, timeout=120, **options):
        """stdout of a shell command in dom0."""
        done = subprocess.run([*self.ssh(), command], capture_output=True, text=True,
                              timeout=timeout, check=False,
                              **({"stdin": subprocess.DEVNULL} if "input" not in options else {}),
                              **options)
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {command[:200]}: exit {done.returncode}: "
                           f"{(done.stderr or done.stdout).strip()}")
        return done.stdout

    def put(self, source, path, mode="0644"):
        """Copies a file into dom0; the file at `path` is the old one or the whole new one."""
        quoted = shlex.quote(str(path))
        with open(source, "rb") as file:
            done = subprocess.run(
                [*self.ssh(), f"cat >{quoted}.new && chmod {mode} {quoted}.new && "
                 f"mv {quoted}.new {quoted}"], stdin=file, capture_output=True, check=False)
        if done.returncode != 0:
            raise LabError(f"{self.name}: put {path}: {done.stderr.decode().strip()}")
