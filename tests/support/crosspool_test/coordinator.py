"""One coordinator on this machine: its folder, database, configuration and process."""
import json
import pathlib
import random
import shutil
import socket
import subprocess

from . import shell
from .api import Api
from .daemon import Daemon

PROGRAM = shell.BUILD / "coordinator" / "crosspool-coordinator"


class Coordinator(Daemon):
    """options: further members of coordinator.json."""

    ADDRESS = "127.0.0.1"
    # below the range from which the kernel takes ports of outgoing connections
    PORTS = range(20000, 32000)
    reservations = []

    def __init__(self, directory, postgres, **options):
        self.directory = pathlib.Path(directory)
        super().__init__("the coordinator", self.directory, "coordinator.log")
        self.postgres = postgres
        self.state_directory = self.directory / "state"
        self.admin_token = None
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
        """A port that nobody listens on now, and that no other test process on this machine is
        given while this one lives, even when its listener rests meanwhile: an abstract socket,
        which the kernel keeps unique and gives back by itself, is the reservation."""
        while True:
            port = random.choice(cls.PORTS)
            reservation = socket.socket(socket.AF_UNIX)
            try:
                reservation.bind(f"\0crosspool-test-port-{port}")
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("0.0.0.0", port))
            except OSError:
                reservation.close()
                continue
            cls.reservations.append(reservation)
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

    def init_with_admin(self):
        """`init`, and a token of an administrator in self.admin_token. Only the first one with a
        PostgreSQL runs the commands: the others are copies of it, which takes a fraction of the
        time."""
        first = self.postgres.first
        if first is None:
            first = self.postgres.first = Coordinator(self.postgres.directory / "first",
                                                      self.postgres)
            first.init()
            first.admin_token = first.make_token("admin", "admin")
        shutil.copytree(first.state_directory, self.state_directory)
        self.configuration["database"] = self.postgres.create_database(first.database_name())
        self.write_configuration()
        self.admin_token = first.admin_token

    def database_name(self):
        return self.configuration["database"].rpartition("dbname=")[2]

    def start(self, timeout=30):
        self.start_with(self.ca_path, timeout)

    def start_with(self, ca_path, timeout=30):
        """With the CA of an own certificate on the API port."""
        self.launch(PROGRAM, "run", "--config", self.config_path)
        api = Api(self.url(), ca_path)

        def is_ready():
            assert self.is_running(), f"the coordinator ended: {self.tail()}"
            try:
                return api.request("GET", "/readyz").status == 200
            except OSError:
                return False
        shell.wait_for("the coordinator to be ready", is_ready, timeout)
        api.close()

    def make_token(self, name, role, *more):
        return self.command("token", "create", "--name", name, "--role", role, *more).strip()

    def api(self, token, **options):
        return Api(self.url(), self.ca_path, token, **options)

    def query(self, sql):
        return self.postgres.query(self.configuration["database"], sql)
