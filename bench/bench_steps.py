"""durable step transitions a second, against pgbench with the same SQL and a job for each step in pg-boss"""
import json
import os
import pathlib
import re
import statistics
import shutil
import tempfile

import figures
from crosspool_test import shell
from crosspool_test.coordinator import Coordinator
from load import DurablePostgres

PROGRAM = shell.BUILD / "tests" / "tools" / "step-drive"
PEERS = shell.ROOT / "bench" / "peers"
# the last one for Node.js 20
PG_BOSS = json.loads((PEERS / "package.json").read_text())["dependencies"]["pg-boss"]
NODE = shell.ROOT / "build" / "pg-boss"
STEPS = 6  # of a move in which nothing fails
FIRST = 100000000000  # numbers of migrations are the last group of their UUIDs
KINDS = {"source": 1, "destination": 2, "migration": 3, "vm": 4, "domain": 5}

FILL = """
INSERT INTO host (id, pool_id, name, state, is_up, last_seen, link_address, link_port)
    SELECT h.id, p.id, h.name, 'enabled', true, now(), '127.0.0.1', 7801
    FROM pool p, generate_series({first}, {last}) n, LATERAL (VALUES ({source}, 's' || n),
        ({destination}, 'd' || n)) AS h (id, name);
INSERT INTO vm (id, pool_id, host_id, domain_uuid, name, state, memory_bytes, vcpus)
    SELECT {vm}, p.id, {source}, {domain}, 'g' || n, 'running', 1073741824, 2
    FROM pool p, generate_series({first}, {last}) n;
INSERT INTO migration (id, vm_id, destination_vm_id, domain_uuid, name, memory_bytes,
        source_pool_id, source_host_id, destination_pool_id, destination_host_id, mapping, spec,
        state, created_by)
    SELECT {migration}, {vm}, {vm}, {domain}, 'g' || n, 1073741824, p.id, {source}, p.id,
        {destination}, '{{}}', jsonb_build_object('migration', {migration}, 'domain', {domain},
            'name', 'g' || n, 'memory_bytes', 1073741824, 'mode', 'live',
            'source', jsonb_build_object('id', {source}, 'address', '127.0.0.1', 'port', 7801),
            'destination', jsonb_build_object('id', {destination}, 'address', '127.0.0.1',
                'port', 7801),
            'disks', '[]'::jsonb, 'vifs', '[]'::jsonb, 'stall_limit_ms', 2000,
            'parallel_disks', 1), 'preparing', 'bench'
    FROM pool p, generate_series({first}, {last}) n;
INSERT INTO step (id, migration_id, host_id, kind, epoch, verdict)
    SELECT {step}, {migration}, {destination}, 'prepare', 0, 'none'
    FROM generate_series({first}, {last}) n;
ANALYZE;
"""


def identity(kind):
    """SQL of the UUID of this kind for migration number n."""
    return f"('00000000-000{kind}-4000-8000-' || n)::uuid"


class Bench:
    def __init__(self, clients, boss_clients, pgbench_clients):
        self.clients = clients
        self.boss_clients = boss_clients
        self.pgbench_clients = pgbench_clients
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cpb-steps-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        self.postgres = DurablePostgres(self.directory / "postgres")
        self.postgres.start()
        self.coordinator = Coordinator(self.directory / "coordinator", self.postgres)
        self.coordinator.init()
        self.database = self.coordinator.configuration["database"]
        self.coordinator.query("INSERT INTO pool (name) VALUES ('bench')")
        self.next = FIRST
        self.script = self.directory / "steps.sql"

    def remove(self):
        self.postgres.remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    def fill(self, count):
        """New migrations whose first step is queued; the number of the first one."""
        first, self.next = self.next, self.next + count
        self.coordinator.query(FILL.format(
            first=first, last=self.next - 1, step=identity(7),
            **{name: identity(kind) for name, kind in KINDS.items()}))
        return first

    def check(self, first, count):
        done = self.coordinator.query(
            "SELECT count(*) FROM migration WHERE state = 'succeeded' AND right(id::text, 12)::bigint"
            f" BETWEEN {first} AND {first + count - 1}")
        steps = self.coordinator.query(
            "SELECT count(*) FROM step WHERE state = 'done' AND right(migration_id::text, 12)::bigint"
            f" BETWEEN {first} AND {first + count - 1}")
        assert (done, steps) == ([[str(count)]], [[str(count * STEPS)]]), (done, steps, count)

    # ---- the three sides; each answers steps a second
    def ours(self, count):
        first = self.fill(count)
        text = shell.run(PROGRAM, self.database, first, count, self.clients, timeout=600)
        self.check(first, count)
        return rate(text)

    def pgbench(self, count):
        """Each client takes every clients-th migration, as our threads do."""
        first = self.fill(count)
        text = shell.run(
            self.postgres.binaries / "pgbench", "-n", "-M", "simple", "-c", self.pgbench_clients, "-j",
            self.pgbench_clients, "-t", count // self.pgbench_clients, "-D", f"first={first}", "-D",
            f"clients={self.pgbench_clients}", "-D", "k=0", "-f", self.script, self.database, timeout=600,
            env={**os.environ, "PGOPTIONS": "-c synchronous_commit=on -c timezone=UTC"
                 " -c random_page_cost=1.1"})
        self.check(first, count)
        return STEPS * float(re.search(r"tps = ([\d.]+) \(without", text)[1])

    def pg_boss(self, count):
        return rate(shell.run("node", "pg_boss.mjs", self.postgres.sockets, self.postgres.USER,
                              "boss", self.boss_clients, count * STEPS, cwd=NODE, timeout=600))

    # ---- preparing the peers
    def make_script(self):
        """What the server logs of one migration of ours, as a script of pgbench."""
        first = self.fill(1)
        begin = self.postgres.log.stat().st_size
        shell.run(PROGRAM, f"{self.database} options='-c log_statement=all'", first, 1, 1)
        with open(self.postgres.log, encoding="utf-8") as log:
            log.seek(begin)
            statements = statements_of(log.read())
        self.script.write_text(
            "\\set n :first + :client_id + :clients * :k\n\\set k :k + 1\n"
            + "".join(f"{text};\n" for text in with_variables(statements, first)))
        return len(statements)

    def prepare_pg_boss(self):
        shell.run(shell.ROOT / "tests/support/npm-install", PEERS, NODE, timeout=300)
        shutil.copy(shell.ROOT / "bench" / "pg_boss.mjs", NODE)
        self.postgres.query(self.postgres.conninfo("postgres"), "CREATE DATABASE boss")


