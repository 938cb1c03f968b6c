"""The schema is migrated by one program at a time, wholly or not at all, and never backwards."""
import pathlib
import shutil
import subprocess

import pytest

from crosspool_test import shell
from crosspool_test.coordinator import PROGRAM, Coordinator

MIGRATIONS = sorted((shell.ROOT / "db" / "migrations").glob("*.sql"))
LATEST = len(MIGRATIONS)


@pytest.fixture
def schema(tmp_path):
    """A copy of the schema directory to which a test adds."""
    directory = tmp_path / "schema"
    shutil.copytree(shell.ROOT / "db" / "migrations", directory)
    return directory


@pytest.fixture
def program(servers, tmp_path, schema):
    made = Coordinator(tmp_path / "c", servers, schema_directory=str(schema))
    made.write_configuration()
    return made


def add(schema, sql, number=LATEST + 1):
    (schema / f"{number:04d}_test.sql").write_text(sql)


def versions(program):
    return [int(row[0]) for row in
            program.query("SELECT version FROM schema_migration ORDER BY version")]


def dump(program):
    """All of the schema, as text."""
    binaries = program.postgres.primary.binaries
    text = shell.run(binaries / "pg_dump", "--schema-only", "-d",
                     program.configuration["database"])
    return "\n".join(line for line in text.splitlines() if "restrict" not in line)


def begin(program, *words):
    return subprocess.Popen([PROGRAM, *words, "--config", program.config_path],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_asleep(program, seconds):
    """Until the migration that sleeps so long does so."""
    shell.wait_for("the migration to run", lambda: program.query(
        f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep({seconds})%'"
        " AND pid <> pg_backend_pid()") == [["1"]], 20)


def test_many_at_once_apply_each_migration_once(program, schema):
    add(schema, "SELECT pg_sleep(0.3); CREATE TABLE once (n int);")
    running = [begin(program, "migrate") for _ in range(6)]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 6, said
    applied = sorted(int(out.split(", ")[1].split()[0]) for out, _ in said)
    assert applied == [0] * 5 + [LATEST + 1]
    assert versions(program) == list(range(1, LATEST + 2))


def test_a_migration_that_fails_midway_changes_nothing(program, schema):
    shell.run(PROGRAM, "migrate", "--config", program.config_path)
    before = dump(program)
    add(schema, "CREATE TABLE first_half (n int); ALTER TABLE host ADD COLUMN extra int;")
    add(schema, "CREATE TABLE second_half (n int); SELECT 1 / (SELECT count(*) FROM second_half);",
        LATEST + 2)
    done = program.try_command("migrate")
    assert done.returncode == 1
    assert f"schema migration {LATEST + 2:04d}_test.sql" in done.stderr
    assert "division by zero" in done.stderr
    assert len(done.stderr.strip().splitlines()[-1]) < 400
    assert dump(program) == before and versions(program) == list(range(1, LATEST + 1))
    add(schema, "CREATE TABLE second_half (n int);", LATEST + 2)
    shell.run(PROGRAM, "migrate", "--config", program.config_path)
    assert versions(program)[-1] == LATEST + 2


@pytest.mark.parametrize("sql", ["COMMIT; CREATE TABLE half (n int);", "ROLLBACK;"])
def test_a_migration_must_not_end_its_transaction(program, schema, sql):
    shell.run(PROGRAM, "migrate", "--config", program.config_path)
    add(schema, sql)
    done = program.try_command("migrate")
    assert done.returncode == 1 and "must not BEGIN, COMMIT or ROLLBACK" in done.stderr
    assert versions(program) == list(range(1, LATEST + 1))


def test_a_program_killed_midway_changes_nothing_and_the_next_one_goes_on(program, schema):
    shell.run(PROGRAM, "migrate", "--config", program.config_path)
    before = dump(program)
    add(schema, "CREATE TABLE half (n int); SELECT pg_sleep(2);")
    process = begin(program, "migrate")
    wait_asleep(program, 2)
    process.kill()
    process.wait()
    assert dump(program) == before
    shell.run(PROGRAM, "migrate", "--config", program.config_path)
    assert versions(program)[-1] == LATEST + 1


def test_a_failover_midway_changes_nothing_and_the_next_one_goes_on(program, schema):
    shell.run(PROGRAM, "migrate", "--config", program.config_path)
    add(schema, "CREATE TABLE half (n int); SELECT pg_sleep(10);")
    process = begin(program, "migrate")
    wait_asleep(program, 10)
    program.postgres.fail_over()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "database" in said
    assert versions(program) == list(range(1, LATEST + 1))
    shell.run(PROGRAM, "migrate", "--config", program.config_path)
    assert versions(program)[-1] == LATEST + 1


@pytest.mark.parametrize("command", ["migrate", "init", "run"])
def test_an_older_program_refuses_a_newer_schema(program, schema, tmp_path, command):
    shell.run(PROGRAM, "init", "--config", program.config_path)
    add(schema, "CREATE TABLE newer (n int);")
    shell.run(PROGRAM, "migrate", "--config", program.config_path)
    before = dump(program)
    pathlib.Path(schema / f"{LATEST + 1:04d}_test.sql").unlink()
    done = program.try_command(command)
    assert done.returncode == 1
    assert (f"the database has schema version {LATEST + 1}, this program knows {LATEST}; "
            "use the newer program") in done.stderr
    assert dump(program) == before and versions(program)[-1] == LATEST + 1


def test_one_that_runs_while_the_schema_moves_on_says_so_and_loses_nothing(program, schema):
    shell.run(PROGRAM, "init", "--config", program.config_path)
    program.start()
    try:
        api = program.api(program.make_token("admin", "admin"))
        api.post("/v1/pools", {"name": "A"})
        add(schema, "CREATE TABLE newer (n int);")
        shell.run(PROGRAM, "migrate", "--config", program.config_path)
        answer = api.request("GET", "/readyz")
        assert answer.status == 503 and str(LATEST + 1) in answer.text
        assert api.get("/v1/pools/A")["name"] == "A"
    finally:
        program.kill()
