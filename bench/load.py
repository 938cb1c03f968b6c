"""A coordinator with a database that is durable, thousands of hosts in it, and the program that plays
them (tests/tools/agent_load.c)."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

from crosspool_test import shell
from crosspool_test.coordinator import Coordinator
from crosspool_test.postgres import Postgres

PROGRAM = shell.BUILD / "tests" / "tools" / "agent-load"

HOSTS = """
INSERT INTO pool (name) VALUES ('bench');
CREATE UNLOGGED TABLE bench_host (n integer PRIMARY KEY, id uuid, serial text, pem text);
"""

FILL_HOSTS = """
INSERT INTO host (id, pool_id, name, state, last_seen, link_address, link_port)
    SELECT b.id, p.id, 'h' || b.n, 'enabled', now(), '127.0.0.1', 7801 FROM bench_host b, pool p;
INSERT INTO host_certificate (serial, host_id, pem, expires_at)
    SELECT serial, id, pem, now() + interval '2 days' FROM bench_host;
"""

# Migration k goes from host 2k to host 2k + 1, round and round, with one disk and one VIF.
MIGRATIONS = """
CREATE UNLOGGED TABLE bench_migration AS
    SELECT k, gen_random_uuid() AS id, gen_random_uuid() AS domain, gen_random_uuid() AS vm,
        gen_random_uuid() AS destination_vm, s.id AS source, d.id AS destination,
        gen_random_uuid() AS step
    FROM generate_series(0, {count} - 1) k
    JOIN bench_host s ON s.n = 2 * k % {hosts}
    JOIN bench_host d ON d.n = 2 * k % {hosts} + 1;
INSERT INTO vm (id, pool_id, host_id, domain_uuid, name, state, memory_bytes, vcpus)
    SELECT b.vm, p.id, b.source, b.domain, 'g' || b.k, 'running', 1073741824, 2
    FROM bench_migration b, pool p;
INSERT INTO migration (id, vm_id, destination_vm_id, domain_uuid, name, memory_bytes,
        source_pool_id, source_host_id, destination_pool_id, destination_host_id, mapping, spec,
        state, created_by)
    SELECT b.id, b.vm, b.vm, b.domain, 'g' || b.k, 1073741824, p.id, b.source, p.id,
        b.destination, '{{}}', jsonb_build_object('migration', b.id, 'domain', b.domain,
            'name', 'g' || b.k, 'memory_bytes', 1073741824, 'mode', 'live',
            'source', jsonb_build_object('id', b.source, 'address', '127.0.0.1', 'port', 7801),
            'destination', jsonb_build_object('id', b.destination, 'address', '127.0.0.1',
                'port', 7801),
            'disks', jsonb_build_array(jsonb_build_object('device', 'vda', 'size_bytes',
                1073741824, 'source', jsonb_build_object('sr', b.id, 'vdi', b.vm, 'format', 'raw'),
                'destination', jsonb_build_object('sr', b.id, 'vdi', b.destination_vm, 'format',
                'raw'))),
            'vifs', jsonb_build_array(jsonb_build_object('mac', '52:54:00:00:00:01',
                'source_network', 'lan', 'destination_network', 'lan')),
            'stall_limit_ms', 2000, 'parallel_disks', 1), 'preparing', 'bench'
    FROM bench_migration b, pool p;
INSERT INTO step (id, migration_id, host_id, kind, epoch, verdict, not_before)
    SELECT step, id, destination, 'prepare', 0, 'none', now() + k * interval '{gap_ms} ms'
    FROM bench_migration;
ANALYZE;
"""


class DurablePostgres(Postgres):
    FSYNC = "on"


class Load:
    def __init__(self, hosts, **options):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cpb-load-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        self.postgres = DurablePostgres(self.directory / "postgres")
        self.postgres.start()
        self.coordinator = Coordinator(self.directory / "coordinator", self.postgres, **options)
        self.hosts = hosts
        self.file = self.directory / "hosts.json"
        self.process = None
        self.lines = []
        self.reader = None

    def up(self):
        self.coordinator.init()
        with open(self.file, "w") as file:
            subprocess.run([PROGRAM, "certificates", self.coordinator.state_directory,
                            str(self.hosts)], stdout=file, check=True)
        self.coordinator.query(HOSTS)
        rows = self.directory / "rows"
        with open(self.file) as file, open(rows, "w") as out:
            next(file)
            for number, line in enumerate(file):
                host, serial, pem = json.loads(line)
                out.write(f"{number}\t{host}\t{serial}\t" + pem.replace("\n", "\\n") + "\n")
        self.coordinator.query(f"\\copy bench_host FROM '{rows}'")
        self.coordinator.query(FILL_HOSTS)

    def add_migrations(self, count, gap_ms):
        """One falls due each gap_ms, and its host is woken then, as when it is created through the
        API. Returns when all are due."""
        self.coordinator.query("DROP TABLE IF EXISTS bench_migration")
        self.coordinator.query(MIGRATIONS.format(count=count, hosts=self.hosts, gap_ms=gap_ms))
        begin = time.monotonic()
        with subprocess.Popen([self.postgres.binaries / "psql", "-X", "-q", "-d",
                               self.coordinator.configuration["database"]],
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as psql:
            for number in range(count):
                time.sleep(max(0, begin + number * gap_ms / 1000 - time.monotonic()))
                psql.stdin.write("SELECT pg_notify('host_steps', destination::text)"
                                 f" FROM bench_migration WHERE k = {number};\n")
                psql.stdin.flush()

    def begin(self, seconds):
        port = self.coordinator.configuration["agents"]["port"]
        self.process = subprocess.Popen([PROGRAM, "run", self.file, str(port), str(seconds)],
                                        stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.split())

    def has_said(self, word):
        return any(line[0] == word for line in list(self.lines))

    def idle(self):
        return sum(line[0] == "idle" for line in list(self.lines))

    def end(self):
        """Results that were reported."""
        status = self.process.wait(120)
        self.reader.join(10)
        assert status == 0, "agent-load failed"
        return int(self.lines[-1][1])

    def memory_kib(self):
        text = pathlib.Path(f"/proc/{self.coordinator.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    def database_pids(self):
        children = shell.run("ps", "--ppid", self.postgres.process.pid, "-o", "pid=", check=False)
        return [self.postgres.process.pid, *map(int, children.split())]

    def down(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.coordinator.kill()
        self.postgres.remove()
        shutil.rmtree(self.directory, ignore_errors=True)
