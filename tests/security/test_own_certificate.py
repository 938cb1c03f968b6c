"""An operator's own certificate on the API port."""
import json
import pathlib
import subprocess
import tempfile

import pytest

from crosspool_test import shell
from crosspool_test.api import Api
from crosspool_test.identity import Identity

from test_commands import fails


@pytest.fixture
def own(installed, tmp_path):
    """A pair of another CA in the configuration; returns (coordinator, folder)."""
    folder = tmp_path / "own"
    folder.mkdir()
    make_ca(folder)
    make_certificate(folder, 90)
    installed.configuration["tls"] = {"certificate": str(folder / "api.pem"),
                                      "key": str(folder / "api.key")}
    installed.write_configuration()
    return installed, folder


def make_key(path):
    shell.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    path.chmod(0o600)


def make_ca(folder):
    make_key(folder / "ca.key")
    shell.run("openssl", "req", "-x509", "-new", "-key", folder / "ca.key", "-subj", "/CN=house",
              "-days", "100", "-out", folder / "ca.pem")
    make_key(folder / "api.key")


def make_certificate(folder, days):
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    shell.run("openssl", "req", "-new", "-key", folder / "api.key", "-subj", "/CN=api", "-out",
              folder / "csr")
    shell.run("openssl", "x509", "-req", "-in", folder / "csr", "-CA", folder / "ca.pem", "-CAkey",
              folder / "ca.key", "-set_serial", "7", "-days", days, "-extfile", folder / "names",
              "-out", folder / "api.pem")


def test_the_api_port_shows_it_and_the_agent_port_does_not(own, tmp_path):
    coordinator, folder = own
    coordinator.start_with(folder / "ca.pem")
    token = coordinator.admin_token
    admin = Api(coordinator.url(), folder / "ca.pem", token)
    admin.post("/v1/pools", {"name": "A"})
    secret = admin.post("/v1/enrolments", {"pool": "A", "name": "a1"})["token"]
    identity = Identity(tmp_path / "host")
    answer = admin.post("/agent/v1/enrol", {"token": secret, "csr": identity.csr})
    identity.certificate.write_text(answer["certificate"])
    assert answer["ca"] == coordinator.ca_path.read_text()
    report = identity.api(coordinator).request("POST", "/agent/v1/report",
                                               {"inventory_generation": 0})
    assert report.status == 204
    with pytest.raises(OSError):
        Api(coordinator.url(), coordinator.ca_path, token).get("/v1/pools")
    seconds = [line for line in admin.get("/metrics").splitlines()
               if 'seconds_left{certificate="api"}' in line]
    assert 89 * 86400 < int(seconds[0].split()[1]) <= 90 * 86400


def test_an_agent_enrols_where_the_api_shows_it(own, tmp_path):
    """Its `ca` is the house's; the CA of hosts comes with the answer."""
    coordinator, folder = own
    coordinator.start_with(folder / "ca.pem")
    token = coordinator.admin_token
    admin = Api(coordinator.url(), folder / "ca.pem", token)
    admin.post("/v1/pools", {"name": "A"})
    secret = admin.post("/v1/enrolments", {"pool": "A", "name": "a1"})["token"]
    with tempfile.TemporaryDirectory(prefix="cpa-") as directory:
        config = {"name": "a1", "state_directory": f"{directory}/state",
                  "run_directory": f"{directory}/run",
                  "coordinators": [{"api": coordinator.url(), "agent": coordinator.agent_url(),
                                    "ca": str(folder / "ca.pem")}],
                  "link": {"address": "127.0.0.1", "port": 7801}, "hypervisor": "qemu",
                  "qemu": {"memory_directory": "/dev/shm"}, "networks": [], "srs": []}
        path = tmp_path / "agent.json"
        path.write_text(json.dumps(config))
        done = subprocess.run(
            [shell.BUILD / "agent" / "crosspool-agent", "enrol", "--token-file", "-", "--config",
             path], input=secret, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        kept = pathlib.Path(directory, "state", "ca.pem").read_text()
        assert kept == coordinator.ca_path.read_text()


def test_a_key_of_another_certificate_is_one_line(own):
    coordinator, folder = own
    make_key(folder / "api.key")
    assert "api.pem does not belong to its key" in fails(coordinator, "run")


def test_an_expired_certificate_is_one_line(own):
    coordinator, folder = own
    make_certificate(folder, -1)
    assert "api.pem expired" in fails(coordinator, "run")


def test_a_certificate_that_ends_soon_is_a_warning(own):
    coordinator, folder = own
    make_certificate(folder, 7)
    coordinator.start_with(folder / "ca.pem")
    assert "api.pem expires in" in coordinator.log.read_text()


def test_a_key_that_others_can_read_is_refused(own):
    coordinator, folder = own
    (folder / "api.key").chmod(0o644)
    assert "chmod 600" in fails(coordinator, "run")


@pytest.mark.parametrize("name", ["api.pem", "api.key"])
def test_a_missing_or_broken_file_is_one_line_that_names_it(own, name):
    coordinator, folder = own
    (folder / name).write_text("no PEM")
    assert str(folder / name) in fails(coordinator, "run")
    (folder / name).unlink()
    assert str(folder / name) in fails(coordinator, "run")


def test_half_a_pair_is_one_line(own):
    coordinator, _ = own
    del coordinator.configuration["tls"]["key"]
    coordinator.write_configuration()
    assert "/tls/key" in fails(coordinator, "run", status=2)


def test_a_server_key_of_the_ca_that_does_not_fit_is_one_line(installed):
    make_key(installed.state_directory / "server.key")
    assert "does not belong to its key" in fails(installed, "run")
