"""The audit log: each change is in it once, with what was before and after; a refusal is not; and it
only grows."""
import pytest

from crosspool_test.identity import Identity

from routes import ROLES, ROUTES
from test_http import problem

MAPPING = {"networks": {"lan": "lan-b"}}


class Change:
    """Requests of one operation: `prepare`, then `make`, which changes one object."""

    def __init__(self, make, kind, prepare=None, before=False, after=True, actor="admin"):
        self.make = make
        self.kind = kind
        self.prepare = prepare or (lambda world: None)
        self.before = before
        self.after = after
        self.actor = actor


def request(method, path, body=None):
    return lambda world: world.api.request(method, path, body)


def new_set(world):
    world.api.post("/v1/mapping-sets", {"name": "s", "mapping": MAPPING})


HOOK = {"name": "hook", "url": "https://receiver.example/", "is_enabled": True}


def new_hook(world):
    world.api.post("/v1/webhooks", HOOK)


def dead_delivery(world):
    new_hook(world)
    world.delivery = world.api.post("/v1/webhooks/hook/test")["id"]
    world.coordinator.query("UPDATE webhook_delivery SET state = 'dead', ended_at = now()")


def enrol(world):
    world.identity = Identity(world.tmp_path / "new")
    token = world.api.post("/v1/enrolments", {"pool": "A", "name": "a2"})["token"]
    world.enrolment = {"token": token, "csr": world.identity.csr}


def new_migration(world):
    world.migration = world.create()


def paused_migration(world):
    new_migration(world)
    world.api.post(f"/v1/migrations/{world.migration}/pause", {}, expect=202)


def held_migration(world):
    world.migration = world.create(switchover="manual")


