"""The HTTPS server: identity, limits, problems."""
import json
import socket
import ssl

import pytest


def problem(answer, status, kind):
    assert answer.status == status, answer.text
    assert answer.headers.get_content_type() == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:crosspool:problem:{kind}", document
    assert document["status"] == status
    assert document["request"] == answer.headers["X-Request-Id"]
    return document


def test_health_and_readiness_need_no_identity(coordinator):
    api = coordinator.api(None)
    assert api.get("/healthz") == {"status": "ok"}
    ready = api.get("/readyz")
    applied = coordinator.query("SELECT max(version) FROM schema_migration")
    assert ready == {"status": "ready", "schema": int(applied[0][0])}


def test_the_contract_is_served(coordinator):
    answer = coordinator.api(None).request("GET", "/openapi.yaml")
    assert answer.headers.get_content_type() == "application/yaml"
    assert answer.text.startswith("openapi: 3.1")


def test_without_a_token_it_says_what_is_needed(coordinator):
    answer = coordinator.api(None).request("GET", "/v1/pools")
    assert "Authorization: Bearer" in problem(answer, 401, "unauthenticated")["detail"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", ["cpt_" + "0" * 64, "x", "y" * 128, "z" * 4000])
def test_an_unknown_token_is_no_identity(coordinator, token):
    problem(coordinator.api(token).request("GET", "/v1/pools"), 401, "unauthenticated")


def test_a_revoked_token_is_no_identity_at_once(coordinator):
    api = coordinator.api(coordinator.make_token("leaver", "viewer"))
    api.get("/v1/pools")
    coordinator.command("token", "revoke", "--name", "leaver")
    problem(api.request("GET", "/v1/pools"), 401, "unauthenticated")


def test_roles_include_the_lower_ones_only(coordinator):
    for role, status in (("viewer", 403), ("operator", 403), ("admin", 201)):
        api = coordinator.api(coordinator.make_token(f"a-{role}", role))
        api.get("/v1/pools")
        answer = api.request("POST", "/v1/pools", {"name": f"by-{role}"})
        assert answer.status == status
        if status == 403:
            assert f"has {role}" in problem(answer, 403, "refused")["detail"]
    assert coordinator.query("SELECT name FROM pool") == [["by-admin"]]


def test_the_database_holds_no_token(coordinator):
    token = coordinator.make_token("secret", "admin")
    rows = coordinator.query("SELECT t::text FROM api_token t")
    assert token.removeprefix("cpt_") not in str(rows)
    assert token not in coordinator.log.read_text()


def test_an_unknown_path_is_404_and_another_method_405(admin):
    problem(admin.request("GET", "/v1/nothing"), 404, "not-found")
    problem(admin.request("GET", "/v1/pools/"), 404, "not-found")
    problem(admin.request("GET", "/agent/v1/poll"), 404, "not-found")
    answer = admin.request("DELETE", "/v1/pools")
    problem(answer, 405, "method-not-allowed")
    assert sorted(answer.headers["Allow"].split(", ")) == ["GET", "POST"]


def test_head_is_get_without_a_body(admin):
    answer = admin.request("HEAD", "/v1/pools")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


def test_a_request_id_is_kept_when_it_is_plain(admin, coordinator):
    kept = admin.request("GET", "/v1/pools", headers={"X-Request-Id": "job-17.a"})
    assert kept.headers["X-Request-Id"] == "job-17.a"
    made = admin.request("GET", "/v1/pools", headers={"X-Request-Id": "a b\"c"})
    assert len(made.headers["X-Request-Id"]) == 36
    lines = [json.loads(line) for line in coordinator.log.read_text().splitlines()]
    assert [line["text"].split()[:3] for line in lines if line.get("request") == "job-17.a"] == \
        [["GET", "/v1/pools", "200"]]


@pytest.mark.parametrize("body, where", [
    (b"", "JSON"),
    (b"{", "JSON"),
    (b"[]", "object"),
    (b'{"name": 7}', "/name"),
    (b'{"nam": "a"}', "/nam"),
    (b'{"name": "a", "name": "b"}', "name"),
    (b'{"name": ""}', "/name"),
    (b'{"name": "' + b"x" * 129 + b'"}', "/name"),
    (b'{"name": "a b"}', "pool's name"),
    (b'{"name": "0e3a6f6a-3f53-4d7c-8a50-5a3b1f1b0001"}', "UUID"),
    (b'{"name": "\xff"}', "byte 0xff"),
])
def test_a_malformed_body_is_400_and_says_where(module_admin, module_coordinator, body, where):
    answer = module_admin.request("POST", "/v1/pools", body)
    assert where.lower() in problem(answer, 400, "invalid")["detail"].lower()
    assert module_coordinator.query("SELECT count(*) FROM pool") == [["0"]]


@pytest.mark.parametrize("path", ["/v1/pools/A%00B", "/v1/pools/A%00", "/v1/pools/A%00/cpu"])
def test_a_nul_does_not_end_a_path(admin, path):
    admin.post("/v1/pools", {"name": "A"})
    assert admin.request("GET", "/v1/pools/%41").status == 200
    assert admin.request("GET", path).status == 404
    assert admin.request("DELETE", path).status in (404, 405)
    assert admin.request("GET", "/v1/pools/A").status == 200


@pytest.mark.parametrize("query, what", [
    ("limt=1", "limt"), ("limit=0", "limit"), ("limit=501", "limit"), ("limit=x", "limit"),
    ("limit=1&limit=2", "limit"), ("limit", "limit"), ("cursor=1", "cursor"),
])
def test_a_wrong_query_parameter_is_named(module_admin, query, what):
    answer = module_admin.request("GET", f"/v1/pools?{query}")
    assert what in problem(answer, 400, "invalid")["detail"]


def test_a_body_over_the_limit_is_413(admin):
    announced = admin.request("POST", "/v1/pools", b"x" * ((1 << 20) + 1))
    assert "1048576" in problem(announced, 413, "too-large")["detail"]


def test_a_client_that_asks_before_it_sends_too_much_is_told_at_once(admin):
    connection = admin._connection()
    connection.putrequest("POST", "/v1/pools")
    for name, value in {"Authorization": f"Bearer {admin.token}", "Expect": "100-continue",
                        "Content-Length": str((1 << 20) + 1)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413


def test_a_chunked_body_over_the_limit_is_413(admin):
    connection = admin._connection()
    connection.request("POST", "/v1/pools", body=iter([b"y" * 65536] * 17), encode_chunked=True,
                       headers={"Authorization": f"Bearer {admin.token}",
                                "Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 413


def test_headers_over_the_limit_are_refused(admin):
    answer = admin.request("GET", "/v1/pools", headers={"X-Much": "z" * 40000})
    assert answer.status in (413, 431)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(coordinator):
    context = ssl.create_default_context(cafile=str(coordinator.ca_path))
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", coordinator.configuration["api"]["port"])) as raw:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="localhost")


def test_pools_by_pages(admin):
    made = {admin.post("/v1/pools", {"name": f"p{i}"})["id"] for i in range(5)}
    seen, cursor = [], ""
    while cursor is not None:
        page = admin.get(f"/v1/pools?limit=2{cursor}")
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert sorted(seen) == sorted(made)


def test_a_pool_by_id_or_name_and_a_name_once(admin):
    answer = admin.request("POST", "/v1/pools", {"name": "A"})
    made = answer.json()
    assert answer.headers["Location"] == f"/v1/pools/{made['id']}"
    assert admin.get("/v1/pools/A") == admin.get(f"/v1/pools/{made['id']}") == made
    problem(admin.request("POST", "/v1/pools", {"name": "A"}), 409, "conflict")
    problem(admin.request("GET", "/v1/pools/B"), 404, "not-found")


def test_metrics_count_routes_and_states(admin):
    admin.get("/v1/pools")
    admin.request("GET", "/v1/a-path-of-nobody")
    text = admin.get("/metrics")
    assert 'crosspool_http_requests_total{method="GET",route="/v1/pools",status="200"} 1' in text
    assert 'crosspool_http_requests_total{method="",route="",status="404"} 1' in text
    assert 'crosspool_migrations{state="queued"} 0' in text
    assert 'crosspool_hosts{state="up"} 0' in text
    assert "a-path-of-nobody" not in text
