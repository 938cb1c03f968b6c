"""Lists: filters, order, choice of members, and cursors that stay right. What a list takes is read
from the contract, so that neither side can know more than the other."""
import urllib.parse
import uuid

import pytest

from crosspool_test.contract import Contract
from crosspool_test.fake_host import FakeHost

CONTRACT = Contract()


def parameters(path):
    found = [CONTRACT.resolve(one) for one in CONTRACT.operations["GET", path].get("parameters", [])]
    return {one["name"]: CONTRACT.resolve(one["schema"]) for one in found if one["in"] == "query"}


LISTS = sorted(path for method, path in CONTRACT.operations
               if method == "GET" and "sort" in parameters(path))
COMMON = {"limit", "cursor", "sort", "fields"}
OF_FILTER = {"uuid": "11111111-2222-4333-8444-555555555555", "date-time": "2026-01-31T12:00:00Z"}


def members(path):
    schema = CONTRACT.response("GET", path, 200)["content"]["application/json"]["schema"]
    item = CONTRACT.resolve(schema)["properties"]["items"]["items"]["anyOf"][0]
    return list(CONTRACT.resolve(item)["properties"])


@pytest.fixture(scope="module")
def world(module_coordinator, tmp_path_factory):
    """Two pools, three hosts with two VMs each, mapping sets, webhooks, deliveries, tokens,
    migrations and evacuations that have ended."""
    coordinator = module_coordinator
    admin = coordinator.api(coordinator.admin_token)
    for pool in ("A", "B", "C"):
        admin.post("/v1/pools", {"name": pool})
    for pool, name in (("A", "a1"), ("A", "a2"), ("B", "b1")):
        host = FakeHost(coordinator, admin, tmp_path_factory.mktemp(name), pool, name)
        host.add_vm(f"vm-{name}", memory_bytes=(1 + int(name[1])) << 30)
        host.add_vm("twin", state="halted")
        host.report()
    for name in ("one", "two", "hook"):
        admin.post("/v1/mapping-sets", {"name": name, "mapping": {}})
        admin.post("/v1/tokens", {"name": name, "role": "viewer"})
        admin.post("/v1/webhooks", {"name": name, "url": "https://192.0.2.1/", "is_enabled": False})
    coordinator.query("INSERT INTO webhook_delivery (webhook_id, kind, body, state, ended_at)"
                      " SELECT id, 'pool.created', '', 'dead', now()"
                      " FROM webhook, generate_series(1, 5) WHERE name = 'hook'")
    coordinator.query("INSERT INTO ledger (migration_id, host_id, kind, reference) SELECT"
                      " gen_random_uuid(), id, 'vdi', 'x' FROM host, generate_series(1, 2)")
    coordinator.query(
        "INSERT INTO migration (id, vm_id, destination_vm_id, domain_uuid, name, memory_bytes,"
        " source_pool_id, source_host_id, destination_pool_id, destination_host_id, mapping, spec,"
        " state, created_by, ended_at, priority) SELECT gen_random_uuid(), gen_random_uuid(),"
        " gen_random_uuid(), gen_random_uuid(), 'm' || n, 1, a.pool_id, a.id, b.pool_id, b.id,"
        " '{}', '{\"disks\": []}', 'failed', 'admin', now(), n % 3 FROM host a, host b,"
        " generate_series(1, 7) AS n WHERE a.name = 'a1' AND b.name = 'b1'")
    coordinator.query(
        "INSERT INTO evacuation (id, state, pools, request, plan, created_by, ended_at)"
        " SELECT gen_random_uuid(), 'cancelled', ARRAY[id], '{}', jsonb_build_object('makespan_s', 1,"
        " 'bound_s', 1, 'gap', 0, 'bottleneck', 'none', 'problems', '[]'::jsonb), 'admin', now()"
        " FROM pool, generate_series(1, 2)")
    return admin


def where(path):
    return path.replace("{id}", "hook")


def walk(api, path, query, limit=2):
    """All items, page by page."""
    items, cursor = [], None
    while True:
        more = f"&cursor={urllib.parse.quote(cursor)}" if cursor else ""
        page = api.get(f"{where(path)}?limit={limit}{query}{more}")
        assert len(page["items"]) == limit or page["next"] is None
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


def wrong(api, path, name):
    answer = api.request("GET", path)
    assert answer.status == 400, answer.text
    one, = [one for one in answer.json()["errors"] if one["parameter"] == name]
    return one["expected"]


def test_the_lists_are_found():
    assert len(LISTS) >= 12


