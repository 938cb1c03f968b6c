"""One agent of a cluster on this machine: its folders, configuration and process."""
import json
import os
import pathlib
import signal
import subprocess

from . import shell


class Agent:
    def __init__(self, name, directory, address, port, coordinators, bridge, network,
                 hypervisor_options=None, memory_bytes=4 << 30):
        self.name = name
        self.directory = pathlib.Path(directory)
        self.sr_name = f"local-{name}"
        self.sr = self.directory / "sr"
        self.run_directory = self.directory / "run"
        self.failpoints = self.directory / "failpoints"
        self.log = self.directory / "agent.log"
        self.host = None
        self.process = None
        self.extra_environment = {}
        for folder in (self.sr, self.run_directory, self.failpoints):
            folder.mkdir(parents=True, exist_ok=True)
        self.configuration = {
            "name": name,
            "state_directory": str(self.directory / "state"),
            "run_directory": str(self.run_directory),
            "coordinators": coordinators,
            "link": {"address": address, "port": port},
            "hypervisor": "qemu",
            "qemu": hypervisor_options or {"memory_directory": "/dev/shm"},
            "networks": [{"name": network, "bridge": bridge}],
            "srs": [{"name": self.sr_name, "type": "ext", "location": str(self.sr)}],
            "memory_bytes": memory_bytes,
            "nbdkit_plugin": str(next(shell.BUILD.rglob("nbdkit-crosspool-plugin.so"))),
        }
        self.write_configuration()

    @property
    def config_path(self):
        return self.directory / "agent.json"

    def write_configuration(self):
        self.config_path.write_text(json.dumps(self.configuration, indent=2))

    def command(self, *words, **options):
        return shell.run(shell.BUILD / "agent" / "crosspool-agent", *words, "--config",
                         self.config_path, **options)

    def enrol(self, token):
        self.command("enrol", "--token-file", "-", input=token)

    def start(self):
        environment = dict(os.environ, CROSSPOOL_FAILPOINTS=str(self.failpoints),
                           **self.extra_environment)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [shell.BUILD / "agent" / "crosspool-agent", "run", "--config", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, at any moment."""
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def stop(self, timeout=20):
        """SIGTERM; it must end by itself with 0."""
        if not self.is_running():
            return
        self.process.terminate()
        status = self.process.wait(timeout)
        assert status == 0, f"agent {self.name} ended with {status}: {self.tail()}"

    def restart(self):
        self.kill()
        self.start()

    def signal(self, number):
        os.kill(self.process.pid, number)

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def tail(self, lines=15):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # failpoints (base/failpoint.h)
    def set_failpoint(self, name, action):
        hit = self.failpoints / f"{name}.hit"
        hit.unlink(missing_ok=True)
        (self.failpoints / name).write_text(action)

    def wait_failpoint(self, name, timeout=60):
        shell.wait_for(f"failpoint {name} of {self.name}",
                       (self.failpoints / f"{name}.hit").exists, timeout, 0.005)

    def clear_failpoint(self, name):
        (self.failpoints / name).unlink(missing_ok=True)

    # what runs here, seen from outside
    def domains(self):
        """{uuid: QEMU's pid} of the domains of this host whose QEMU lives."""
        found = {}
        for pid_file in self.run_directory.glob("domains/*/qemu.pid"):
            try:
                pid = int(pid_file.read_text().split()[0])
                os.kill(pid, 0)
            except (ValueError, IndexError, ProcessLookupError, FileNotFoundError):
                continue
            found[pid_file.parent.name] = pid
        return found

    def children(self):
        """Command lines of the agent's living children."""
        if not self.is_running():
            return []
        text = shell.run("ps", "--ppid", str(self.process.pid), "-o", "pid=,args=", check=False)
        return [line.strip() for line in text.splitlines() if line.strip()]
