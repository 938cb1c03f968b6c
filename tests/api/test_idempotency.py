"""Idempotency-Key: a repeated POST is done once and answered the same, whatever dies meanwhile."""
import concurrent.futures
import http.client
import threading
import time

import pytest

from crosspool_test import shell

from test_http import problem
from test_migration import World

KEY = "job 17/a"


def post(api, path, body, key=KEY):
    return api.request("POST", path, body, headers={"Idempotency-Key": key})


def pools(coordinator):
    return [row[0] for row in coordinator.query("SELECT name FROM pool ORDER BY name")]


def same(first, second):
    """The second is the first again."""
    assert (second.status, second.body) == (first.status, first.body)
    for name in ("Location", "Retry-After", "Content-Type"):
        assert second.headers[name] == first.headers[name]
    assert first.headers["Idempotency-Replayed"] is None
    assert second.headers["Idempotency-Replayed"] == "true"


@pytest.fixture
def lock(coordinator):
    """lock(): inserts into the table pool wait from now on; unlock by calling what it returns."""
    held = []

    def take():
        done = threading.Event()

        def hold():
            coordinator.query("BEGIN; LOCK TABLE pool IN SHARE MODE; SELECT pg_sleep(60); COMMIT")

        def hold_quietly():
            try:
                hold()
            except AssertionError:
                pass  # it was terminated below
            done.set()
        threading.Thread(target=hold_quietly, daemon=True).start()
        shell.wait_for("the lock", lambda: coordinator.query(
            "SELECT 1 FROM pg_locks WHERE relation = 'pool'::regclass AND mode = 'ShareLock'"
            " AND granted"))

        def release():
            coordinator.query("SELECT pg_terminate_backend(pid) FROM pg_locks"
                              " WHERE relation = 'pool'::regclass AND mode = 'ShareLock'")
            assert done.wait(10)
        held.append(release)
        return release
    yield take
    for release in held:
        release()


def wait_blocked(coordinator):
    shell.wait_for("an insert that waits", lambda: coordinator.query(
        "SELECT 1 FROM pg_locks WHERE relation = 'pool'::regclass AND NOT granted"))


def test_a_repeat_is_answered_the_same_and_not_done_again(coordinator, admin):
    first = post(admin, "/v1/pools", {"name": "A"})
    assert first.status == 201
    same(first, post(admin, "/v1/pools", {"name": "A"}))
    assert pools(coordinator) == ["A"]


def test_without_a_key_it_is_another_request(admin):
    assert post(admin, "/v1/pools", {"name": "A"}).status == 201
    problem(admin.request("POST", "/v1/pools", {"name": "A"}), 409, "conflict")


def test_after_a_kill_and_at_another_coordinator(pair):
    one, other = pair
    token = one.make_token("admin", "admin")
    first = post(one.api(token), "/v1/pools", {"name": "A"})
    same(first, post(other.api(token), "/v1/pools", {"name": "A"}))
    one.kill()
    one.start()
    same(first, post(one.api(token), "/v1/pools", {"name": "A"}))
    assert pools(one) == ["A"]


@pytest.mark.parametrize("path, body", [
    ("/v1/pools", {"name": "B"}), ("/v1/pools?limit=1", {"name": "A"}),
    ("/v1/mapping-sets", {"name": "A"}), ("/v1/pools", b'{"name":  "A"}'),
])
def test_another_request_under_the_key_is_refused(coordinator, admin, path, body):
    post(admin, "/v1/pools", {"name": "A"})
    problem(post(admin, path, body), 422, "key-reused")
    assert pools(coordinator) == ["A"]


def test_a_key_belongs_to_its_token(coordinator, admin):
    other = coordinator.api(coordinator.make_token("other", "admin"))
    assert post(admin, "/v1/pools", {"name": "A"}).status == 201
    assert post(other, "/v1/pools", {"name": "B"}).status == 201


@pytest.mark.parametrize("key", ["", " ", "x" * 129, "t\tb", "\u00e4"])
def test_a_key_has_1_to_128_printable_characters(coordinator, admin, key):
    answer = admin.request("POST", "/v1/pools", {"name": "A"},
                           headers={"Idempotency-Key": key.encode()})
    assert "Idempotency-Key" in problem(answer, 400, "invalid")["detail"]
    assert pools(coordinator) == []