def rate(text):
    steps, seconds = re.search(r"steps (\d+) seconds ([\d.]+)", text).groups()
    return int(steps) / float(seconds)


def bind(sql, detail):
    """The statement with its logged parameters as literals."""
    values = dict(re.findall(r"\$(\d+) = (NULL|'(?:[^']|'')*')", detail))
    return re.sub(r"\$(\d+)", lambda found: values[found[1]], sql)


def statements_of(text):
    """Of the connection that did the work, without what sets its session up."""
    entries = re.split(r"(?m)^\d{4}-\d\d-\d\d [\d:.]+ \w+ (?=\[)", text)
    by_process = {}
    for entry in entries:
        found = re.match(r"\[(\d+)\] (LOG|DETAIL):  (.*)", entry, re.S)
        if not found:
            continue
        said, kind, body = found[1], found[2], found[3].strip()
        of_one = by_process.setdefault(said, [])
        if kind == "LOG" and re.match(r"(execute \S+|statement): ", body):
            of_one.append(body.split(": ", 1)[1])
        elif kind == "DETAIL" and of_one:
            of_one[-1] = bind(of_one[-1], body)
    work = max(by_process.values(), key=len)
    return [sql for sql in work if not sql.startswith("SET ")]


def with_variables(statements, number):
    """UUIDs that end with the migration's number, or were made at random, end with :n."""
    made = {}

    def name(found):
        uuid = found[0]
        if uuid.endswith(str(number)):
            return uuid[:-12] + ":n"
        order = made.setdefault(uuid, len(made) + 1)
        return f"{order:08d}-0007-4000-8000-:n"
    return [re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", name, sql)
            for sql in statements]


def main():
    options = figures.options(__doc__, pairs=5, migrations=1280, clients=128, boss_clients=32,
                              pgbench_clients=16)
    assert options.migrations % options.pgbench_clients == 0, \
        "--migrations: a multiple of --pgbench-clients"
    report = figures.Report("steps", "Step transitions")
    bench = Bench(options.clients, options.boss_clients, options.pgbench_clients)
    try:
        statements = bench.make_script()
        bench.prepare_pg_boss()
        sides = {"Crosspool": bench.ours, "pgbench, the same SQL": bench.pgbench,
                 f"pg-boss {PG_BOSS}": bench.pg_boss}
        rows = {name: [] for name in sides}
        for turn in range(options.pairs):
            for name in (list(sides) if turn % 2 == 0 else reversed(sides)):
                rows[name].append(sides[name](options.migrations))
    finally:
        bench.remove()
    report.say(
        f"Migrations whose {STEPS} steps do nothing, by {options.clients} clients on one PostgreSQL "
        "(fsync and synchronous_commit on), on a unix socket. Ours: the coordinator's store and "
        "scheduler in one process, without HTTP; each step is delivered, claimed, completed, and its "
        "transaction inserts the next; what clients bring at the same moment shares a transaction. "
        f"pgbench: the {statements} statements that the server logged of one such migration of ours "
        f"alone, with its ids as variables, by {options.pgbench_clients} clients. pg-boss: a job for "
        "each step, "
        f"fetched, completed, and the next one sent, by {options.boss_clients} clients, with which it is "
        f"faster than with 4 or 64. {options.pairs} turns of {options.migrations} "
        "migrations, alternating.\n\n" + figures.table(
            ["", "steps a second"],
            [[name, figures.spread(values, "{:.0f}")] for name, values in rows.items()]))
    ours, pgbench, boss = rows.values()
    report.figure("step transitions, against pgbench with the same SQL",
                  statistics.median(a / b for a, b in zip(ours, pgbench)), ">=", 0.6)
    report.figure("step transitions, against pg-boss",
                  statistics.median(a / b for a, b in zip(ours, boss)), ">=", 5)
    if options.write:
        report.write()


if __name__ == "__main__":
    main()
