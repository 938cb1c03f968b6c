"""Polls that are answered from memory: what they cost, and that nothing is shown for longer than
2 seconds after it changed, whatever happens to the listener or to PostgreSQL."""
import contextlib
import time

import pytest

from crosspool_test import shell
from test_http import problem
from test_migration import World

BOUND_S = 2.0
LISTENERS = "application_name LIKE '%listener' AND datname = current_database()"


def metric(api, name):
    return int(api.get("/metrics").split(f"\n{name} ")[1].split()[0])


def from_memory(api):
    return metric(api, "crosspool_http_from_memory_total")


@contextlib.contextmanager
def counted(api, more, at_most=None):
    """So many answers, or from `more` to `at_most`, come from memory in between."""
    before = from_memory(api)
    yield
    assert more <= from_memory(api) - before <= (more if at_most is None else at_most)


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


@pytest.fixture
def path(world):
    """Of a migration that is kept in memory. It has ended: nothing but a write changes it."""
    migration = world.create()
    world.coordinator.query("UPDATE migration SET state = 'cancelled', ended_at = now();"
                            "DELETE FROM step")
    made = f"/v1/migrations/{migration}"
    warm(world.api, made)
    return made


def warm(api, path):
    def is_kept():
        before = from_memory(api)
        api.get(path)
        return from_memory(api) > before
    shell.wait_for("an answer from memory", is_kept, 10)


def settle(api, path):
    """It comes from memory and goes on doing so: a change is told at once and once more, by the next
    reading of all changes."""
    def is_settled():
        warm(api, path)
        before = from_memory(api)
        time.sleep(0.7)
        api.get(path)
        return from_memory(api) - before == 1
    shell.wait_for("an answer that stays in memory", is_settled, 10)


def progress(world, path, copied):
    """Written to the database as another coordinator would."""
    world.coordinator.query(
        "INSERT INTO migration_progress (migration_id, progress) VALUES"
        f" ('{path.rpartition('/')[2]}', '{{\"longest_stall_ms\": {copied}}}')"
        " ON CONFLICT (migration_id) DO UPDATE SET progress = excluded.progress")


def shown(api, path):
    return api.get(path)["longest_stall_ms"]


def test_unchanged_polls_ask_no_database(coordinator, admin, path):
    tag = admin.request("GET", path).headers["ETag"]
    statements, kept = metric(admin, "crosspool_http_sql_statements_total"), from_memory(admin)
    for turn in range(200):
        answer = admin.request("GET", path, headers={"If-None-Match": tag} if turn % 2 else {})
        assert answer.status == (304 if turn % 2 else 200)
        assert answer.headers["ETag"] == tag and len(answer.headers["X-Request-Id"]) == 36
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert bool(answer.body) == (turn % 2 == 0)
    kept = from_memory(admin) - kept
    after = metric(admin, "crosspool_http_sql_statements_total")
    # a beat that is late on a busy machine makes some ask; the metrics take 3 statements each time, and
    # each statement is prepared once on each connection
    assert kept >= 100
    assert after - statements <= 6 * 5 + 6 * (200 - kept)
    text = admin.get("/metrics")
    assert 'route="/v1/migrations/{id}",status="304"' in text


def test_the_same_answer_from_memory_and_from_the_database(coordinator, admin, path):
    kept = admin.request("GET", path)
    other = coordinator.api(coordinator.make_token("other", "viewer"))
    with counted(admin, 0):
        fresh = other.request("GET", path)
    assert kept.body == fresh.body
    assert sorted(kept.headers.keys()) == sorted(fresh.headers.keys())


def test_another_request_is_another_answer(admin, path):
    listed = admin.get("/v1/migrations?limit=1")
    assert admin.get("/v1/migrations?limit=1&state=cancelled") == listed
    assert admin.get("/v1/migrations?limit=1&state=failed")["items"] == []
    assert "state" in problem(admin.request("GET", "/v1/migrations?limit=1&state=x"), 400,
                              "invalid")["detail"]
    assert admin.get(path)["id"] == listed["items"][0]["id"]


def test_a_write_is_read_at_once_at_the_same_coordinator(world, path):
    for _ in range(5):
        migration = world.create()
        listed = world.api.get("/v1/migrations?state=active")["items"]
        assert [item["id"] for item in listed] == [migration]
        warm(world.api, f"/v1/migrations/{migration}")
        assert world.state(migration) == "preparing"
        world.cancel(migration)
        assert world.state(migration) == "aborting"
        world.finish_abort(migration, "cancelled")
        assert world.api.get("/v1/migrations?state=active")["items"] == []


def test_what_an_agent_reports_is_read_at_once(world):
    migration = world.to_transferring()
    for turn in range(1, 15):
        world.show(migration)
        world.api.get("/v1/migrations")
        world.a1.send(progress=[{"migration": migration, "phase": "copying", "disks": [],
                                 "longest_stall_ms": turn}])
        assert world.show(migration)["longest_stall_ms"] == turn
        assert world.api.get("/v1/migrations")["items"][0]["longest_stall_ms"] == turn


def test_a_change_elsewhere_is_seen_within_the_bound(world, path):
    for turn in range(1, 15):
        progress(world, path, turn)
        begin = time.monotonic()
        shell.wait_for("the change", lambda: shown(world.api, path) == turn, BOUND_S, 0.001)
        assert time.monotonic() - begin < BOUND_S
        warm(world.api, path)


