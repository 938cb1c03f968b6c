"""api/openapi.yaml against the routes table, the parsers and real answers, both ways."""
import re

import pytest

from crosspool_test import shell
from crosspool_test.contract import Contract

CONTRACT = Contract()
ROUTE = re.compile(r'\{"([A-Z]+)", "([^"]+)", ACCESS_([A-Z]+), (\w+), SCOPE_\w+[,}]')
ROUTES = {(method, path): access for method, path, access, _ in
          ROUTE.findall((shell.ROOT / "coordinator/api/routes.c").read_text())}


def media(node):
    """(content type, schema, example) of a request body or response."""
    for content_type, content in node.get("content", {}).items():
        yield content_type, content["schema"], content.get("example")


def bodies():
    """Every body of the contract that has an example: (what, schema, example)."""
    for (method, path), operation in CONTRACT.operations.items():
        parts = {"request": operation.get("requestBody", {})}
        parts.update({status: CONTRACT.resolve(response)
                      for status, response in operation["responses"].items()})
        for part, node in parts.items():
            for _, schema, example in media(node):
                if example is not None:
                    yield f"{method} {path} {part}", schema, example


def test_the_routes_table_is_read_whole():
    text = (shell.ROOT / "coordinator/api/routes.c").read_text()
    assert len(ROUTES) == text.count("ACCESS_") > 20


def test_every_route_is_in_the_contract():
    assert not set(ROUTES) - set(CONTRACT.operations)


def test_every_operation_of_the_contract_has_a_route():
    assert not set(CONTRACT.operations) - set(ROUTES)


@pytest.mark.parametrize("route", sorted(ROUTES), ids=" ".join)
def test_the_contract_says_who_may(route):
    operation, access = CONTRACT.operations[route], ROUTES[route]
    security = operation.get("security", CONTRACT.document["security"])
    wanted = {"PLAIN": [], "OPEN": [], "AGENT": [{"certificate": []}]}.get(access, [{"token": []}])
    assert security == wanted
    if wanted == [{"token": []}]:
        assert f"role {access.lower()}" in operation["description"]
        assert "401" in operation["responses"]


@pytest.mark.parametrize("route", sorted(ROUTES), ids=" ".join)
def test_path_parameters_and_bodies_are_declared(route):
    method, path = route
    operation = CONTRACT.operations[route]
    names = [CONTRACT.resolve(parameter)["name"] for parameter in operation.get("parameters", [])
             if CONTRACT.resolve(parameter)["in"] == "path"]
    assert names == re.findall(r"{(\w+)}", path)
    needs_body = method in ("POST", "PUT", "PATCH") and not path.endswith(
        ("/cancel", "/revoke", "/pause", "/resume", "/switchover", "/test", "/retry",
         "/maintenance"))
    assert ("requestBody" in operation) == needs_body
    assert ("413" in operation["responses"]) == needs_body


def headers_taken(operation):
    return {CONTRACT.resolve(parameter)["name"] for parameter in operation.get("parameters", [])
            if CONTRACT.resolve(parameter)["in"] == "header"}


@pytest.mark.parametrize("route", sorted(route for route in ROUTES if route[1].startswith("/v1/")),
                         ids=" ".join)
def test_keys_and_conditions_are_declared(route):
    method, _ = route
    operation = CONTRACT.operations[route]
    taken, responses = headers_taken(operation), operation["responses"]
    assert ("Idempotency-Key" in taken) == (method == "POST")
    assert ("If-None-Match" in taken) == ("304" in responses) == (method == "GET")
    assert ("If-Match" in taken) == ("412" in responses)
    if method == "POST":
        assert {"400", "409", "422"} <= set(responses)
    if method in ("GET", "PUT"):
        assert "ETag" in CONTRACT.resolve(responses["200"])["headers"]
    for response in map(CONTRACT.resolve, (responses.get("202"),) if "202" in responses else ()):
        assert {"Location", "Retry-After"} <= set(response["headers"])


