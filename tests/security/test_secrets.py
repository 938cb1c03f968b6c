"""No secret is in a log, in an answer that is not its own, or in the database."""
import subprocess

from crosspool_test import shell
from crosspool_test.identity import Identity


def key_lines(path):
    """The lines of a PEM key that nobody could guess."""
    return [line for line in path.read_text().splitlines() if len(line) > 40]


class Listener:
    """Wraps an Api: keeps every answer."""

    def __init__(self, api):
        self.api = api
        self.answers = []

    def __call__(self, method, path, body=None, **options):
        answer = self.api.request(method, path, body, **options)
        self.answers.append(answer)
        return answer


def test_a_whole_session_tells_no_secret(world, tmp_path):
    coordinator = world.coordinator
    ask = Listener(world.api)
    secrets = {world.api.token}
    shown_once = {}

    made = ask("POST", "/v1/tokens", {"name": "t", "role": "viewer", "pools": ["A"]})
    shown_once[made] = made.json()["token"]
    enrolment = ask("POST", "/v1/enrolments", {"pool": "A", "name": "a2"})
    shown_once[enrolment] = enrolment.json()["token"]
    hook = ask("POST", "/v1/webhooks", {"name": "made", "url": "https://receiver.example/"})
    shown_once[hook] = hook.json()["secret"]
    given = "a-secret-that-was-given"
    body = {"name": "hook", "url": "https://receiver.example/", "secret": given}
    shown_once[ask("POST", "/v1/webhooks", body)] = given
    ask("PUT", "/v1/webhooks/hook", {**body, "secret": "a-secret-that-came-later"})
    secrets |= {*shown_once.values(), "a-secret-that-came-later"}
    secrets.add(coordinator.make_token("cli", "operator"))
    identity = Identity(tmp_path / "a2")
    for _ in range(2):  # the second time the certificate is given again
        ask("POST", "/agent/v1/enrol", {"token": shown_once[enrolment], "csr": identity.csr})
    other = Identity(tmp_path / "other")
    assert ask("POST", "/agent/v1/enrol", {"token": shown_once[enrolment],
                                           "csr": other.csr}).status == 403
    # where a secret stands by mistake it is not repeated
    wrong = "cpt_" + "ab" * 32
    secrets.add(wrong)
    assert coordinator.api(wrong).request("GET", "/v1/pools").status == 401
    assert ask("POST", "/agent/v1/enrol", {"token": wrong, "csr": identity.csr}).status == 403
    for body in ({"name": "x", "role": wrong}, {"name": "x y " + wrong, "role": "viewer"}):
        ask("POST", "/v1/tokens", body)
    for path in ("/v1/pools", "/v1/hosts", "/v1/hosts/a2", "/v1/vms", "/v1/networks", "/v1/srs",
                 "/v1/tokens", "/v1/tokens/t", "/v1/webhooks", "/v1/webhooks/hook", "/v1/audit",
                 "/v1/migrations", "/metrics", "/healthz", "/readyz"):
        assert ask("GET", path).status == 200
    world.create()
    ask("POST", "/v1/hosts/a2/revoke")
    ask("DELETE", "/v1/tokens/t")
    coordinator.command("host", "revoke", "--name", "a1")
    done = coordinator.try_command("token", "create", "--name", "cli", "--role", "viewer")
    assert done.returncode == 1
    for name in ("ca.key", "server.key"):
        secrets.update(key_lines(coordinator.state_directory / name))
    assert len(secrets) > 8

    log = coordinator.log.read_text()
    assert "POST /v1/tokens" in log and "host a2" not in secrets
    database = dump(world)
    for secret in secrets:
        assert secret not in log
        assert secret not in done.stderr
        assert secret.removeprefix("cpt_").removeprefix("cpe_") not in database
        for answer in ask.answers:
            if shown_once.get(answer) != secret:
                assert secret not in answer.text and secret not in str(answer.headers)


def dump(world):
    """Without the webhooks: their secrets have to sign, and are in that table alone."""
    postgres = world.coordinator.postgres
    return subprocess.run([postgres.binaries / "pg_dump", "--data-only", "--inserts",
                           "--exclude-table=webhook", "-d",
                           world.coordinator.configuration["database"]],
                          capture_output=True, text=True, check=True).stdout


def test_a_crash_of_the_database_puts_no_secret_into_the_log(world):
    """What PostgreSQL says of a failed statement can hold its parameters."""
    world.coordinator.query("ALTER TABLE api_token ADD CONSTRAINT closed CHECK (false) NOT VALID")
    answer = world.api.request("POST", "/v1/tokens", {"name": "t", "role": "viewer"})
    assert answer.status >= 400
    shell.wait_for("the log", lambda: "POST /v1/tokens" in world.coordinator.log.read_text(), 5)
    for text in (answer.text, world.coordinator.log.read_text()):
        assert "cpt_" not in text
        assert world.coordinator.query("SELECT count(*) FROM api_token WHERE position(hash in"
                                       f" $${text}$$) > 0") == [["0"]]
