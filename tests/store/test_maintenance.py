"""Maintenance of hosts and pools: nothing new is placed there, and what runs goes on running."""
import pytest

from test_http import problem
from test_migration import World


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


def end(world, path):
    answer = world.api.request("DELETE", path)
    assert answer.status == 200, answer.text
    return answer.json()


def codes(world, **more):
    answer = world.api.request("POST", "/v1/migrations", world.request(**more))
    return {blocker["code"]: blocker for blocker in problem(answer, 409, "conflict")["blockers"]}


@pytest.mark.parametrize("destination", [{"pool": "B", "host": "b1"}, {"pool": "B"}])
@pytest.mark.parametrize("kind, name, code", [("hosts", "b1", "host-in-maintenance"),
                                              ("pools", "B", "pool-in-maintenance")])
def test_nothing_new_is_placed_there(world, destination, kind, name, code):
    path = f"/v1/{kind}/{name}/maintenance"
    assert not world.api.get(f"/v1/{kind}/{name}")["in_maintenance"]
    for _ in range(2):
        assert world.api.post(path)["in_maintenance"]
    blocker = codes(world, destination=destination)[code]
    assert f"end the maintenance of {kind[:-1]} {name}" in blocker["fix"]
    for _ in range(2):
        assert not end(world, path)["in_maintenance"]
    world.api.post("/v1/migrations", world.request(destination=destination), expect=202)


def test_what_runs_there_may_leave(world):
    world.api.post("/v1/pools/A/maintenance")
    world.api.post("/v1/hosts/a1/maintenance")
    world.create()


def test_a_queued_migration_does_not_start_into_it(world):
    """Admission looks again right before the start."""
    for number in range(4):
        world.a1.add_vm(f"n{number}")
    world.a1.report()
    for number in range(4):  # as many as a host takes part in at once
        world.create(vm=f"n{number}")
    migration = world.create()
    assert world.state(migration) == "queued"
    world.api.post("/v1/hosts/b1/maintenance")
    for number in range(4):
        world.cancel(next(m["id"] for m in world.api.get("/v1/migrations")["items"]
                          if m["name"] == f"n{number}"))
    for _ in range(4):
        for host, kind in ((world.a1, "abort-source"), (world.b1, "abort-destination")):
            host.finish(kind)
    world.wait_state(migration, "failed", world.a1, world.b1)
    assert "in maintenance" in world.show(migration)["error"]["message"]


def test_events_tell_of_it(world):
    world.api.post("/v1/pools/B/maintenance")
    world.api.post("/v1/hosts/b1/maintenance")
    rows = world.coordinator.query("SELECT kind, body ->> 'in_maintenance' FROM event"
                                   " WHERE kind LIKE '%.maintenance' ORDER BY id")
    assert rows == [["pool.maintenance", "true"], ["host.maintenance", "true"]]


@pytest.mark.parametrize("path", ["/v1/hosts/none/maintenance", "/v1/pools/none/maintenance"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_what_does_not_exist_is_named(world, method, path):
    assert '"none"' in problem(world.api.request(method, path), 404, "not-found")["detail"]
