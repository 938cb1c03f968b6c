"""A host acts for itself alone, whatever its messages name."""
import threading

import pytest

from crosspool_test import shell
from crosspool_test.identity import Identity

from test_enrolment import raw_report
from test_http import problem


def said(world, text):
    return text in world.coordinator.log.read_text()


def test_the_result_of_another_hosts_step_changes_nothing(world):
    world.create()
    prepare = world.b1.take("prepare")
    world.a1.send(results=[{"step": prepare["id"], "is_done": False, "error": "internal",
                            "error_text": "by a1", "verdict": "none"}])
    assert said(world, "which is none of its steps")
    steps = world.coordinator.query("SELECT kind, state FROM step")
    assert steps == [["prepare", "queued"]]
    world.b1.finish("prepare")


def test_another_hosts_step_is_not_taken_over_by_a_poll(world):
    migration = world.create()
    prepare = world.b1.take("prepare")
    world.cancel(migration)  # so that a poll that knows the step is answered at once
    answer = world.a1.api.post("/agent/v1/poll", {"known": [prepare["id"]], "cancelling": []})
    assert prepare["id"] not in answer["cancel"]
    assert {step["kind"] for step in answer["steps"]} == {"abort-source"}
    assert world.coordinator.query(
        f"SELECT state FROM step WHERE id = '{prepare['id']}'") == [["superseded"]]


def test_progress_comes_from_the_source_alone(world):
    migration = world.to_transferring()
    progress = {"migration": migration, "phase": "copying", "waits_for": "what it says"}
    world.b1.send(progress=[progress])
    assert world.show(migration)["waits_for"] is None
    world.a1.send(progress=[progress])
    assert world.show(migration)["waits_for"] == "what it says"


def test_the_ledger_of_a_migration_takes_its_own_hosts_alone(world):
    migration = world.to_transferring()
    stranger = world.host("A", "a2")
    stranger.report()
    stranger.ledger(migration, ("vdi", "x/y", False))
    assert said(world, "none of its own")
    assert world.coordinator.query(
        f"SELECT count(*) FROM ledger WHERE host_id = '{stranger.id}'") == [["0"]]
    stranger.ledger("11111111-2222-4333-8444-555555555555", ("vdi", "x/y", False))
    world.b1.ledger(migration, ("vdi", "x/y", False))
    assert world.coordinator.query(
        "SELECT h.name FROM ledger l JOIN host h ON h.id = l.host_id WHERE l.reference = 'x/y'"
        " ORDER BY h.name") == [["a2"], ["b1"]]


def test_another_pools_sr_stays_what_it_was(world):
    stolen = dict(world.a1.sr, name="mine", free_bytes=1)
    world.b1.inventory["srs"].append(stolen)
    world.b1.report()
    found = [sr for sr in world.api.get("/v1/srs")["items"] if sr["id"] == stolen["id"]]
    assert [(sr["pool_name"], sr["name"]) for sr in found] == [("A", "local-a1")]
    assert [host["name"] for host in found[0]["hosts"]] == ["a1"]


def other_ca(directory):
    shell.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
              directory / "ca.key", "-out", directory / "ca.pem", "-subj", "/CN=Crosspool CA",
              "-days", "2")
    return directory / "ca.pem", directory / "ca.key"


def own_ca(world):
    state = world.coordinator.state_directory
    return state / "ca.pem", state / "ca.key"


AGENT_ROUTES = ["/agent/v1/report", "/agent/v1/poll", "/agent/v1/renew"]


@pytest.mark.parametrize("path", AGENT_ROUTES)
def test_a_revoked_certificate_is_no_identity(world, path):
    world.api.post("/v1/hosts/a1/revoke")
    answer = world.a1.api.request("POST", path, {})
    assert "revoked" in problem(answer, 403, "refused")["detail"]
    assert world.b1.api.request("POST", path, {}).status in (200, 204, 400)


@pytest.mark.parametrize("path", AGENT_ROUTES)
def test_a_certificate_that_expired_by_the_database_is_no_identity(world, path):
    world.coordinator.query("UPDATE host_certificate SET expires_at = now()")
    answer = world.a1.api.request("POST", path, {})
    assert "expired" in problem(answer, 403, "refused")["detail"]


def test_the_handshake_takes_no_expired_certificate_and_none_of_another_ca(world, tmp_path):
    identity = Identity(tmp_path / "forged")
    identity.sign_with(*own_ca(world), host=world.a1.id, days=-1)
    assert raw_report(world.coordinator, identity.certificate, identity.key) == b""
    identity.sign_with(*other_ca(tmp_path), host=world.a1.id)
    assert raw_report(world.coordinator, identity.certificate, identity.key) == b""
    identity.sign_with(*own_ca(world), host=world.a1.id)  # ours, but issued to nobody
    assert b" 403 " in raw_report(world.coordinator, identity.certificate, identity.key)


def test_a_parked_poll_ends_when_its_host_is_locked_out(world):
    answers = []
    poll = threading.Thread(target=lambda: answers.append(
        world.a1.api.request("POST", "/agent/v1/poll", {"known": [], "cancelling": []})))
    poll.start()
    shell.wait_for("the poll to be parked", lambda: "crosspool_http_parked 1" in
                   world.api.get("/metrics"), 10)
    world.api.post("/v1/hosts/a1/revoke")
    poll.join(5)
    assert not poll.is_alive()
    problem(answers[0], 403, "refused")


def test_a_host_shows_when_its_certificate_ends(world):
    shown = world.api.get("/v1/hosts/a1")["certificate_expires_at"]
    days = world.coordinator.query(
        f"SELECT extract(day FROM '{shown}'::timestamptz - now())::integer")
    assert days == [["89"]] or days == [["90"]]
    assert world.api.post("/v1/hosts/a1/revoke")["certificate_expires_at"] is None