@pytest.mark.parametrize("path", LISTS)
def test_each_order_gives_every_object_once(world, path):
    whole = world.get(f"{where(path)}?limit=500")["items"]
    assert len(whole) > 2, "nothing to order"
    for word in parameters(path)["sort"]["enum"]:
        items = walk(world, path, f"&sort={word}")
        assert sorted(i["id"] for i in items) == sorted(i["id"] for i in whole), word
        name = word.removeprefix("-")
        if name in whole[0] and name not in ("created_at", "at") and None not in [i[name] for i in items]:
            found = [i[name] for i in items]
            assert found == sorted(found, reverse=word.startswith("-")), word
    assert walk(world, path, "") == walk(world, path, f"&sort={parameters(path)['sort']['default']}")


@pytest.mark.parametrize("path", LISTS)
def test_up_is_down_turned_round(world, path):
    for word in parameters(path)["sort"]["enum"]:
        if not word.startswith("-"):
            assert walk(world, path, f"&sort={word}") == \
                walk(world, path, f"&sort=-{word}", limit=3)[::-1]


@pytest.mark.parametrize("path", LISTS)
def test_the_orders_are_those_of_the_contract(world, path):
    told = wrong(world, f"{where(path)}?sort=x", "sort")
    assert told.split(", ") == parameters(path)["sort"]["enum"]
    for word in ("", "-", "--id", "id,name", "id%20desc", "id;"):
        assert world.request("GET", f"{where(path)}?sort={word}").status == 400


@pytest.mark.parametrize("path", LISTS)
def test_the_parameters_are_those_of_the_contract(world, path):
    told = wrong(world, f"{where(path)}?x=1", "x").removeprefix("one of ")
    assert set(told.split(", ")) == set(parameters(path))


@pytest.mark.parametrize("path", LISTS)
def test_members_can_be_chosen(world, path):
    known = members(path)
    told = wrong(world, f"{where(path)}?fields=id,no_such", "fields")
    assert told.split(" of ")[1].split(", ") == known
    whole = world.get(f"{where(path)}?limit=500")["items"]
    for name in known:
        chosen = world.get(f"{where(path)}?limit=500&fields={name}")["items"]
        assert chosen == [{key: one[key] for key in ("id", name)} for one in whole], name
    every = world.get(f"{where(path)}?limit=500&fields={','.join(known)}")["items"]
    assert every == whole
    for text in ("id,", ",id", "id,,name", "Id", "id%20"):
        assert world.request("GET", f"{where(path)}?fields={text}").status == 400


@pytest.mark.parametrize("path", LISTS)
def test_each_filter_is_taken_and_narrows(world, path):
    filters = {name: schema for name, schema in parameters(path).items() if name not in COMMON}
    assert filters
    whole = world.get(f"{where(path)}?limit=500")["items"]
    for name, schema in filters.items():
        words = schema.get("enum") or [OF_FILTER.get(schema.get("format"), "no-such")]
        found = [one["id"] for word in words for one in
                 world.get(f"{where(path)}?limit=500&{name}={word}")["items"]]
        assert set(found) <= {one["id"] for one in whole}
        if words == ["no-such"]:
            assert found == []
        if "enum" in schema:
            told = wrong(world, f"{where(path)}?{name}=x", name)
            assert told.removeprefix("one of ").split(", ") == schema["enum"]
            if name in whole[0] and "active" not in words:
                assert len(found) == len(whole), f"{name}: the words do not part the list"
        elif "format" in schema:
            wrong(world, f"{where(path)}?{name}=x", name)


@pytest.mark.parametrize("query, wanted", [
    ("/v1/vms?pool=A", 4), ("/v1/vms?pool=A&host=a1", 2), ("/v1/vms?host=b1&state=halted", 1),
    ("/v1/vms?name=twin", 3), ("/v1/vms?pool=B&host=a1", 0), ("/v1/hosts?pool=A&state=up", 2),
    ("/v1/networks?host=a2", 1), ("/v1/srs?host=a2&type=ext", 1), ("/v1/srs?pool=A", 2),
    ("/v1/migrations?pool=B", 7), ("/v1/migrations?host=a2", 0), ("/v1/migrations?host=a1", 7),
    ("/v1/migrations?vm=m3", 1), ("/v1/migrations?created_by=admin&state=failed", 7),
    ("/v1/migrations?state=active", 0), ("/v1/leftovers?host=a1", 2),
    ("/v1/tokens?role=admin", 1), ("/v1/tokens?role=viewer", 3), ("/v1/mapping-sets?name=two", 1),
    ("/v1/webhooks/hook/deliveries?state=dead&kind=pool.created", 5),
])
def test_filters_together(world, query, wanted):
    assert len(world.get(query)["items"]) == wanted


