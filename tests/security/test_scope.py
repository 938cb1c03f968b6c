"""Tokens that are limited to pools: which objects there are for them."""
import pytest

from crosspool_test import shell
from crosspool_test.events import Stream

from test_http import problem


@pytest.fixture
def scoped(world):
    """Api by its pools: {"A": ..., "B": ..., "AB": ...}, all operators."""
    made = {}
    for pools in ("A", "B", "AB"):
        words = [word for pool in pools for word in ("--pool", pool)]
        made[pools] = world.coordinator.api(
            world.coordinator.make_token(f"of-{pools}", "operator", *words))
    return made


def names(api, path):
    return sorted(item["name"] for item in api.get(path)["items"])


@pytest.mark.parametrize("path, of_a, of_b", [
    ("/v1/pools", ["A"], ["B"]), ("/v1/hosts", ["a1"], ["b1"]),
    ("/v1/networks", ["lan-a"], ["lan-b"]), ("/v1/srs", ["local-a1"], ["local-b1"]),
    ("/v1/vms", ["g1"], []),
])
def test_lists_hold_the_objects_of_the_tokens_pools(world, scoped, path, of_a, of_b):
    assert names(scoped["A"], path) == of_a
    assert names(scoped["B"], path) == of_b
    assert names(scoped["AB"], path) == sorted(of_a + of_b) == names(world.api, path)


def test_pages_of_a_list_are_within_the_scope(world, scoped):
    for number in range(5):
        world.a1.add_vm(f"more-{number}")
    world.a1.report()
    found, cursor = [], ""
    while cursor is not None:
        page = scoped["A"].get(f"/v1/vms?limit=2{cursor and '&cursor=' + cursor}")
        found += [vm["name"] for vm in page["items"]]
        cursor = page["next"]
    assert sorted(found) == ["g1"] + [f"more-{number}" for number in range(5)]
    assert scoped["B"].get("/v1/vms?limit=2") == {"items": [], "next": None}


def test_a_name_that_another_pool_has_too_is_not_ambiguous(world, scoped):
    world.b1.add_vm("g1")
    world.b1.report()
    problem(world.api.request("GET", "/v1/vms/g1"), 409, "conflict")
    assert scoped["A"].get("/v1/vms/g1")["pool_name"] == "A"
    assert scoped["B"].get("/v1/vms/g1")["pool_name"] == "B"


def test_a_migration_needs_both_pools(world, scoped):
    for pools, missing in (("A", 'pool "B"'), ("B", 'VM "g1"')):
        for path in ("/v1/migrations", "/v1/migrations?dry_run=true"):
            answer = scoped[pools].request("POST", path, world.request())
            assert missing in problem(answer, 404, "not-found")["detail"]
    assert scoped["AB"].post("/v1/migrations?dry_run=true", world.request())["can_move"]
    scoped["AB"].post("/v1/migrations", world.request(), expect=202)


def test_a_migration_is_seen_from_both_pools_and_changed_by_who_has_both(world, scoped):
    migration = world.create()
    world.api.post("/v1/pools", {"name": "C"})
    scoped["C"] = world.coordinator.api(
        world.coordinator.make_token("of-C", "admin", "--pool", "C"))
    path = f"/v1/migrations/{migration}"
    for pools in ("A", "B", "AB"):
        assert scoped[pools].get(path)["id"] == migration
        assert [item["id"] for item in scoped[pools].get("/v1/migrations")["items"]] == [migration]
    problem(scoped["C"].request("GET", path), 404, "not-found")
    problem(scoped["C"].request("POST", path + "/cancel"), 404, "not-found")
    assert scoped["C"].get("/v1/migrations")["items"] == []
    for pools in ("A", "B"):
        answer = scoped[pools].request("POST", path + "/cancel")
        assert "between two pools" in problem(answer, 403, "refused")["detail"]
    assert not world.show(migration)["is_cancel_requested"]
    scoped["AB"].post(path + "/cancel", expect=202)


def test_leftovers_are_those_of_the_tokens_hosts(world, scoped):
    world.b1.ledger("11111111-2222-4333-8444-555555555555", ("vdi", "some/thing", False))
    assert [item["host_name"] for item in scoped["B"].get("/v1/leftovers")["items"]] == ["b1"]
    assert scoped["A"].get("/v1/leftovers")["items"] == []


def test_events_are_those_of_the_tokens_pools(world, scoped):
    streams = {pools: Stream(world.coordinator, api.token) for pools, api in scoped.items()}
    world.api.post("/v1/mapping-sets", {"name": "s", "mapping": {"networks": {"lan": "lan-b"}}})
    world.a1.add_vm("of-a")
    world.a1.report()
    world.b1.add_vm("of-b")
    world.b1.report()
    migration = world.create()

    def seen(events):
        return {event["body"]["name"] for event in events if event["kind"] == "vm.appeared"}
    of = {"A": {"of-a"}, "B": {"of-b"}, "AB": {"of-a", "of-b"}}
    for pools, stream in streams.items():
        shell.wait_for("the migration", lambda stream=stream: "migration.created" in stream.kinds(),
                       30)
        assert seen(stream.events) == of[pools]
        assert "mapping_set.created" in stream.kinds()
        stream.close()
    for pools, api in scoped.items():
        page = api.request("GET", "/v1/events?limit=500", headers={"Accept": "application/json"})
        items = page.json()["items"]
        assert seen(items) == of[pools] | ({"g1"} if "A" in pools else set())
        assert migration in {event["id"] for event in items}
    late = Stream(world.coordinator, scoped["B"].token, last=0)
    shell.wait_for("the migration", lambda: "migration.created" in late.kinds(), 30)
    assert seen(late.events) == {"of-b"}
    late.close()
    stream = Stream(world.coordinator, scoped["B"].token, "?pool=A")
    assert stream.status == 404


def test_an_administrator_of_a_pool_has_its_hosts_alone(world):
    api = world.coordinator.api(world.coordinator.make_token("of-A", "admin", "--pool", "A"))
    api.post("/v1/enrolments", {"pool": "A", "name": "a2"}, expect=201)
    taken = problem(api.request("POST", "/v1/enrolments", {"pool": "A", "name": "b1"}), 409,
                    "conflict")
    assert "another pool" in taken["detail"] and "pool B" not in taken["detail"]
    problem(api.request("POST", "/v1/hosts/b1/revoke"), 404, "not-found")
    assert api.post("/v1/hosts/a1/revoke")["state"] == "revoked"
    assert world.api.get("/v1/hosts/b1")["state"] == "up"


def test_a_pool_that_is_gone_leaves_the_token_with_nothing(world, scoped):
    world.coordinator.query("UPDATE api_token SET pool_ids = ARRAY[gen_random_uuid()]"
                            " WHERE name = 'of-A'")
    assert names(scoped["A"], "/v1/pools") == names(scoped["A"], "/v1/vms") == []