def test_operation_ids_are_unique():
    ids = [operation["operationId"] for operation in CONTRACT.operations.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("what, schema, example", bodies(), ids=lambda part: str(part)[:60]
                         if isinstance(part, str) else "")
def test_an_example_fits_its_schema(what, schema, example):
    assert not CONTRACT.wrong(schema, example), what


@pytest.mark.parametrize("change, where", [
    ({"hosts": "2"}, "/hosts"), ({"hosts": -1}, "/hosts"), ({"hosts": True}, "/hosts"),
    ({"id": "7"}, None), ({"name": ""}, "/name"), ({"name": "x" * 129}, "/name"),
    ({"created_at": "yesterday"}, "/created_at"), ({"more": 1}, "/more"),
])
def test_the_checker_finds_what_does_not_fit(change, where):
    pool = {"id": "7d2f1c9e-5a41-4a36-9d0c-3f6a2f7f0001", "name": "A", "hosts": 2,
            "in_maintenance": False,
            "created_at": "2026-01-31T12:00:00Z"}
    schema = {"$ref": "#/components/schemas/Pool"}
    assert not CONTRACT.wrong(schema, pool)
    found = CONTRACT.wrong(schema, {**pool, **change})
    assert len(found) == 1 and (where or "/id") in found[0]
    for name in pool:
        missing = {key: value for key, value in pool.items() if key != name}
        assert CONTRACT.wrong(schema, missing) == [f"/{name}: missing"]


def test_every_problem_type_of_the_program_is_in_the_contract():
    listed = set(CONTRACT.document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"])
    words = re.findall(r'\[ERROR_\w+\] = "([a-z-]+)"', (shell.ROOT / "base/error.c").read_text())
    for file in (shell.ROOT / "coordinator/http").glob("*.c"):
        words += re.findall(r'http_refuse\(exchange, \d+, "([a-z-]+)"', file.read_text())
    for file in (shell.ROOT / "coordinator/api").glob("*.c"):
        words += re.findall(r'"urn:crosspool:problem:([a-z-]+)"', file.read_text())
    assert listed == {f"urn:crosspool:problem:{word}" for word in words}


def check(method, path, answer):
    """The answer's status and body are those of the contract."""
    response = CONTRACT.response(method, path, answer.status)
    declared = list(media(response))
    if not declared:
        assert answer.body == b""
        return answer
    content_type, schema, _ = declared[0]
    assert answer.headers.get_content_type() == content_type
    if content_type.endswith("json"):
        assert not CONTRACT.wrong(schema, answer.json()), f"{method} {path}"
    return answer


def example_of(method, path):
    return next(media(CONTRACT.operations[method, path]["requestBody"]))[2]


@pytest.mark.parametrize("route", sorted(route for route, operation in CONTRACT.operations.items()
                                         if "requestBody" in operation), ids=" ".join)
def test_the_parser_takes_the_example(admin, coordinator, host, route):
    method, path = route
    if path.endswith("/{id}") and path != "/v1/migrations/{id}":
        admin.post(path.removesuffix("/{id}"), example_of("POST", path.removesuffix("/{id}")))
    if path == "/v1/pools":
        coordinator.query("UPDATE pool SET name = 'other'")
    caller = host.api(coordinator) if ROUTES[route] == "AGENT" else admin
    answer = caller.request(method, path.replace("{id}", "a-to-b"), example_of(method, path))
    check(method, path, answer)
    expected = {"/v1/migrations": 404, "/v1/migrations/{id}": 404, "/agent/v1/enrol": 403,
                "/v1/evacuations": 404, "/v1/evacuations/{id}/return": 404}.get(path, (200, 201, 204))
    assert answer.status in (expected if isinstance(expected, tuple) else (expected,)), answer.text


def test_answers_fit_the_contract(admin, coordinator, host):
    """Every reading operation, with a host that has reported the example's inventory."""
    report = host.api(coordinator).request("POST", "/agent/v1/report",
                                           example_of("POST", "/agent/v1/report"))
    assert report.status == 204, report.text
    admin.post("/v1/mapping-sets", example_of("POST", "/v1/mapping-sets"))
    admin.post("/v1/webhooks", example_of("POST", "/v1/webhooks"))
    names = {"/v1/pools/{id}": "A", "/v1/pools/{id}/cpu": "A", "/v1/hosts/{id}": "a1",
             "/v1/vms/{id}": "g1", "/v1/tokens/{id}": "admin"}
    for method, path in CONTRACT.operations:
        if method != "GET" or path in ("/v1/migrations/{id}", "/v1/evacuations/{id}",
                                       "/v1/events"):  # a stream: test_events
            continue
        answer = check(method, path, admin.request(method, path.replace("{id}", names.get(path, "a-to-b"))))
        assert answer.status == 200, f"{path}: {answer.text}"
        if path in ("/v1/pools", "/v1/hosts", "/v1/networks", "/v1/srs", "/v1/vms",
                    "/v1/mapping-sets", "/v1/tokens", "/v1/audit", "/v1/webhooks"):
            assert answer.json()["items"], f"{path} has nothing to check"


def test_a_check_and_a_refusal_fit_the_contract(admin, coordinator, host):
    assert host.api(coordinator).request(
        "POST", "/agent/v1/report", example_of("POST", "/agent/v1/report")).status == 204
    admin.post("/v1/pools", {"name": "B"})
    body = {"vm": "g1", "destination": {"pool": "B"}}
    looked = check("POST", "/v1/migrations",
                   admin.request("POST", "/v1/migrations?dry_run=true", body))
    assert looked.status == 200 and not looked.json()["can_move"] and looked.json()["blockers"]
    refused = check("POST", "/v1/migrations", admin.request("POST", "/v1/migrations", body))
    assert refused.status == 409 and refused.json()["blockers"] == looked.json()["blockers"]


@pytest.mark.parametrize("path", sorted(path for method, path in ROUTES
                                        if method == "GET" and "{id}" in path))
def test_what_does_not_exist_is_404_by_the_contract(module_admin, path):
    for name in ("no-such", "11111111-2222-4333-8444-555555555555"):
        assert check("GET", path, module_admin.request("GET", path.replace("{id}", name))).status == 404
