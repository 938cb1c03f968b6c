"""Every route with every kind of caller."""
import pytest

from crosspool_test.coordinator import Coordinator

from routes import ROLES, ROUTES, name
from test_http import problem
from test_migration import World

NO_SUCH = "11111111-2222-4333-8444-555555555555"


class Callers:
    """One coordinator for the whole matrix: no request of it changes anything."""

    def __init__(self, coordinator, tmp_path):
        self.coordinator = coordinator
        self.world = World(coordinator, coordinator.api(coordinator.make_token("root", "admin")),
                           tmp_path)
        self.world.api.post("/v1/pools", {"name": "C"})
        self.world.api.post("/v1/mapping-sets", {"name": "set", "mapping": {"networks": {"a": "b"}}})
        self.world.api.post("/v1/webhooks", {"name": "hook", "url": "https://receiver.example/"})
        self.evacuation = self.world.api.post("/v1/evacuations", {
            "pools": ["A"], "destination_pools": ["B"], "without_maintenance": True,
            "exclude": ["g1"]}, expect=202)["id"]
        self.migration = self.world.create()
        make = coordinator.make_token
        self.by_role = {role: coordinator.api(make(role.lower(), role.lower())) for role in ROLES}
        self.elsewhere = coordinator.api(make("elsewhere", "admin", "--pool", "C"))
        self.strangers = {"no token": coordinator.api(None),
                          "garbage": coordinator.api("cpt_" + "0" * 64),
                          "not ours": coordinator.api("Zm9vOmJhcg=="),
                          "expired": coordinator.api(make("late", "admin", "--expires-in", "1h")),
                          "revoked": coordinator.api(make("gone", "admin"))}
        coordinator.command("token", "revoke", "--name", "gone")
        coordinator.query("UPDATE api_token SET expires_at = now() - interval '1 s'"
                          " WHERE name = 'late'")

    def object_of(self, route):
        """A real object of pool A behind the route."""
        return {"/v1/pools/{id}": "A", "/v1/hosts/{id}": self.world.a1.id,
                "/v1/hosts/{id}/revoke": self.world.a1.id,
                **{f"/v1/evacuations/{{id}}{act}": self.evacuation for act in (
                    "", "/pause", "/resume", "/cancel", "/vms/{vm}/retry", "/return")},
                "/v1/hosts/{id}/maintenance": self.world.a1.id, "/v1/pools/{id}/maintenance": "A",
                "/v1/vms/{id}": "g1",
                "/v1/mapping-sets/{id}": "set", "/v1/webhooks/{id}": "hook",
                "/v1/webhooks/{id}/test": "hook",
                "/v1/webhooks/{id}/deliveries": "hook"}.get(route.path, self.migration)


@pytest.fixture(scope="module")
def callers(_server, tmp_path_factory):
    directory = tmp_path_factory.mktemp("matrix")
    made = Coordinator(directory / "coordinator", _server, host_lost_after_s=3600,
                       limits={"failures_per_minute": 100000, "failure_burst": 10000})
    made.init()
    made.start()
    yield Callers(made, directory)
    made.kill()


def ask(api, route, object_id=NO_SUCH, body=None):
    """With a body that no handler takes, and by default of an object that is not there; a page of
    what is a stream too."""
    if body is None and route.method in ("POST", "PUT"):
        body = {}
    path = route.path.replace("{id}", object_id).replace("{delivery}", NO_SUCH).replace(
        "{vm}", "g1")
    return api.request(route.method, path, body, {"Accept": "application/json"})


with_token = [route for route in ROUTES if route.access in ROLES]
without = [route for route in ROUTES if route.access not in ROLES]


@pytest.mark.parametrize("route", with_token, ids=name)
def test_nobody_without_a_good_token(callers, route):
    for what, api in callers.strangers.items():
        answer = ask(api, route, callers.object_of(route))
        assert problem(answer, 401, "unauthenticated"), what
        assert answer.headers["WWW-Authenticate"].startswith("Bearer"), what


@pytest.mark.parametrize("route", with_token, ids=name)
def test_the_role_of_the_route_or_a_higher_one(callers, route):
    needed = ROLES.index(route.access)
    for role, api in callers.by_role.items():
        answer = ask(api, route)
        if ROLES.index(role) < needed:
            detail = problem(answer, 403, "refused")["detail"]
            assert f"needs the role {route.access.lower()}" in detail, role
        else:
            assert answer.status in (200, 400, 404), f"{role}: {answer.status} {answer.text}"


@pytest.mark.parametrize("route", [route for route in with_token if route.scope == "WHOLE"],
                         ids=name)
def test_what_concerns_all_pools_is_not_for_a_token_of_one(callers, route):
    detail = problem(ask(callers.elsewhere, route, callers.object_of(route)), 403, "refused")
    assert "limited" in detail["detail"]


@pytest.mark.parametrize("route", [route for route in with_token
                                   if route.scope in ("OBJECTS", "MIGRATION")], ids=name)
def test_the_objects_of_other_pools_are_not_there(callers, route):
    if "{id}" in route.path:
        hidden = problem(ask(callers.elsewhere, route, callers.object_of(route)), 404, "not-found")
        nothing = problem(ask(callers.elsewhere, route), 404, "not-found")
        assert hidden["detail"].replace(callers.object_of(route), NO_SUCH) == nothing["detail"]
    elif route.path == "/v1/inventory":
        seen = ask(callers.elsewhere, route).json()
        assert [pool["name"] for pool in seen["pools"]] == ["C"]
        assert seen["hosts"] == seen["srs"] == seen["vms"] == []
    elif route.method == "GET":
        items = ask(callers.elsewhere, route).json()["items"]
        names = {"/v1/pools": ["C"], "/v1/events": ["C", "set"]}.get(route.path, [])
        assert [item.get("name") or item["body"]["name"] for item in items] == names
    else:
        body = {"/v1/enrolments": {"pool": "A", "name": "a1"},
                "/v1/migrations": callers.world.request(),
                "/v1/evacuations": {"pools": ["A"]}}[route.path]
        problem(ask(callers.elsewhere, route, body=body), 404, "not-found")


@pytest.mark.parametrize("route", [route for route in with_token if route.scope == "SHARED"],
                         ids=name)
def test_what_belongs_to_no_pool_is_for_all(callers, route):
    seen = ask(callers.elsewhere, route, callers.object_of(route))
    assert seen.status == 200
    assert seen.json() == ask(callers.by_role["ADMIN"], route, callers.object_of(route)).json()


@pytest.mark.parametrize("route", without, ids=name)
def test_routes_without_a_token(callers, route):
    for api in (*callers.strangers.values(), *callers.by_role.values(), callers.elsewhere):
        answer = ask(api, route)
        if route.access == "AGENT":  # not on this port, whoever asks
            problem(answer, 404, "not-found")
        else:
            assert answer.status == (400 if route.method == "POST" else 200)


def test_the_matrix_changed_nothing(callers):
    """Runs last: the audit log holds what the fixture did."""
    operations = {row[0] for row in callers.coordinator.query("SELECT operation FROM audit")}
    assert operations == {"token create", "token revoke", "POST /v1/pools", "POST /v1/enrolments",
                          "POST /agent/v1/enrol", "POST /v1/mapping-sets", "POST /v1/webhooks",
                          "POST /v1/migrations", "POST /v1/evacuations"}
    assert callers.coordinator.query("SELECT state FROM host WHERE name = 'a1'") == [["enabled"]]
