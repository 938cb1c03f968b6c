"""The program's commands: what they make, and one clear line when something is wrong."""
import json
import os
import shutil
import socket
import stat

import pytest

from crosspool_test import shell
from crosspool_test.coordinator import Coordinator


def fails(coordinator, *words, status=1):
    """The one line on standard error that is not the log."""
    done = coordinator.try_command(*words)
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("crosspool-coordinator: ")
    return lines[0]


def change(coordinator, **members):
    coordinator.configuration.update(members)
    coordinator.write_configuration()


def test_init_makes_secrets_that_only_the_owner_reads(installed):
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((installed.state_directory / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(installed.state_directory.stat().st_mode) == 0o700
    shell.run("openssl", "verify", "-CAfile", installed.ca_path, "-purpose", "sslserver",
              "-verify_hostname", "localhost", installed.state_directory / "server.pem")


def test_init_again_keeps_the_ca_and_follows_the_names(installed):
    ca = installed.ca_path.read_text()
    change(installed, names=["coordinator.example", "10.1.2.3"])
    installed.command("init")
    assert installed.ca_path.read_text() == ca
    text = shell.run("openssl", "x509", "-in", installed.state_directory / "server.pem", "-noout",
                     "-ext", "subjectAltName")
    assert "DNS:coordinator.example, IP Address:10.1.2.3" in text


def test_init_never_replaces_a_ca_that_lost_its_key(installed):
    (installed.state_directory / "ca.key").unlink()
    assert "ca.key is not" in fails(installed, "init")
    assert not (installed.state_directory / "ca.key").exists()


def test_migrate_applies_once(postgres, tmp_path):
    made = Coordinator(tmp_path / "c", postgres)
    made.write_configuration()
    files = sorted((shell.ROOT / "db" / "migrations").glob("*.sql"))
    assert made.command("migrate") == f"schema version {len(files)}, {len(files)} applied\n"
    assert made.command("migrate") == f"schema version {len(files)}, 0 applied\n"
    rows = made.query("SELECT version, name FROM schema_migration ORDER BY version")
    assert rows == [[str(int(file.name[:4])), file.stem[5:]] for file in files]


@pytest.fixture
def migrations(postgres, tmp_path):
    """A coordinator whose schema directory is the test's own."""
    made = Coordinator(tmp_path / "c", postgres, schema_directory=str(tmp_path / "sql"))
    (tmp_path / "sql").mkdir()
    made.write_configuration()
    return made, tmp_path / "sql"


def test_a_migration_that_fails_leaves_nothing_of_its_run(migrations):
    made, directory = migrations
    (directory / "0001_one.sql").write_text("CREATE TABLE one (id int);")
    (directory / "0002_two.sql").write_text("CREATE TABLE two (id int); SELECT 1/0;")
    assert "0002_two.sql" in fails(made, "migrate")
    assert made.query("SELECT to_regclass('one')") == [] or \
        made.query("SELECT to_regclass('one') IS NULL") == [["t"]]
    (directory / "0002_two.sql").write_text("CREATE TABLE two (id int);")
    assert made.command("migrate") == "schema version 2, 2 applied\n"


@pytest.mark.parametrize("files, what", [
    ({}, "no NNNN_name.sql"),
    ({"0002_two.sql": ""}, "expected number 0001"),
    ({"0001_one.sql": "", "0001_other.sql": ""}, "expected number 0002"),
    ({"0001_one.sql": "COMMIT;"}, "must not BEGIN, COMMIT"),
])
def test_a_wrong_schema_directory_is_refused(migrations, files, what):
    made, directory = migrations
    for name, text in files.items():
        (directory / name).write_text(text)
    assert what in fails(made, "migrate")


def test_migrations_at_the_same_time_apply_once(migrations):
    import concurrent.futures
    made, directory = migrations
    (directory / "0001_one.sql").write_text("CREATE TABLE one (id int); SELECT pg_sleep(0.5);")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: made.command("migrate"), range(4)))
    assert sorted(answers) == ["schema version 1, 0 applied\n"] * 3 + \
        ["schema version 1, 1 applied\n"]


