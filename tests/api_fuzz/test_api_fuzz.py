"""Requests made of the contract, good and wrong, against a real coordinator: no 5xx, no hang, every
answer as the contract says, no change without its row in the audit log, none by a refusal.

CROSSPOOL_SEED makes another run; CROSSPOOL_FULL=1 makes 100,000 requests, CROSSPOOL_REQUESTS as many as
it says."""
import http.client
import os
import threading
import time
import uuid

import pytest

from crosspool_test.api import Api
from crosspool_test.fake_host import FakeHost
from crosspool_test.request_maker import UNKNOWN, RequestMaker
from crosspool_test.validator import Validator

SEED = int(os.environ.get("CROSSPOOL_SEED", "1"))
REQUESTS = int(os.environ.get("CROSSPOOL_REQUESTS") or
               (100000 if os.environ.get("CROSSPOOL_FULL") == "1" else 10000))
THREADS = 4
HANG_S = 30


class World:
    """What the requests can mean something to, and who may call."""

    def __init__(self, coordinator, directory):
        self.coordinator = coordinator
        admin = coordinator.api(coordinator.make_token("admin", "admin"))
        self.tokens = {"admin": admin.token, "nobody": None, "unknown": "cpt_" + "0" * 64,
                       "long": "x" * 200}
        for pool, name in (("A", "a1"), ("B", "b1")):
            admin.request("POST", "/v1/pools", {"name": pool})
            host = FakeHost(coordinator, admin, directory / name, pool, name)
            host.add_vm(f"vm-{name}")
            host.report()
            self.agent = host.identity
        admin.post("/v1/enrolments", {"pool": "B", "name": "spare"})
        for role in ("viewer", "operator"):
            self.tokens[role] = coordinator.make_token(role, role)
        self.tokens["scoped"] = coordinator.make_token("scoped", "admin", "--pool", "A")
        self.tokens["revoked"] = coordinator.make_token("gone", "admin")
        coordinator.command("token", "revoke", "--name", "gone")
        admin.post("/v1/mapping-sets", {"name": "a-to-b", "mapping": {
            "networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}}})
        for name in ("hook", "hook2"):
            admin.post("/v1/webhooks", {"name": name, "url": "http://127.0.0.1:9/"})
        admin.post("/v1/tokens", {"name": "other", "role": "viewer"})
        made = admin.post("/v1/migrations", {"vm": "vm-a1", "destination": {"pool": "B"},
                                             "mapping_set": "a-to-b"})
        self.names = {
            "/v1/pools/{id}": ["A", "B"], "/v1/pools/{id}/cpu": ["A", "B"],
            "/v1/hosts/{id}": ["a1", "b1", "spare"], "/v1/hosts/{id}/revoke": ["spare"],
            "/v1/vms/{id}": ["vm-a1", "vm-b1"], "/v1/mapping-sets/{id}": ["a-to-b"],
            "/v1/tokens/{id}": ["other"], "/v1/webhooks/{id}": ["hook", "hook2"],
            "/v1/webhooks/{id}/test": ["hook"], "/v1/webhooks/{id}/deliveries": ["hook"],
            "/v1/webhooks/{id}/deliveries/{delivery}/retry": ["hook"],
            "/v1/webhooks/hook/deliveries/{delivery}/retry": [UNKNOWN],
            **{f"/v1/migrations/{{id}}{what}": [made["id"]]
               for what in ("", "/cancel", "/pause", "/resume", "/switchover")}}

    def clients(self):
        """Those of one thread."""
        made = {name: Api(self.coordinator.url(), self.coordinator.ca_path, token, timeout=HANG_S)
                for name, token in self.tokens.items()}
        made["agent"] = Api(self.coordinator.agent_url(), self.coordinator.ca_path,
                            identity=(self.agent.certificate, self.agent.key),
                            timeout=HANG_S)
        return made


class Run:
    def __init__(self, world):
        self.world, self.validator = world, Validator()
        self.lock = threading.Lock()
        self.wrong, self.statuses, self.changes, self.resets = [], {}, 0, 0

    def thread(self, number):
        clients = self.world.clients()
        maker = RequestMaker(self.validator.contract, f"{SEED}/{number}", self.world.names,
                             [name for name in clients if name != "agent"])
        for _ in range(REQUESTS // THREADS):
            request = maker.request()
            try:
                answer = clients[request.caller].request(request.method, request.path,
                                                         request.body, request.headers)
            except (OSError, http.client.HTTPException) as failure:
                # an agent's headers that the library cannot hold are answered, and what is still
                # on its way makes a reset of the close
                is_reset = request.caller == "agent" and "X-Long" in request.headers
                with self.lock:
                    self.resets += is_reset
                    self.wrong += [] if is_reset else [f"{failure!r}: {request}"]
                continue
            if answer.status == 200 and b'"next":"' in answer.body:
                maker.cursors = [*maker.cursors[-20:], answer.json()["next"]]
            with self.lock:
                self.see(request, answer)

    def see(self, request, answer):
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.status >= 500:
            self.wrong.append(f"{answer.status} {answer.body[:200]!r}: {request}")
        self.validator.see(request.method, request.path, answer)
        is_change = request.method not in ("GET", "HEAD") and request.path.startswith("/v1/")
        is_look = answer.status == 200 and request.path.startswith(
            ("/v1/migrations?", "/v1/evacuations?"))
        if is_change and 200 <= answer.status < 300 and not is_look and \
                not answer.headers["Idempotency-Replayed"]:
            self.changes += 1


def audited(coordinator):
    return int(coordinator.query("SELECT count(*) FROM audit WHERE actor_kind = 'token'")[0][0])


@pytest.fixture(scope="module")
def run(coordinator, tmp_path_factory):
    world = World(coordinator, tmp_path_factory.mktemp("hosts"))
    before, start = audited(coordinator), time.monotonic()
    made = Run(world)
    threads = [threading.Thread(target=made.thread, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.audited = audited(coordinator) - before
    made.invalid = made.validator.finish()
    made.validator.close()
    print(f"seed {SEED}: {sum(made.statuses.values())} requests in "
          f"{time.monotonic() - start:.0f} s: {dict(sorted(made.statuses.items()))}")
    return made


def test_nothing_fails_and_nothing_hangs(run, coordinator):
    assert run.wrong[:10] == []
    assert coordinator.is_running()
    assert sum(run.statuses.values()) + run.resets == REQUESTS // THREADS * THREADS


def test_every_answer_is_as_the_contract_says(run):
    assert run.validator.seen == sum(run.statuses.values())
    assert run.invalid[:10] == []


def test_each_change_is_in_the_audit_log_and_a_refusal_changes_nothing(run):
    assert run.audited == run.changes > 0


def test_the_run_reaches_what_it_is_for(run):
    assert {200, 201, 202, 204, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 431} <= \
        set(run.statuses), run.statuses


def test_the_log_tells_of_no_failure(run, coordinator):
    lines = [line for line in coordinator.log.read_text().splitlines()
             if '"level":"error"' in line]
    assert lines[:5] == []


def test_the_validator_finds_what_does_not_fit():
    class Answer:
        status, headers = 200, {"Content-Type": "application/json", "X-Request-Id": "x"}

        def __init__(self, body):
            self.body, self.text = body, body.decode()
    Answer.headers = type("Headers", (dict,), {"get_content_type": lambda self: "application/json"})(
        Answer.headers)
    validator = Validator()
    good = b'{"items": [{"id": "%s", "name": "A", "hosts": 1, "created_at":' \
           b' "2026-01-31T12:00:00Z"}], "next": null}' % str(uuid.uuid4()).encode()
    validator.see("GET", "/v1/pools", Answer(good))
    assert validator.finish() == []
    for bad in (good.replace(b'"A"', b"7"), good.replace(b'"id"', b'"di"'), b"{}", b"{",
                good.replace(b"2026-01-31T", b"yesterday "), good.replace(b"null", b"1")):
        validator.see("GET", "/v1/pools", Answer(bad))
        assert len(validator.finish()) == 1, bad
    validator.see("GET", "/v1/no-such", Answer(good))
    validator.see("DELETE", "/v1/pools/A", Answer(good))
    assert len(validator.finish()) == 2
    validator.close()
