"""One coordinator on this machine: its folder, database, configuration and process."""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess

from . import shell
from .api import Api

PROGRAM = shell.BUILD / "coordinator" / "crosspool-coordinator"


class Coordinator:
    """options: further members of coordinator.json."""

    ADDRESS = "127.0.0.1"
    # below the range from which the kernel takes ports of outgoing connections
    PORTS = range(20000, 32000)
    used_ports = set()

    def __init__(self, directory, postgres, **options):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.postgres = postgres
        self.failpoints = self.directory / "failpoints"
        self.failpoints.mkdir(exist_ok=True)
        self.log = self.directory / "coordinator.log"
        self.state_directory = self.directory / "state"
        self.process = None
        self.configuration = {
            "database": None,
            "state_directory": str(self.state_directory),
            "schema_directory": str(shell.ROOT / "db" / "migrations"),
            "openapi": str(shell.ROOT / "api" / "openapi.yaml"),
            "api": {"address": self.ADDRESS, "port": self.free_port()},
            "agents": {"address": self.ADDRESS, "port": self.free_port()},
            "names": ["localhost", self.ADDRESS],
            **options,
        }

    @classmethod
    def free_port(cls):
        """A port that nobody listens on now and that this function names once."""
        while True:
            port = random.choice(cls.PORTS)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("0.0.0.0", port))
                except OSError:
                    continue
            if port not in cls.used_ports:
                cls.used_ports.add(port)
                return port

    @property
    def config_path(self):
        return self.directory / "coordinator.json"

    @property
    def ca_path(self):
        return self.state_directory / "ca.pem"

    def url(self):
        return f"https://{self.ADDRESS}:{self.configuration['api']['port']}"

    def agent_url(self):
        return f"https://{self.ADDRESS}:{self.configuration['agents']['port']}"

    def endpoint(self):
        """As in agent.json."""
        return {"api": self.url(), "agent": self.agent_url(), "ca": str(self.ca_path)}

    def write_configuration(self):
        if not self.configuration["database"]:
            self.configuration["database"] = self.postgres.create_database()
        self.config_path.write_text(json.dumps(self.configuration, indent=2))

    def command(self, *words, **options):
        """stdout of `crosspool-coordinator WORDS --config FILE`."""
        return shell.run(PROGRAM, *words, "--config", self.config_path, **options)

    def try_command(self, *words, timeout=60):
        """The completed process, whatever its exit status."""
        return subprocess.run([PROGRAM, *words, "--config", self.config_path],
                              capture_output=True, text=True, timeout=timeout, check=False)

    def init(self):
        self.write_configuration()
        self.command("init")

    def start(self, timeout=30):
        environment = dict(os.environ, CROSSPOOL_FAILPOINTS=str(self.failpoints))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([PROGRAM, "run", "--config", self.config_path],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment)
        api = self.api(None)

        def is_ready():
            assert self.is_running(), f"the coordinator ended: {self.tail()}"
            try:
                return api.request("GET", "/readyz").status == 200
            except OSError:
                return False
        shell.wait_for("the coordinator to be ready", is_ready, timeout)
        api.close()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, at any moment."""
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def stop(self, timeout=30):
        """SIGTERM; it must end by itself with 0."""
        if not self.is_running():
            return
        self.process.terminate()
        status = self.process.wait(timeout)
        assert status == 0, f"the coordinator ended with {status}: {self.tail()}"

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

    def make_token(self, name, role):
        return self.command("token", "create", "--name", name, "--role", role).strip()

    def api(self, token, **options):
        return Api(self.url(), self.ca_path, token, **options)

    def query(self, sql):
        return self.postgres.query(self.configuration["database"], sql)

    # failpoints (base/failpoint.h)
    def set_failpoint(self, name, action):
        (self.failpoints / f"{name}.hit").unlink(missing_ok=True)
        (self.failpoints / name).write_text(action)

    def wait_failpoint(self, name, timeout=60):
        shell.wait_for(f"failpoint {name} of the coordinator",
                       (self.failpoints / f"{name}.hit").exists, timeout, 0.005)

    def clear_failpoint(self, name):
        (self.failpoints / name).unlink(missing_ok=True)
