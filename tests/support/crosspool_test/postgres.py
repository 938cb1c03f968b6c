"""A private PostgreSQL on a unix socket in a folder of its own, run by an unprivileged user."""
import fcntl
import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import time

from . import shell

numbers = itertools.count(1)


def _binaries():
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        raise AssertionError("no PostgreSQL server is installed below /usr/lib/postgresql")
    return folders[-1]


class Postgres:
    """fsync is off: the tests kill processes, not the machine."""

    USER = "postgres"
    FSYNC = "off"

    def __init__(self, directory, sockets=None):
        self.binaries = _binaries()
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.data = self.directory / "data"
        self.log = self.directory / "postgres.log"
        # a unix socket's path has to be short
        self.sockets = pathlib.Path(sockets or f"/tmp/cpg-{os.getpid()}-{next(numbers)}")
        self.process = None
        self.databases = 0
        self.first = None  # the Coordinator whose installation others are copies of
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.USER)

    def _command(self, program, *words):
        command = [str(self.binaries / program), *map(str, words)]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid", self.USER, "--regid", self.USER, "--clear-groups",
                       "--pdeathsig", "KILL", *command]
        return command

    def start(self, timeout=60):
        if not self.data.exists():
            self._make_data()
        self.sockets.mkdir(mode=0o755, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self.sockets, self.USER)
        end = time.monotonic() + timeout
        while not self._start_once(end):
            # after a SIGKILL the last backend of the old server has to end first
            assert time.monotonic() < end, f"PostgreSQL did not start:\n{self.log.read_text()}"
            time.sleep(0.2)

    def _make_data(self):
        """A copy of the first one that this version made here: initdb needs seconds."""
        version = shell.run(self.binaries / "postgres", "--version").split()[2]
        first = shell.ROOT / "build" / f"postgres-{version}"
        first.parent.mkdir(exist_ok=True)
        with open(f"{first}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if first.exists():
                shell.run("cp", "-a", first, self.data)
                return
            shell.run(*self._command("initdb", "-D", self.data, "-U", self.USER, "-A", "trust",
                                     "-E", "UTF8", "--locale=C", "--no-sync"), cwd="/")
            shutil.rmtree(f"{first}.new", ignore_errors=True)
            shell.run("cp", "-a", self.data, f"{first}.new")
            os.rename(f"{first}.new", first)

    def _start_once(self, end):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self._command("postgres", "-D", self.data, "-k", self.sockets,
                              "-c", "listen_addresses=", "-c", f"fsync={self.FSYNC}",
                              "-c", "max_connections=200", "-c", "shared_buffers=32MB",
                              # nothing of it in /dev/shm, where a SIGKILL would leave it
                              "-c", "dynamic_shared_memory_type=mmap"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        while self.process.poll() is None:
            if self._answers():
                return True
            assert time.monotonic() < end, f"PostgreSQL did not start:\n{self.log.read_text()}"
            time.sleep(0.05)
        return False

    def _answers(self):
        return subprocess.run([self.binaries / "pg_isready", "-q", "-h", self.sockets],
                              check=False).returncode == 0

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Immediate shutdown: what is not committed is lost."""
        if self.is_running():
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def kill(self):
        """SIGKILL of the server; its backends notice and end."""
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.stop()
        self.start()

    def _signal_all(self, number):
        children = shell.run("ps", "--ppid", self.process.pid, "-o", "pid=", check=False).split()
        for pid in (self.process.pid, *map(int, children)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def freeze(self):
        """It neither answers nor closes anything from now on."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self):
        self._signal_all(signal.SIGCONT)

    def remove(self):
        self.kill()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def create_database(self, like="template0"):
        """A new database, empty or a copy of one to which nobody is connected; returns its libpq
        connection string."""
        self.databases += 1
        name = f"crosspool{self.databases}"
        self.query(self.conninfo("postgres"),
                   f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy")
        return self.conninfo(name)

    def conninfo(self, database):
        return f"host={self.sockets} user={self.USER} dbname={database}"

    def query(self, conninfo, sql):
        """Rows as lists of text, by psql."""
        text = shell.run(self.binaries / "psql", "-X", "-q", "-A", "-t", "-F", "\t",
                         "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-c", sql)
        return [line.split("\t") for line in text.splitlines()]