def test_two_coordinators(pair, tmp_path):
    first, second = pair
    token = first.make_token("admin", "admin")
    world = World(first, first.api(token), tmp_path)
    migration = world.create()
    path = f"/v1/migrations/{migration}"
    warm(second.api(token), path)
    world.cancel(migration)
    shell.wait_for("the cancel at the other",
                   lambda: second.api(token).get(path)["state"] == "aborting", BOUND_S, 0.005)


def test_many_migrations_at_once(world, path):
    migration = path.rpartition("/")[2]
    row = ("INSERT INTO migration (id, vm_id, destination_vm_id, domain_uuid, name, memory_bytes,"
           " source_pool_id, source_host_id, destination_pool_id, destination_host_id, mapping,"
           " spec, state, created_by, ended_at) SELECT gen_random_uuid(), vm_id, destination_vm_id,"
           " gen_random_uuid(), name, memory_bytes, source_pool_id, source_host_id,"
           " destination_pool_id, destination_host_id, mapping, spec, 'cancelled', 'x', now()"
           f" FROM migration, generate_series(1, 40) WHERE id = '{migration}'")
    world.coordinator.query(row)
    warm(world.api, path)
    world.coordinator.query("UPDATE migration SET pause_us = 7")
    shell.wait_for("the change", lambda: world.api.get(path)["pause_us"] == 7, BOUND_S, 0.002)


def test_without_its_listener_nothing_comes_from_memory(world, path):
    for turn in range(1, 6):
        warm(world.api, path)
        assert world.coordinator.query(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LISTENERS}")
        progress(world, path, turn)
        shell.wait_for("the change", lambda: shown(world.api, path) == turn, BOUND_S, 0.001)
    warm(world.api, path)


def test_a_listener_that_hears_nothing_is_not_trusted(world, path):
    """Its backend is stopped: no connection is lost, and no notification comes."""
    settle(world.api, path)
    pid = world.coordinator.query(f"SELECT pid FROM pg_stat_activity WHERE {LISTENERS}")[0][0]
    shell.run("kill", "-STOP", pid)
    try:
        begin = time.monotonic()
        progress(world, path, 7)
        shell.wait_for("the change", lambda: shown(world.api, path) == 7, BOUND_S, 0.001)
        with counted(world.api, 0):
            world.api.get(path)
        assert time.monotonic() - begin < 10
    finally:
        shell.run("kill", "-CONT", pid)
    warm(world.api, path)


def test_without_postgresql_nothing_is_shown_for_long(world, path, postgres):
    postgres.stop()
    begin = time.monotonic()
    shell.wait_for("503", lambda: world.api.request("GET", path).status == 503, BOUND_S, 0.005)
    assert time.monotonic() - begin < BOUND_S
    postgres.start()
    shell.wait_for("answers again", lambda: world.api.request("GET", path).status == 200, 15)
    warm(world.api, path)


def test_a_postgresql_that_says_nothing_is_not_trusted(world, path, postgres):
    postgres.freeze()
    try:
        time.sleep(BOUND_S)
        assert world.api.request("GET", path).status == 503
    finally:
        postgres.thaw()
    shell.wait_for("answers again", lambda: world.api.request("GET", path).status == 200, 15)


def test_a_revoked_token_ends_within_the_bound(coordinator, admin, path):
    leaver = coordinator.api(coordinator.make_token("leaver", "viewer"))
    warm_by = from_memory(admin)
    leaver.get(path)
    leaver.get(path)
    assert from_memory(admin) > warm_by
    coordinator.command("token", "revoke", "--name", "leaver")
    shell.wait_for("401", lambda: leaver.request("GET", path).status == 401, BOUND_S, 0.002)
    assert admin.request("GET", path).status == 200
    coordinator.query("UPDATE api_token SET revoked_at = NULL")
    assert leaver.request("GET", path).status == 200
    coordinator.query("DELETE FROM api_token WHERE name = 'leaver'")
    shell.wait_for("401", lambda: leaver.request("GET", path).status == 401, BOUND_S, 0.002)


def test_nobody_reads_from_memory_what_he_may_not(coordinator, path):
    problem(coordinator.api("cpt_" + "0" * 64).request("GET", path), 401, "unauthenticated")
    problem(coordinator.api(None).request("GET", path), 401, "unauthenticated")


def test_a_host_that_falls_silent_is_shown_in_time(world):
    """The coordinator of these tests loses hosts after 5 s: no write tells of it."""
    migration = world.to_transferring()
    path = f"/v1/migrations/{migration}"
    world.a1.send()
    last = time.monotonic()
    world.b1.send()
    warm(world.api, path)
    assert world.show(migration)["waits_for"] is None

    def is_shown():
        world.b1.send()
        return "a1 (source)" in (world.show(migration)["waits_for"] or "")
    shell.wait_for("the silence", is_shown, 12, 0.02)
    assert 4 < time.monotonic() - last < 5 + BOUND_S
    warm(world.api, path)
    world.a1.send()
    shell.wait_for("the host again", lambda: world.show(migration)["waits_for"] is None, BOUND_S,
                   0.002)


def test_memory_is_bounded(postgres, tmp_path):
    from crosspool_test.coordinator import Coordinator
    small = Coordinator(tmp_path / "small", postgres, poll_cache_bytes=20000)
    small.init()
    small.start()
    try:
        api = small.api(small.make_token("admin", "admin"))

        def is_filled():
            """An answer with a list is kept for a second: on a slow machine some pass meanwhile."""
            for limit in range(1, 200):
                api.get(f"/v1/migrations?limit={limit}")
            kept = metric(api, "crosspool_http_kept_bytes")
            assert kept <= 20000
            return kept > 10000
        shell.wait_for("a memory that is full", is_filled)
    finally:
        small.kill()
