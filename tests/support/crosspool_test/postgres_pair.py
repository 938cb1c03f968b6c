"""Two PostgreSQL servers: a primary, and a standby that has each commit before it is acknowledged."""
import pathlib
import shutil
import signal

from . import shell
from .postgres import Postgres


class Member(Postgres):
    """One of the two. Which standby it waits for stands in a file, so that a promoted server does
    not wait for one that is gone."""

    def __init__(self, directory):
        super().__init__(directory)
        self.waits = self.data / "waits.conf"

    def _make_data(self):
        super()._make_data()
        with open(self.data / "postgresql.conf", "a") as file:
            file.write("include_if_exists = 'waits.conf'\n")

    def wait_for_standby(self):
        """From now on no commit is acknowledged that the standby does not have."""
        self.waits.write_text("synchronous_standby_names = '*'\n")
        self.process.send_signal(signal.SIGHUP)
        shell.wait_for("synchronous replication", lambda: self.query(
            self.conninfo("postgres"),
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == [["1"]], 30)

    def follow(self, primary):
        """Becomes the standby of `primary`, whatever it held before."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        shell.run(*self._command("pg_basebackup", "-D", self.data, "-R", "-X", "stream",
                                 "-c", "fast", "--no-sync", "-d", primary.conninfo("postgres")),
                  cwd="/")
        self.waits.unlink(missing_ok=True)
        self.start()

    def promote(self):
        assert self.query(self.conninfo("postgres"), "SELECT pg_promote(true, 30)") == [["t"]]


class PostgresPair:
    """In the place of one Postgres: its connection strings name both servers."""

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        self.members = [Member(directory / "one"), Member(directory / "two")]
        self.databases = 0

    def start(self):
        self.members[0].start()
        self.members[1].follow(self.members[0])
        self.members[0].wait_for_standby()

    @property
    def primary(self):
        return self.members[0]

    @property
    def standby(self):
        return self.members[1]

    def fail_over(self):
        """The primary dies at once and the standby takes its place, alone."""
        self.primary.kill()
        self.standby.promote()
        self.members.reverse()

    def rejoin(self):
        """The one that died comes back as the other's standby."""
        self.standby.follow(self.primary)
        self.primary.wait_for_standby()

    def remove(self):
        for member in self.members:
            member.remove()

    def create_database(self):
        self.databases += 1
        name = f"crosspool{self.databases}"
        self.primary.query(self.primary.conninfo("postgres"), f"CREATE DATABASE {name}")
        # a standby that has not replayed it yet refuses a client for good, before it says what it is
        shell.wait_for("the database at the standby", lambda: self.standby.query(
            self.standby.conninfo("postgres"),
            f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == [["1"]], 30)
        return self.conninfo(name)

    def conninfo(self, database):
        """In the order of their folders, so that it stays the same when they change places."""
        hosts = ",".join(sorted(str(member.sockets) for member in self.members))
        return f"host={hosts} user={Postgres.USER} dbname={database} " \
            "target_session_attrs=read-write"

    def query(self, conninfo, sql):
        return self.primary.query(conninfo, sql)
