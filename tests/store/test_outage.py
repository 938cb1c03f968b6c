"""PostgreSQL goes away, hangs, comes back; the coordinator is killed at any moment."""
import contextlib
import http.client
import subprocess
import threading
import time

import pytest

from crosspool_test import shell
from crosspool_test.coordinator import Coordinator, PROGRAM

from test_http import problem


def test_a_stopped_database_is_503_and_health_stays(coordinator, admin, postgres):
    admin.get("/v1/pools")
    postgres.stop()
    begin = time.monotonic()
    answer = admin.request("GET", "/v1/pools")
    assert time.monotonic() - begin < 5
    problem(answer, 503, "unreachable")
    assert int(answer.headers["Retry-After"]) > 0
    problem(admin.request("GET", "/readyz"), 503, "unreachable")
    assert admin.get("/healthz") == {"status": "ok"}
    assert coordinator.is_running()


def test_work_goes_on_when_the_database_is_back(coordinator, admin, postgres):
    admin.post("/v1/pools", {"name": "A"})
    postgres.kill()
    problem(admin.request("GET", "/v1/pools"), 503, "unreachable")
    postgres.start()
    shell.wait_for("the coordinator to be ready again",
                   lambda: admin.request("GET", "/readyz").status == 200, 10)
    assert [pool["name"] for pool in admin.get("/v1/pools")["items"]] == ["A"]


def test_a_quick_restart_of_the_database_fails_nobody(coordinator, admin, postgres):
    """Connections that the server closed while idle are replaced before they are used."""
    admin.get("/v1/pools")
    postgres.restart()
    time.sleep(0.6)
    assert [admin.request("GET", "/v1/pools").status for _ in range(4)] == [200] * 4


@pytest.mark.long
def test_a_database_that_says_nothing_is_503_in_the_end(coordinator, admin, postgres):
    admin.get("/v1/pools")
    postgres.freeze()
    try:
        begin = time.monotonic()
        answer = admin.request("GET", "/v1/pools")
        assert time.monotonic() - begin < 25
        problem(answer, 503, "unreachable")
    finally:
        postgres.thaw()
    shell.wait_for("answers again", lambda: admin.request("GET", "/v1/pools").status == 200, 10)


def test_health_is_answered_while_everything_else_waits(coordinator, admin, postgres):
    api = coordinator.api(None)

    def ask(path):
        with contextlib.suppress(OSError, http.client.HTTPException):
            coordinator.api(admin.token).request("GET", path)
    postgres.freeze()
    try:
        for path in ["/readyz", "/v1/pools"] * 10:
            threading.Thread(target=ask, args=(path,), daemon=True).start()
        time.sleep(0.5)
        begin = time.monotonic()
        assert api.get("/healthz") == {"status": "ok"}
        assert time.monotonic() - begin < 3
    finally:
        postgres.thaw()


def test_a_killed_coordinator_starts_again_with_everything(coordinator, admin):
    admin.post("/v1/pools", {"name": "A"})
    coordinator.kill()
    coordinator.start()
    assert [pool["name"] for pool in admin.get("/v1/pools")["items"]] == ["A"]


def test_sigterm_ends_it_with_zero(coordinator, admin):
    admin.get("/v1/pools")
    begin = time.monotonic()
    coordinator.stop()
    assert time.monotonic() - begin < 10


def test_a_database_that_was_migrated_further_makes_it_not_ready(coordinator, admin):
    coordinator.query("INSERT INTO schema_migration (version, name) VALUES (9999, 'later')")
    assert "9999" in problem(admin.request("GET", "/readyz"), 503, "unreachable")["detail"]
    coordinator.kill()
    done = coordinator.try_command("run")
    assert done.returncode == 1
    assert "version 9999" in done.stderr


@pytest.mark.parametrize("at", [0.0, 0.02, 0.05, 0.1])
def test_init_killed_at_any_moment_can_be_repeated(postgres, tmp_path, at):
    made = Coordinator(tmp_path / "c", postgres)
    made.write_configuration()
    process = subprocess.Popen([PROGRAM, "init", "--config", made.config_path],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(at)
    process.kill()
    process.wait()
    made.command("init")
    made.start()
    made.stop()
