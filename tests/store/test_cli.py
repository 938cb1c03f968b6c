"""The operator's command line against a real coordinator."""
import json
import os
import stat
import subprocess
import time

import pytest

from crosspool_test import shell
from crosspool_test.coordinator import Coordinator

from test_migration import World

PROGRAM = shell.BUILD / "cli" / "crosspool"


@pytest.fixture
def installed(postgres, tmp_path):
    """The hosts of the world report once."""
    made = Coordinator(tmp_path / "coordinator", postgres, host_lost_after_s=600)
    made.init_with_admin()
    yield made
    made.kill()


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


class Cli:
    def __init__(self, world, tmp_path):
        self.world = world
        self.directory = tmp_path
        self.session = tmp_path / "home" / "session.json"

    def __call__(self, *words, expect=0, stdin=""):
        done = subprocess.run([PROGRAM, *map(str, words)], input=stdin, capture_output=True,
                              text=True, timeout=60, check=False,
                              env=dict(os.environ, CROSSPOOL_SESSION=str(self.session)))
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done

    def login(self, token=None, expect=0):
        coordinator = self.world.coordinator
        token = token or self.world.api.token
        return self("login", "--url", coordinator.url(), "--ca", coordinator.ca_path, stdin=token,
                    expect=expect)

    def file(self, name, content):
        path = self.directory / name
        path.write_text(json.dumps(content))
        return path


@pytest.fixture
def cli(world, tmp_path):
    return Cli(world, tmp_path)


def test_a_login_is_kept_for_its_owner_alone(cli, world):
    cli.login()
    assert stat.S_IMODE(cli.session.stat().st_mode) == 0o600
    kept = json.loads(cli.session.read_text())
    assert kept["token"] == world.api.token and kept["url"] == world.coordinator.url()
    cli.session.chmod(0o644)
    assert "chmod 600" in cli("pools", expect=2).stderr


def test_a_token_that_is_refused_is_not_kept(cli):
    assert cli.login("cpt_" + "0" * 64, expect=2).stderr.startswith("crosspool: ")
    assert not cli.session.exists()
    assert "crosspool login" in cli("pools", expect=2).stderr


def test_another_ca_is_refused(cli, world, tmp_path):
    cli.login()
    kept = json.loads(cli.session.read_text())
    shell.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
              "-nodes", "-subj", "/CN=other", "-keyout", tmp_path / "k.pem", "-out",
              tmp_path / "c.pem")
    cli.session.write_text(json.dumps({**kept, "ca": (tmp_path / "c.pem").read_text()}))
    told = cli("pools", expect=2)
    assert "certificate" in told.stderr and world.api.token not in told.stderr


@pytest.mark.parametrize("kind, word", [("pools", "A"), ("hosts", "a1"), ("vms", "g1"),
                                        ("migrations", "queued"), ("evacuations", "")])
def test_lists(cli, world, kind, word):
    cli.login()
    if kind == "migrations":
        world.create()
        word = "g1"
    lines = cli(kind).stdout.splitlines()
    assert lines[0].split()[0] in ("name", "id")
    assert any(word in line for line in lines)
    assert json.loads(cli(kind, "--json").stdout) == world.api.get(f"/v1/{kind}")["items"]


def test_a_list_of_more_than_one_page_is_whole(cli, world):
    cli.login()
    world.coordinator.query("INSERT INTO pool (name) SELECT 'a pool with a long name, number ' || n"
                            " FROM generate_series(1, 1001) AS n")
    names = [pool["name"] for pool in json.loads(cli("pools", "--json").stdout)]
    assert len(names) == len(set(names)) == 1003


def test_a_watch_goes_on_when_the_coordinator_is_back(cli, world):
    cli.login()
    made = world.create()
    path = made["id"] if isinstance(made, dict) else made
    watch = subprocess.Popen([PROGRAM, "watch", "migrations", path], stdout=subprocess.PIPE,
                             text=True, env=dict(os.environ, CROSSPOOL_SESSION=str(cli.session)))
    try:
        assert watch.stdout.readline()
        world.coordinator.kill()
        time.sleep(4)
        assert watch.poll() is None
        world.coordinator.start()
        world.coordinator.query("UPDATE migration SET state = 'cancelled', ended_at = now()")
        assert watch.wait(30) == 1
    finally:
        watch.kill()
        watch.wait()


def test_migrate(cli, world):
    cli.login()
    mapping = cli.file("map.json", world.request()["mapping"])
    refused = cli("migrate", "--vm", "g1", "--pool", "B", expect=2)
    assert "cannot move" in refused.stderr and "mapping.srs" in refused.stderr
    words = ("migrate", "--vm", "g1", "--pool", "B", "--host", "b1")
    assert "cannot move" in cli(*words, "--dry-run", expect=1).stdout
    assert "can move" in cli(*words, "--mapping", mapping, "--dry-run").stdout
    assert "is preparing" in cli(*words, "--mapping", mapping).stdout
    assert len(world.api.get("/v1/migrations")["items"]) == 1


def test_evacuate_and_watch(cli, world):
    cli.login()
    request = {"pools": ["A"], "destination_pools": ["B"], "mapping": world.request()["mapping"]}
    asked = cli.file("request.json", request)
    looked = cli("evacuate", "--request", asked, "--dry-run").stdout
    assert "makespan" in looked and "b1" in looked
    assert world.api.get("/v1/evacuations")["items"] == []
    unmapped = cli.file("unmapped.json", {**request, "mapping": {}})
    assert "g1" in cli("evacuate", "--request", unmapped, "--dry-run", expect=1).stderr
    none = cli("evacuate", "--request", unmapped, expect=2)
    assert "none of the VMs can move" in none.stderr and "mapping" in none.stderr
    made = json.loads(cli("evacuate", "--request", asked, "--json").stdout)
    world.api.post(f"/v1/evacuations/{made['id']}/cancel", expect=202)
    world.coordinator.query("UPDATE evacuation_vm SET state = 'cancelled' WHERE state = 'moving'")
    told = cli("watch", "evacuations", made["id"], expect=1)
    assert told.stdout.splitlines()[-1].startswith("cancelled")


@pytest.mark.parametrize("words, what", [
    (("pools", "--vm", "x"), "--vm"), (("plan", ""), "unknown option"), (("migrate", "--vm", "x"), "--pool is missing"),
    (("watch", "migrations"), "words"), (("watch", "vms", "x"), "expected migrations"),
    (("watch", "migrations", "x"), "expected an id"),
    (("login", "--url", "http://x", "--ca", "x"), "https://"),
    (("evacuate", "--request", "/none"), "/none"),
])
def test_bad_command_lines(cli, words, what):
    assert what in cli(*words, expect=2).stderr
