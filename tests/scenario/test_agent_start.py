"""What the agent says at its start: one clear line and an exit status other than 0 when something
is wrong, and that it waits for what may come later."""
import json
import os
import socket
import subprocess
import tempfile
import uuid

import pytest

from crosspool_test import shell
from crosspool_test.agent import Agent
from crosspool_test.coordinator import Coordinator
from crosspool_test.identity import Identity

PROGRAM = shell.BUILD / "agent" / "crosspool-agent"
AWAY = "https://127.0.0.1:9"  # nobody listens on the port "discard"


def make_certificate(directory, state, *, days):
    """A host certificate of a CA made for this test, as enrolment would leave it."""
    identity = Identity(directory)
    shell.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
              directory / "ca.key")
    shell.run("openssl", "req", "-x509", "-new", "-key", directory / "ca.key", "-subj", "/CN=ca",
              "-days", "2", "-out", directory / "ca.pem")
    (directory / "request").write_text(identity.csr)
    (directory / "extensions").write_text(
        f"subjectAltName=URI:urn:crosspool:host:{uuid.uuid4()}\n"
        "extendedKeyUsage=serverAuth,clientAuth\n")
    shell.run("openssl", "x509", "-req", "-in", directory / "request", "-CA", directory / "ca.pem",
              "-CAkey", directory / "ca.key", "-set_serial", "7", "-days", str(days), "-extfile",
              directory / "extensions", "-out", directory / "host.pem")
    state.mkdir(mode=0o700, exist_ok=True)
    for name, mode in (("ca.pem", 0o644), ("host.pem", 0o644), ("host.key", 0o600)):
        (state / name).write_bytes((directory / name).read_bytes())
        (state / name).chmod(mode)


@pytest.fixture
def agent(tmp_path):
    """An agent with a certificate, not running; its coordinator is away."""
    with tempfile.TemporaryDirectory(prefix="cpa-") as directory:  # short, for sockets below it
        made = Agent("a1", directory, "127.0.0.1", Coordinator.free_port(),
                     [{"api": AWAY, "agent": AWAY}], "nobridge", "lan-a")
        make_certificate(tmp_path / "identity", made.directory / "state", days=1)
        yield made
        made.kill()


def fails(agent, *words, status=1, **options):
    """The one line on standard error that is not the log."""
    done = subprocess.run([PROGRAM, *(words or ["run"]), "--config", agent.config_path],
                          capture_output=True, text=True, timeout=30, check=False, **options)
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("crosspool-agent: ")
    return lines[0]


def change(agent, **members):
    agent.configuration.update(members)
    agent.write_configuration()


def test_a_coordinator_that_is_away_is_waited_for(agent):
    agent.start()
    shell.wait_for("the agent to run", lambda: "agent a1 runs" in agent.tail(50), 20)
    shell.wait_for("a word about the coordinator", lambda: "127.0.0.1:9" in agent.tail(50), 20)
    assert agent.is_running()
    agent.stop()


@pytest.mark.parametrize("members, where", [
    ({"nmae": "a1"}, "/nmae"),
    ({"name": ""}, "/name"),
    ({"link": {"address": "127.0.0.1"}}, "/link/port"),
    ({"link": {"address": "127.0.0.1", "port": 70000}}, "/link/port"),
    ({"coordinators": []}, "/coordinators"),
    ({"coordinators": [{"api": "http://x:1", "agent": AWAY}]}, "/coordinators/0/api"),
    ({"hypervisor": "xapi"}, "/hypervisor"),
    ({"state_directory": "state"}, "/state_directory"),
    ({"networks": [{"name": "l", "bridge": "x"}, {"name": "l", "bridge": "y"}]},
     "/networks/1/name"),
    ({"srs": {}}, "/srs"),
])
def test_a_wrong_configuration_is_one_line_that_names_the_place(agent, members, where):
    change(agent, **members)
    line = fails(agent, status=2)
    assert where in line and "agent.json" in line