def test_tokens_have_a_name_of_their_own_until_revoked(installed):
    first = installed.make_token("ops", "operator")
    assert first.startswith("cpt_") and len(first) == 68
    assert "ops is in use" in fails(installed, "token", "create", "--name", "ops", "--role",
                                    "viewer")
    installed.command("token", "revoke", "--name", "ops")
    assert "no token named ops" in fails(installed, "token", "revoke", "--name", "ops")
    assert installed.make_token("ops", "viewer") != first


@pytest.mark.parametrize("words", [
    [], ["walk"], ["token"], ["token", "create"], ["token", "create", "--name", "x"],
    ["token", "create", "--name", "x", "--role", "viewer", "--role", "admin"],
    ["run", "--name", "x"], ["run", "--what"], ["init", "extra"],
])
def test_a_wrong_command_line_shows_the_usage(installed, words):
    done = installed.try_command(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: crosspool-coordinator run|migrate|init --config FILE\n")


def test_a_wrong_role_or_name_is_refused(installed):
    assert "expected viewer, operator or admin" in fails(
        installed, "token", "create", "--name", "x", "--role", "root")
    assert "token's name" in fails(installed, "token", "create", "--name", "a b", "--role",
                                   "viewer")
    assert 'host "x" does not exist' in fails(installed, "host", "revoke", "--name", "x")


@pytest.mark.parametrize("members, where", [
    ({"databse": "x"}, "/databse"),
    ({"api": {"address": "127.0.0.1", "port": "8443"}}, "/api/port"),
    ({"api": {"address": "127.0.0.1", "port": 70000}}, "/api/port"),
    ({"agents": {"address": "127.0.0.1"}}, "/agents/port"),
    ({"names": "localhost"}, "/names"),
    ({"host_lost_after_s": 1}, "/host_lost_after_s"),
    ({"database": ""}, "/database"),
])
def test_a_wrong_configuration_is_one_line_that_names_the_place(installed, members, where):
    change(installed, **members)
    if members.get("database") == "":
        text = json.loads(installed.config_path.read_text())
        installed.config_path.write_text(json.dumps(dict(text, database="")))
    assert where in fails(installed, "run", status=2)


def test_no_configuration_or_no_json_is_one_line(installed):
    installed.config_path.write_text("{,}")
    assert "not valid JSON" in fails(installed, "run", status=2)
    installed.config_path.unlink()
    assert "coordinator.json" in fails(installed, "run", status=2)


def test_run_before_init_says_so(postgres, tmp_path):
    made = Coordinator(tmp_path / "c", postgres)
    made.write_configuration()
    assert "crosspool-coordinator init" in fails(made, "run")


def test_a_taken_port_is_one_line(installed):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", installed.configuration["agents"]["port"]))
        other.listen()
        line = fails(installed, "run")
    assert f"port {installed.configuration['agents']['port']}" in line
    assert "in use" in line


@pytest.mark.parametrize("address", ["not-an-address", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_one_line(installed, address):
    change(installed, api={"address": address, "port": 8443})
    assert f"cannot listen on {address} port 8443" in fails(installed, "run")


def test_no_database_at_start_is_one_line(installed):
    change(installed, database="host=/nonexistent dbname=x")
    assert "database: cannot connect" in fails(installed, "run")


def test_a_key_that_others_can_read_is_refused(installed):
    key = installed.state_directory / "ca.key"
    os.chmod(key, 0o640)
    assert "chmod 600" in fails(installed, "run")


def test_an_expired_server_certificate_is_one_line(installed, tmp_path):
    """Made with a certificate whose validity ended yesterday."""
    state = installed.state_directory
    shell.run("openssl", "req", "-new", "-key", state / "server.key", "-subj", "/CN=c", "-out",
              tmp_path / "csr")
    shell.run("openssl", "x509", "-req", "-in", tmp_path / "csr", "-CA", state / "ca.pem",
              "-CAkey", state / "ca.key", "-set_serial", "7", "-days", "-1", "-out",
              state / "server.pem")
    line = fails(installed, "run")
    assert "server.pem expired" in line and "init" in line
    installed.command("init")
    installed.start()


def test_a_server_certificate_of_another_key_is_one_line(installed, tmp_path):
    state = installed.state_directory
    shell.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
              tmp_path / "other.key")
    shutil.copyfile(tmp_path / "other.key", state / "server.key")
    assert "belong to its key" in fails(installed, "run")