def test_the_longest_key(admin):
    first = post(admin, "/v1/pools", {"name": "A"}, "x" * 128)
    same(first, post(admin, "/v1/pools", {"name": "A"}, "x" * 128))
    assert post(admin, "/v1/pools", {"name": "B"}, "x" * 127).status == 201


def test_two_keys_are_none(coordinator, admin):
    connection = admin._connection()
    connection.putrequest("POST", "/v1/pools")
    for name, value in (("Authorization", f"Bearer {admin.token}"), ("Content-Length", "12"),
                        ("Idempotency-Key", "a"), ("Idempotency-Key", "b")):
        connection.putheader(name, value)
    connection.endheaders(b'{"name":"A"}')
    assert connection.getresponse().status == 400
    assert pools(coordinator) == []


def test_a_repeat_while_it_runs_is_told_so_at_once(coordinator, admin, lock):
    release = lock()
    with concurrent.futures.ThreadPoolExecutor() as threads:
        first = threads.submit(post, admin, "/v1/pools", {"name": "A"})
        wait_blocked(coordinator)
        begin = time.monotonic()
        early = post(admin, "/v1/pools", {"name": "A"})
        assert time.monotonic() - begin < 3
        problem(early, 409, "in-flight")
        assert int(early.headers["Retry-After"]) > 0
        release()
        assert first.result().status == 201
    same(first.result(), post(admin, "/v1/pools", {"name": "A"}))


def test_a_coordinator_that_dies_meanwhile_leaves_the_key_free(coordinator, admin, lock):
    release = lock()

    def ask():
        with pytest.raises((OSError, http.client.HTTPException)):
            post(coordinator.api(admin.token), "/v1/pools", {"name": "A"})
    asking = threading.Thread(target=ask)
    asking.start()
    wait_blocked(coordinator)
    coordinator.kill()
    asking.join(10)
    release()
    coordinator.start()
    answers = []

    def is_done():
        answers.append(post(admin, "/v1/pools", {"name": "A"}))
        return answers[-1].status != 409
    shell.wait_for("the key to be free", is_done, 20)
    assert answers[-1].status == 201 and pools(coordinator) == ["A"]


@pytest.mark.parametrize("moment, is_replayed", [("done", None), ("committed", "true")])
def test_killed_before_its_answer_it_is_done_once(coordinator, admin, moment, is_replayed):
    coordinator.set_failpoint(f"http.change-{moment}", "kill")
    with pytest.raises((OSError, http.client.HTTPException)):
        post(admin, "/v1/pools", {"name": "A"})
    coordinator.clear_failpoint(f"http.change-{moment}")
    assert pools(coordinator) == (["A"] if is_replayed else [])
    coordinator.start()
    answer = post(admin, "/v1/pools", {"name": "A"})
    assert answer.status == 201 and answer.headers["Location"].startswith("/v1/pools/")
    assert answer.headers["Idempotency-Replayed"] == is_replayed
    assert pools(coordinator) == ["A"]


def test_a_migration_under_a_key(coordinator, admin, tmp_path):
    world = World(coordinator, admin, tmp_path)
    first = post(admin, "/v1/migrations", world.request())
    assert first.status == 202 and int(first.headers["Retry-After"]) > 0
    migration = first.json()["id"]
    assert first.headers["Location"] == f"/v1/migrations/{migration}"
    world.b1.finish("prepare")
    same(first, post(admin, "/v1/migrations", world.request()))
    assert world.state(migration) == "transferring"
    assert coordinator.query("SELECT count(*), count(*) FILTER (WHERE state = 'transferring')"
                             " FROM migration") == [["1", "1"]]
    blocked = post(admin, "/v1/migrations", world.request(), "again")
    assert problem(blocked, 409, "conflict")["blockers"]
    cancelled = post(admin, f"/v1/migrations/{migration}/cancel", b"", "cancel")
    assert (cancelled.status, cancelled.headers["Location"]) == (202, first.headers["Location"])
    assert world.state(migration) == "aborting"
    same(cancelled, post(admin, f"/v1/migrations/{migration}/cancel", b"", "cancel"))
    same(blocked, post(admin, "/v1/migrations", world.request(), "again"))


