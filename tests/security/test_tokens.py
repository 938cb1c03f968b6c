"""Tokens by the API and by the command line: shown once, stored hashed, limited, ended."""
import pytest

from test_commands import fails
from test_http import problem


@pytest.fixture
def pools(admin):
    return {name: admin.post("/v1/pools", {"name": name})["id"] for name in ("A", "B")}


def create(admin, expect=201, **members):
    return admin.post("/v1/tokens", {"name": "t", "role": "operator", **members}, expect=expect)


def test_a_token_is_shown_once_and_stored_hashed(coordinator, admin):
    made = create(admin)
    text = made.pop("token")
    assert coordinator.api(text).get("/v1/pools")["items"] == []
    shown = admin.get(f"/v1/tokens/{made['id']}")
    assert shown == {**made, "last_used_at": shown["last_used_at"]} and shown["last_used_at"]
    assert text not in admin.request("GET", "/v1/tokens").text
    secret = text.removeprefix("cpt_")
    assert secret not in str(coordinator.query("SELECT t::text FROM api_token t"))
    assert secret not in str(coordinator.query("SELECT a::text FROM audit a"))
    assert secret not in coordinator.log.read_text()


def test_a_token_is_found_by_name_until_it_is_revoked(coordinator, admin):
    made = create(admin)
    caller = coordinator.api(made["token"])
    problem(admin.request("POST", "/v1/tokens", {"name": "t", "role": "viewer"}), 409, "conflict")
    assert admin.get("/v1/tokens/t")["id"] == made["id"]
    caller.get("/v1/pools")
    assert admin.request("DELETE", "/v1/tokens/t").status == 204
    problem(caller.request("GET", "/v1/pools"), 401, "unauthenticated")
    problem(admin.request("GET", "/v1/tokens/t"), 404, "not-found")
    problem(admin.request("DELETE", f"/v1/tokens/{made['id']}"), 404, "not-found")
    assert admin.get(f"/v1/tokens/{made['id']}")["revoked_at"]
    assert create(admin)["id"] != made["id"]


def test_pools_are_named_by_id_or_name_and_count_once(admin, pools):
    made = create(admin, pools=["B", pools["A"], "A"])
    assert [pool["name"] for pool in made["pools"]] == ["A", "B"]
    assert {pool["name"]: pool["id"] for pool in made["pools"]} == pools


@pytest.mark.parametrize("members, status, where", [
    ({"role": "root"}, 400, "/role"), ({"name": "a b"}, 400, "token's name"),
    ({"pools": []}, 400, "/pools"), ({"pools": "A"}, 400, "/pools"),
    ({"pools": ["A", "nowhere"]}, 404, "nowhere"), ({"pools": ["A"] * 33}, 400, "/pools"),
    ({"expires_at": "tomorrow"}, 400, "/expires_at"),
    ({"expires_at": "2026-01-31"}, 400, "/expires_at"),
    ({"expires_at": "2020-01-31T12:00:00Z"}, 400, "future"),
    ({"expires_at": "2096-13-31T12:00:00Z"}, 400, "/expires_at"),
    ({"more": 1}, 400, "/more"),
])
def test_a_wrong_request_makes_no_token(coordinator, admin, pools, members, status, where):
    before = coordinator.query("SELECT count(*) FROM api_token")
    answer = admin.request("POST", "/v1/tokens", {"name": "t", "role": "viewer", **members})
    assert where in problem(answer, status, {400: "invalid", 404: "not-found"}[status])["detail"]
    assert coordinator.query("SELECT count(*) FROM api_token") == before


def test_a_token_ends_by_itself(coordinator, admin):
    made = create(admin, expires_at="2096-01-31T12:00:00.5+01:00")
    assert made["expires_at"].startswith("2096-01-31T11:00:00.5")
    api = coordinator.api(made["token"])
    api.get("/v1/pools")
    coordinator.query("UPDATE api_token SET expires_at = now() WHERE name = 't'")
    answer = api.request("GET", "/v1/pools")
    assert "has expired" in problem(answer, 401, "unauthenticated")["detail"]


def test_the_last_use_is_written_once_a_minute(coordinator, admin):
    api = coordinator.api(create(admin)["token"])
    def state():
        return coordinator.query("SELECT xmin, last_used_at FROM api_token WHERE name = 't'")
    api.get("/v1/pools")
    first = state()
    for _ in range(5):
        api.get("/v1/pools")
    assert state() == first
    coordinator.query("UPDATE api_token SET last_used_at = now() - interval '61 s'"
                      " WHERE name = 't'")
    api.get("/v1/pools")
    assert coordinator.query("SELECT last_used_at > now() - interval '30 s' FROM api_token"
                             " WHERE name = 't'") == [["t"]]


def test_the_command_line_limits_tokens_too(coordinator, admin, pools):
    coordinator.make_token("cli", "viewer", "--pool", "A", "--pool", pools["B"], "--expires-in",
                           "90d")
    made = admin.get("/v1/tokens/cli")
    assert [pool["name"] for pool in made["pools"]] == ["A", "B"]
    assert coordinator.query(
        "SELECT expires_at - now() BETWEEN interval '89 days' AND interval '90 days'"
        " FROM api_token WHERE name = 'cli'") == [["t"]]


@pytest.mark.parametrize("words, what", [
    (["--pool", "nowhere"], "pool nowhere does not exist"),
    (["--expires-in", "90"], "--expires-in"), (["--expires-in", "0d"], "--expires-in"),
    (["--expires-in", "d"], "--expires-in"), (["--expires-in", "9 d"], "--expires-in"),
    (["--expires-in", "99999999999999999999d"], "--expires-in"),
])
def test_a_wrong_limit_on_the_command_line_is_one_line(installed, words, what):
    assert what in fails(installed, "token", "create", "--name", "x", "--role", "viewer", *words)
    assert installed.query("SELECT count(*) FROM api_token WHERE name = 'x'") == [["0"]]


@pytest.mark.parametrize("words", [
    ["token", "revoke", "--name", "x", "--pool", "A"],
    ["host", "revoke", "--name", "x", "--expires-in", "1d"],
    ["token", "create", "--name", "x", "--role", "viewer", "--pool"],
    ["token", "create", "--name", "x", "--role", "viewer", *["--pool", "A"] * 33],
])
def test_limits_where_they_do_not_belong_show_the_usage(installed, words):
    assert installed.try_command(*words).returncode == 2