def test_a_filter_takes_ids_as_well_as_names(world):
    pools = {one["name"]: one["id"] for one in world.get("/v1/pools")["items"]}
    assert world.get(f"/v1/vms?pool={pools['A']}") == world.get("/v1/vms?pool=A")
    vm = world.get("/v1/migrations?vm=m3")["items"][0]
    for member in ("vm", "destination_vm"):
        assert [one["id"] for one in world.get(f"/v1/migrations?vm={vm[member]}")["items"]] == \
            [vm["id"]]


def test_what_looks_like_sql_is_a_name(world):
    for text in ("' OR '1'='1", "%27; DROP TABLE vm; --", "$1", "a\" b", "\\"):
        assert world.get(f"/v1/vms?name={urllib.parse.quote(text)}")["items"] == []


def test_a_cursor_belongs_to_its_list_order_and_filters(world):
    cursor = world.get("/v1/vms?limit=1&sort=name&pool=A")["next"]
    good = f"/v1/vms?limit=5&sort=name&pool=A&cursor={cursor}"
    assert len(world.get(good)["items"]) == 3
    assert len(world.get(good + "&fields=name")["items"]) == 3
    for path in (f"/v1/vms?sort=-name&pool=A&cursor={cursor}", f"/v1/vms?pool=A&cursor={cursor}",
                 f"/v1/vms?sort=name&cursor={cursor}", f"/v1/vms?sort=name&pool=B&cursor={cursor}",
                 f"/v1/hosts?sort=name&pool=A&cursor={cursor}"):
        assert "same sort and filters" in wrong(world, path, "cursor")


@pytest.mark.parametrize("change", [
    lambda c: c[:-2], lambda c: c + "00", lambda c: c + "0", lambda c: c.replace(".", "-"), lambda c: c[1:],
    lambda c: c.upper(), lambda c: "x", lambda c: str(uuid.uuid4()), lambda c: c * 20,
])
def test_a_cursor_that_was_changed_is_refused(world, change):
    cursor = world.get("/v1/vms?limit=1")["next"]
    wrong(world, f"/v1/vms?limit=1&cursor={change(cursor)}", "cursor")


def test_objects_that_come_and_go_hide_no_others(admin):
    for name in "bdfh":
        admin.post("/v1/mapping-sets", {"name": name, "mapping": {}})
    page = admin.get("/v1/mapping-sets?sort=name&limit=2")
    assert [one["name"] for one in page["items"]] == ["b", "d"]
    admin.delete("/v1/mapping-sets/d")
    for name in "ae":
        admin.post("/v1/mapping-sets", {"name": name, "mapping": {}})
    rest = admin.get(f"/v1/mapping-sets?sort=name&limit=9&cursor={page['next']}")
    assert [one["name"] for one in rest["items"]] == ["e", "f", "h"]


def test_a_page_ends_before_it_is_too_large(coordinator, admin):
    """Three objects of 5 MiB, all of which `limit` would take."""
    coordinator.query(
        "INSERT INTO audit (actor_kind, actor_name, operation, object_kind, object_id, after)"
        " SELECT 'cli', 'x', 'large', 'pool', n, jsonb_build_object('x', repeat('x', 5 << 20))"
        " FROM generate_series(1, 3) AS n")
    found, cursor, pages = [], "", 0
    while cursor is not None:
        page = admin.get("/v1/audit?limit=500" + (f"&cursor={urllib.parse.quote(cursor)}" if cursor else ""))
        assert page["items"]
        found += [one["object"]["id"] for one in page["items"] if one["operation"] == "large"]
        cursor, pages = page["next"], pages + 1
    assert sorted(found) == ["1", "2", "3"] and pages == 2


def test_equal_places_are_told_apart(world):
    """All VMs of one name, one by one."""
    found = walk(world, "/v1/vms", "&sort=name&name=twin", limit=1)
    assert len({one["id"] for one in found}) == len(found) == 3


def test_polls_from_memory_know_the_parameters(world):
    seen = {}
    for query in ("", "?fields=state", "?sort=name", "?sort=priority", "?vm=m1", "?limit=1"):
        seen[query] = world.request("GET", f"/v1/migrations{query}").text
    assert len(set(seen.values())) == len(seen)
    for query, text in seen.items():
        assert world.request("GET", f"/v1/migrations{query}").text == text