def test_no_configuration_or_no_json_is_one_line(agent):
    agent.config_path.write_text("{,}")
    assert "not valid JSON" in fails(agent, status=2)
    agent.config_path.unlink()
    assert "agent.json" in fails(agent, status=2)


@pytest.mark.parametrize("words", [
    ["walk"], ["run", "extra"], ["run", "--token-file", "x"], ["enrol"], ["boot"],
    ["run", "--what"], ["enrol", "--token", "cpe_0"],
])
def test_a_wrong_command_line_is_one_line_with_the_usage(agent, words):
    assert "usage: crosspool-agent run" in fails(agent, *words, status=2)


def test_a_taken_port_is_one_line(agent):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", agent.configuration["link"]["port"]))
        other.listen()
        line = fails(agent)
    assert str(agent.configuration["link"]["port"]) in line and "in use" in line


def test_an_address_that_is_not_ours_is_one_line(agent):
    change(agent, link={"address": "192.0.2.1", "port": 7801})
    assert "192.0.2.1" in fails(agent)


def test_an_expired_certificate_is_one_line(agent, tmp_path):
    make_certificate(tmp_path / "late", agent.directory / "state", days=-1)
    line = fails(agent)
    assert "host.pem has expired" in line and "enrol" in line


def test_a_host_that_is_not_enrolled_is_one_line(agent):
    (agent.directory / "state" / "host.pem").unlink()
    assert "crosspool-agent enrol --token-file" in fails(agent)


def test_a_missing_sr_directory_is_one_line(agent):
    change(agent, srs=[{"name": "gone", "type": "ext", "location": "/nonexistent/sr"}])
    line = fails(agent)
    assert "SR gone" in line and "/nonexistent/sr" in line


def test_a_run_directory_too_long_for_sockets_is_one_line(agent):
    change(agent, run_directory=str(agent.directory / ("r" * 80)))
    assert "run_directory" in fails(agent)


def test_an_unknown_sr_type_is_one_line(agent):
    change(agent, srs=[{"name": "s", "type": "lvm", "location": str(agent.sr)}])
    assert 'SR s: SR type "lvm": expected "ext"' in fails(agent)


def test_a_missing_nbdkit_plugin_is_one_line(agent):
    change(agent, nbdkit_plugin="/nonexistent/plugin.so")
    line = fails(agent)
    assert "nbdkit plugin /nonexistent/plugin.so" in line


def test_a_second_agent_of_one_state_directory_is_one_line(agent):
    agent.start()
    shell.wait_for("the agent to run", lambda: "agent a1 runs" in agent.tail(50), 20)
    assert "another agent runs" in fails(agent)


@pytest.mark.parametrize("text, words", [
    ("", "expected one line"), ("two words\n", "expected one line"),
    ("one\ntwo\n", "expected one line"), ("x" * 2000, "larger than"),
])
def test_a_wrong_token_file_is_one_line(agent, tmp_path, text, words):
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    assert words in fails(agent, "enrol", "--token-file", str(file))
    if len(text) < 1000:
        assert words in fails(agent, "enrol", "--token-file", "-", input=text)


def test_a_token_file_that_others_can_read_is_refused(agent, tmp_path):
    file = tmp_path / "token"
    file.write_text("cpe_0\n")
    file.chmod(0o644)
    assert "chmod 600" in fails(agent, "enrol", "--token-file", str(file))
    assert "nofile" in fails(agent, "enrol", "--token-file", str(tmp_path / "nofile"))


def test_a_boot_description_that_is_wrong_is_one_line(agent):
    file = agent.directory / "domain.json"
    file.write_text(json.dumps({"uuid": "x"}))
    assert "/uuid: expected a UUID" in fails(agent, "boot", str(file))
    os.unlink(file)
    assert "domain.json" in fails(agent, "boot", str(file))