def test_many_at_once_are_done_once(pair):
    one, other = pair
    token = one.make_token("admin", "admin")

    def ask(number):
        coordinator = pair[number % 2]
        while True:
            answer = post(coordinator.api(token), "/v1/pools", {"name": "A"})
            if answer.status != 409:
                return answer
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(12)))
    assert {(a.status, a.body) for a in answers} == {(201, answers[0].body)}
    assert len([a for a in answers if not a.headers["Idempotency-Replayed"]]) == 1
    assert pools(one) == ["A"]


def test_a_refusal_is_remembered_and_has_changed_nothing(coordinator, admin):
    admin.post("/v1/pools", {"name": "A"})
    first = post(admin, "/v1/pools", {"name": "A"})
    problem(first, 409, "conflict")
    coordinator.query("DELETE FROM pool")
    same(first, post(admin, "/v1/pools", {"name": "A"}))
    malformed = post(admin, "/v1/pools", b"{", "other")
    assert malformed.status == 400
    same(malformed, post(admin, "/v1/pools", b"{", "other"))
    assert pools(coordinator) == []


def test_who_may_not_takes_no_key(coordinator):
    viewer = coordinator.api(coordinator.make_token("viewer", "viewer"))
    problem(post(viewer, "/v1/pools", {"name": "A"}), 403, "refused")
    coordinator.query("UPDATE api_token SET role = 'admin'")
    assert post(viewer, "/v1/pools", {"name": "A"}).status == 201


def test_a_failure_of_ours_is_not_remembered(coordinator, admin, postgres):
    postgres.stop()
    problem(post(admin, "/v1/pools", {"name": "A"}), 503, "unreachable")
    postgres.start()
    shell.wait_for("the coordinator to be ready again",
                   lambda: admin.request("GET", "/readyz").status == 200, 10)
    answer = post(admin, "/v1/pools", {"name": "A"})
    assert answer.status == 201 and not answer.headers["Idempotency-Replayed"]


def test_a_change_whose_answer_cannot_be_kept_is_not_made(coordinator, admin):
    coordinator.query("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.status = 201 THEN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON idempotency
        FOR EACH ROW EXECUTE FUNCTION refuse()""")
    problem(post(admin, "/v1/pools", {"name": "A"}), 507, "no-space")
    assert pools(coordinator) == []


def test_a_secret_is_shown_again_and_not_kept_in_clear(coordinator, admin):
    admin.post("/v1/pools", {"name": "A"})
    first = post(admin, "/v1/enrolments", {"pool": "A", "name": "a1"})
    secret = first.json()["token"]
    same(first, post(admin, "/v1/enrolments", {"pool": "A", "name": "a1"}))
    kept = str(coordinator.query("SELECT i::text FROM idempotency i"))
    assert first.headers["Location"] in kept
    for word in (secret, secret.removeprefix("cpe_"), secret.encode().hex(), "token"):
        assert word not in kept
    assert coordinator.query("SELECT count(*) FROM enrolment") == [["1"]]


def test_what_was_tampered_with_is_not_shown(coordinator, admin):
    post(admin, "/v1/pools", {"name": "A"})
    coordinator.query("UPDATE idempotency SET sealed_body = translate(sealed_body, '01', '10')")
    problem(post(admin, "/v1/pools", {"name": "A"}), 500, "internal")
    assert pools(coordinator) == ["A"]


def test_a_key_is_free_again_after_its_time(coordinator, admin):
    post(admin, "/v1/pools", {"name": "A"})
    left = coordinator.query("SELECT expires_at - created_at FROM idempotency")
    assert left == [["1 day"]]
    coordinator.query("UPDATE idempotency SET expires_at = now()")
    assert post(admin, "/v1/pools", {"name": "B"}).status == 201
    assert pools(coordinator) == ["A", "B"]
    assert coordinator.query("SELECT count(*) FROM idempotency") == [["1"]]