def emptying(**more):
    return {"pools": ["A"], "destination_pools": ["B"], "without_maintenance": True,
            "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}}, **more}


def new_evacuation(world):
    world.evacuation = world.api.post("/v1/evacuations", emptying(), expect=202)["id"]


def paused_evacuation(world):
    new_evacuation(world)
    world.api.post(f"/v1/evacuations/{world.evacuation}/pause", expect=202)


def failed_evacuation(world):
    new_evacuation(world)
    world.coordinator.query("UPDATE evacuation_vm SET state = 'failed'")
    world.coordinator.query("UPDATE evacuation SET state = 'failed', ended_at = now()")


CHANGES = {
    ("POST", "/v1/pools"): Change(request("POST", "/v1/pools", {"name": "N"}), "pool"),
    ("POST", "/v1/enrolments"): Change(
        request("POST", "/v1/enrolments", {"pool": "A", "name": "a2"}), "host"),
    ("POST", "/v1/hosts/{id}/revoke"): Change(
        request("POST", "/v1/hosts/a1/revoke"), "host", before=True),
    **{("POST", f"/v1/{kind}s/{{id}}/maintenance"): Change(
        request("POST", f"/v1/{kind}s/{name}/maintenance"), kind, before=True)
       for kind, name in (("host", "a1"), ("pool", "A"))},
    **{("DELETE", f"/v1/{kind}s/{{id}}/maintenance"): Change(
        request("DELETE", f"/v1/{kind}s/{name}/maintenance"), kind,
        request("POST", f"/v1/{kind}s/{name}/maintenance"), before=True)
       for kind, name in (("host", "a1"), ("pool", "A"))},
    ("POST", "/v1/mapping-sets"): Change(
        request("POST", "/v1/mapping-sets", {"name": "s", "mapping": MAPPING}), "mapping-set"),
    ("PUT", "/v1/mapping-sets/{id}"): Change(
        request("PUT", "/v1/mapping-sets/s", {"name": "s2", "mapping": MAPPING}), "mapping-set",
        new_set, before=True),
    ("DELETE", "/v1/mapping-sets/{id}"): Change(
        request("DELETE", "/v1/mapping-sets/s"), "mapping-set", new_set, before=True, after=False),
    ("POST", "/v1/migrations"): Change(
        lambda world: world.api.request("POST", "/v1/migrations", world.request()), "migration"),
    ("PATCH", "/v1/migrations/{id}"): Change(
        lambda world: world.api.request("PATCH", f"/v1/migrations/{world.migration}",
                                        {"priority": 7}), "migration", new_migration, before=True),
    **{("POST", f"/v1/migrations/{{id}}/{act}"): Change(
        lambda world, act=act: world.api.request(
            "POST", f"/v1/migrations/{world.migration}/{act}"), "migration",
        begin, before=True)
       for act, begin in (("cancel", new_migration), ("pause", new_migration),
                          ("resume", paused_migration), ("switchover", held_migration))},
    ("POST", "/v1/evacuations"): Change(
        lambda world: world.api.request("POST", "/v1/evacuations", emptying()), "evacuation"),
    **{("POST", f"/v1/evacuations/{{id}}/{act}"): Change(
        lambda world, act=act: world.api.request(
            "POST", f"/v1/evacuations/{world.evacuation}/{act}"), "evacuation", begin, before=True)
       for act, begin in (("pause", new_evacuation), ("resume", paused_evacuation),
                          ("cancel", new_evacuation))},
    ("POST", "/v1/evacuations/{id}/vms/{vm}/retry"): Change(
        lambda world: world.api.request(
            "POST", f"/v1/evacuations/{world.evacuation}/vms/g1/retry"), "evacuation",
        failed_evacuation, before=True),
    ("POST", "/v1/evacuations/{id}/return"): Change(
        lambda world: world.api.request(
            "POST", f"/v1/evacuations/{world.evacuation}/return", {}), "evacuation",
        failed_evacuation),
    ("POST", "/v1/webhooks"): Change(request("POST", "/v1/webhooks", HOOK), "webhook"),
    ("PUT", "/v1/webhooks/{id}"): Change(
        request("PUT", "/v1/webhooks/hook", {**HOOK, "name": "other"}), "webhook", new_hook,
        before=True),
    ("DELETE", "/v1/webhooks/{id}"): Change(
        request("DELETE", "/v1/webhooks/hook"), "webhook", new_hook, before=True, after=False),
    ("POST", "/v1/webhooks/{id}/test"): Change(
        request("POST", "/v1/webhooks/hook/test"), "webhook", new_hook),
    ("POST", "/v1/webhooks/{id}/deliveries/{delivery}/retry"): Change(
        lambda world: world.api.request(
            "POST", f"/v1/webhooks/hook/deliveries/{world.delivery}/retry"), "webhook-delivery",
        dead_delivery, before=True),
    ("POST", "/v1/tokens"): Change(
        request("POST", "/v1/tokens", {"name": "t", "role": "viewer"}), "token"),
    ("DELETE", "/v1/tokens/{id}"): Change(
        request("DELETE", "/v1/tokens/t"), "token",
        request("POST", "/v1/tokens", {"name": "t", "role": "viewer"}), before=True),
    ("POST", "/agent/v1/enrol"): Change(
        lambda world: world.api.request("POST", "/agent/v1/enrol", world.enrolment), "certificate",
        enrol, actor=None),
    ("POST", "/agent/v1/renew"): Change(
        lambda world: world.a1.api.request("POST", "/agent/v1/renew",
                                           {"csr": world.a1.identity.make_csr()}), "certificate",
        actor=None),
}
REPORTS = {("POST", "/agent/v1/report"), ("POST", "/agent/v1/poll")}  # say what is, change nothing


def entries(world, query=""):
    return world.api.get(f"/v1/audit?limit=500{query}")["items"]


def count(world):
    return int(world.coordinator.query("SELECT count(*) FROM audit")[0][0])


def test_every_operation_that_changes_is_tried_here():
    assert set(CHANGES) | REPORTS == \
        {(route.method, route.path) for route in ROUTES if route.method != "GET"}


@pytest.mark.parametrize("operation", sorted(CHANGES), ids=" ".join)
def test_a_change_is_one_entry(world, operation):
    change = CHANGES[operation]
    change.prepare(world)
    before = count(world)
    answer = change.make(world)
    assert 200 <= answer.status < 300, answer.text
    assert count(world) == before + 1
    entry = entries(world)[0]
    assert entry["operation"] == " ".join(operation)
    assert entry["request"] == answer.headers["X-Request-Id"]
    assert entry["status"] == answer.status
    assert entry["object"]["kind"] == change.kind
    assert (entry["before"] is not None, entry["after"] is not None) == \
        (change.before, change.after)
    assert entry["before"] != entry["after"]
    if change.actor:
        assert entry["actor"] == {"kind": "token", "name": change.actor,
                                  "token": world.api.get("/v1/tokens/admin")["id"]}
    else:
        assert entry["actor"]["kind"] == "host" and entry["actor"]["name"] == entry["object"]["id"]


@pytest.mark.parametrize("operation", sorted(set(CHANGES) - {
    (route.method, route.path) for route in ROUTES if route.access not in ROLES}), ids=" ".join)
def test_a_refusal_is_no_entry(world, operation):
    change = CHANGES[operation]
    change.prepare(world)
    world.api.token, good = world.coordinator.make_token("v", "viewer"), world.api.token
    before = count(world)
    problem(change.make(world), 403, "refused")
    world.api.token = "cpt_" + "0" * 64
    problem(change.make(world), 401, "unauthenticated")
    world.api.token = good
    assert count(world) == before


@pytest.mark.parametrize("method, path, body, status", [
    ("POST", "/v1/pools", {"name": "A"}, 409), ("POST", "/v1/pools", {}, 400),
    ("POST", "/v1/enrolments", {"pool": "X", "name": "x"}, 404),
    ("DELETE", "/v1/mapping-sets/none", None, 404), ("DELETE", "/v1/tokens/none", None, 404),
    ("POST", "/v1/migrations", {"vm": "g1", "destination": {"pool": "A"}}, 409),
    ("POST", "/v1/hosts/none/revoke", None, 404),
])
def test_a_failure_is_no_entry_and_no_change(world, method, path, body, status):
    def state():
        return [world.coordinator.query(f"SELECT count(*) FROM {table}")
                for table in ("audit", "pool", "host", "enrolment", "migration", "api_token")]
    before = state()
    assert world.api.request(method, path, body).status == status
    assert state() == before


def test_a_look_is_no_entry(world):
    before = count(world)
    assert world.api.post("/v1/migrations?dry_run=true", world.request())["can_move"]
    assert count(world) == before


def test_an_enrolment_that_is_asked_for_again_is_one_entry(world):
    enrol(world)
    before = count(world)
    for _ in range(3):
        world.api.post("/agent/v1/enrol", world.enrolment)
    assert count(world) == before + 1


def test_without_its_entry_nothing_is_changed(world):
    world.coordinator.query("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'closed'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION refuse()""")
    for operation in (("POST", "/v1/pools"), ("POST", "/v1/migrations"), ("POST", "/v1/tokens"),
                      ("POST", "/v1/hosts/{id}/revoke")):
        assert CHANGES[operation].make(world).status == 500
    assert world.coordinator.try_command("token", "create", "--name", "x", "--role",
                                         "viewer").returncode == 1
    assert world.coordinator.query("SELECT count(*) FROM pool WHERE name = 'N'") == [["0"]]
    assert world.coordinator.query("SELECT count(*) FROM migration") == [["0"]]
    assert world.coordinator.query("SELECT count(*) FROM api_token") == [["1"]]
    assert world.api.get("/v1/hosts/a1")["state"] == "up"


def test_the_command_line_is_in_it(world):
    world.coordinator.make_token("t", "viewer", "--pool", "A")
    world.coordinator.command("token", "revoke", "--name", "t")
    world.coordinator.command("host", "revoke", "--name", "a1")
    found = entries(world)[:3]
    assert [entry["operation"] for entry in found] == ["host revoke", "token revoke",
                                                       "token create"]
    assert {entry["actor"]["kind"] for entry in found} == {"cli"}
    assert all(entry["actor"]["name"] for entry in found)
    assert found[2]["after"]["pools"][0]["name"] == "A" and found[2]["before"] is None
    assert (found[0]["before"]["state"], found[0]["after"]["state"]) == ("up", "revoked")


def test_it_is_paged_newest_first_and_filtered(world):
    for number in range(5):
        world.api.post("/v1/pools", {"name": f"p{number}"})
    found, cursor = [], ""
    while cursor is not None:
        page = world.api.get(f"/v1/audit?limit=2{cursor and '&cursor=' + cursor}")
        found += page["items"]
        cursor = page["next"]
    assert found == entries(world) and len(found) == count(world)
    times = [entry["at"] for entry in found]
    assert times == sorted(times, reverse=True)
    pool = world.api.get("/v1/pools/p3")["id"]
    assert [entry["after"]["name"] for entry in entries(world, f"&object={pool}")] == ["p3"]
    token = world.api.get("/v1/tokens/admin")["id"]
    assert len(entries(world, "&object=pool&actor=admin")) == 7 == \
        len(entries(world, f"&object=pool&actor={token}"))
    assert entries(world, "&actor=nobody") == []
    middle = found[2]["at"].replace("+00:00", "Z")
    assert entries(world, f"&since={middle}") == found[:3]
    assert entries(world, f"&until={middle}") == found[3:]


@pytest.mark.parametrize("query, where", [
    ("since=yesterday", "since"), ("until=2026-01-31", "until"), ("actr=x", "actr"),
    ("since=2026-13-31T00:00:00Z", "since"), ("limit=0", "limit"),
])
def test_a_wrong_filter_is_named(world, query, where):
    assert where in problem(world.api.request("GET", f"/v1/audit?{query}"), 400,
                            "invalid")["detail"]


@pytest.mark.parametrize("sql", ["UPDATE audit SET actor_name = 'x'", "DELETE FROM audit",
                                 "DELETE FROM audit WHERE false", "TRUNCATE audit"])
def test_it_only_grows(world, sql):
    with pytest.raises(AssertionError, match="append-only"):
        world.coordinator.query(sql)


def test_what_is_old_is_removed_by_one_function_that_tells_of_it(world):
    rows = count(world)
    with pytest.raises(AssertionError, match="30 days"):
        world.coordinator.query("SELECT audit_forget('29 days')")
    world.coordinator.query(
        "INSERT INTO audit (at, actor_kind, actor_name, operation, object_kind, object_id)"
        " VALUES (now() - interval '31 days', 'cli', 'x', 'old', 'pool', 'y')")
    assert world.coordinator.query("SELECT audit_forget('30 days')") == [["1"]]
    assert count(world) == rows + 1
    entry = entries(world)[0]
    assert entry["operation"] == "audit_forget" and entry["after"]["removed"] == 1
    with pytest.raises(AssertionError, match="append-only"):
        world.coordinator.query("SELECT audit_forget('30 days'); DELETE FROM audit")


def test_the_command_line_removes_what_is_old(world):
    for days in (29, 31, 401):
        world.coordinator.query(
            "INSERT INTO audit (at, actor_kind, actor_name, operation, object_kind, object_id)"
            f" VALUES (now() - interval '{days} days', 'cli', 'x', 'old', 'pool', '{days}')")
    # as slow as that of a large log: longer than a statement of a request may take
    world.coordinator.query(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(11); RETURN OLD; END $$;"
        " CREATE TRIGGER dawdle BEFORE DELETE ON audit FOR EACH ROW WHEN (OLD.object_id = '401')"
        " EXECUTE FUNCTION dawdle()")
    rows = count(world)
    forget = ["audit", "forget", "--older-than"]
    assert world.coordinator.command(*forget, "400d") == "1 removed\n"
    assert world.coordinator.command(*forget, "720h") == "1 removed\n"
    assert count(world) == rows + 2  # each leaves two
    assert [entry["object"]["id"] for entry in entries(world) if entry["operation"] == "old"] == ["29"]
    by_cli, by_database = entries(world)[:2]
    assert (by_cli["operation"], by_cli["actor"]["kind"]) == ("audit forget", "cli")
    assert by_cli["after"] == {"removed": 1, "older_than_s": 720 * 3600}
    assert (by_database["operation"], by_database["after"]["removed"]) == ("audit_forget", 1)
    assert by_database["after"]["older_than"] == "30 days"


@pytest.mark.parametrize("words, status, what", [
    (["--older-than", "29d"], 1, "--older-than 29d: expected 30d or longer"),
    (["--older-than", "400"], 1, "--older-than 400: expected 1 to 100000 with d, h or m"),
    (["--older-than", "-400d"], 1, "--older-than -400d"),
    ([], 2, "option --older-than is missing"),
    (["--older-than", "400d", "--name", "x"], 2, "--name does not belong"),
])
def test_a_wrong_age_removes_nothing(world, words, status, what):
    world.coordinator.query(
        "INSERT INTO audit (at, actor_kind, actor_name, operation, object_kind, object_id)"
        " VALUES (now() - interval '900 days', 'cli', 'x', 'old', 'pool', 'y')")
    rows = count(world)
    done = world.coordinator.try_command("audit", "forget", *words)
    assert done.returncode == status and what in done.stderr
    assert count(world) == rows
