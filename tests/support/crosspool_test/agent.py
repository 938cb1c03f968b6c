"""One agent of a cluster on this machine: its folders, configuration and process."""
import json
import os
import pathlib

from . import shell
from .daemon import Daemon


PROGRAM = shell.BUILD / "agent" / "crosspool-agent"


class Agent(Daemon):
    def __init__(self, name, directory, address, port, coordinators, bridge, network,
                 sr_name=None, hypervisor_options=None, memory_bytes=4 << 30):
        self.name = name
        self.directory = pathlib.Path(directory)
        super().__init__(f"agent {name}", self.directory, "agent.log")
        self.sr_name = sr_name or f"local-{name}"
        self.sr = self.directory / "sr"
        self.run_directory = self.directory / "run"
        self.host = None
        self.extra_environment = {}
        for folder in (self.sr, self.run_directory):
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
        return shell.run(PROGRAM, *words, "--config", self.config_path, **options)

    def enrol(self, token):
        self.command("enrol", "--token-file", "-", input=token)

    def start(self):
        self.launch(PROGRAM, "run", "--config", self.config_path, **self.extra_environment)

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
