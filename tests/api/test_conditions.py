"""ETag, If-None-Match and If-Match."""
import concurrent.futures
import re

import pytest

from crosspool_test.contract import Contract

from test_http import problem
from test_migration import World
from test_openapi import example_of

TAG = re.compile(r'"[0-9a-f]{32}"')
SET = "/v1/mapping-sets/a-to-b"
READS = sorted(path for method, path in Contract().operations
               if method == "GET" and path.startswith("/v1/") and "{" not in path)


def body(name="a-to-b", network="lan-b"):
    return {"name": name, "mapping": {"networks": {"lan": network}}}


@pytest.fixture
def tag(admin):
    """The ETag of a mapping set."""
    admin.post("/v1/mapping-sets", body())
    return admin.request("GET", SET).headers["ETag"]


@pytest.fixture(scope="module")
def kept_tag(module_admin):
    """The same of a set that nobody changes."""
    module_admin.post("/v1/mapping-sets", body())
    return module_admin.request("GET", SET).headers["ETag"]


def change(api, method, tags, content=None, path=SET, **headers):
    return api.request(method, path, content, headers={"If-Match": tags, **headers})


@pytest.mark.parametrize("path", READS)
def test_what_the_caller_has_is_304(module_admin, path):
    page = {"Accept": "application/json"}  # of events too
    whole = module_admin.request("GET", path, headers=page)
    assert TAG.fullmatch(whole.headers["ETag"])
    assert whole.headers["Cache-Control"] == "private, no-cache"
    known = {"If-None-Match": whole.headers["ETag"], **page}
    again = module_admin.request("GET", path, headers=known)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == whole.headers["ETag"]


def test_one_object_has_a_tag_and_another_tag_after_a_change(admin, tag):
    head = admin.request("HEAD", SET, headers={"If-None-Match": tag})
    assert (head.status, head.headers["ETag"]) == (304, tag)
    admin.put(SET, body(network="lan-c"))
    now = admin.request("GET", SET, headers={"If-None-Match": tag})
    assert now.status == 200 and now.headers["ETag"] != tag


@pytest.mark.parametrize("form, status", [
    ("{tag}", 304), ("W/{tag}", 304), ('"x", {tag}', 304), ('"x",{tag} , W/"y"', 304), ("*", 304),
    ('"x"', 200), ("{bare}", 200), ('"', 200), ("", 200), ('W/"x"', 200),
])
def test_lists_of_tags(module_admin, kept_tag, form, status):
    known = form.format(tag=kept_tag, bare=kept_tag.strip('"'))
    assert module_admin.request("GET", SET, headers={"If-None-Match": known}).status == status


def test_what_is_not_to_be_kept_has_no_tag(admin):
    for path in ("/healthz", "/readyz", "/metrics", "/v1/pools/none"):
        answer = admin.request("GET", path)
        assert answer.headers["ETag"] is None and answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("form, status", [("{tag}", 200), ('"x", {tag}', 200), ("*", 200),
                                          ('"x"', 412), ("W/{tag}", 412), ("", 412)])
def test_a_change_of_what_is_still_the_same(admin, tag, form, status):
    answer = change(admin, "PUT", form.format(tag=tag), body(network="lan-c"))
    assert answer.status == status, answer.text
    now = admin.get(SET)["mapping"]["networks"]["lan"]
    assert now == ("lan-c" if status == 200 else "lan-b")
    if status == 200:
        assert answer.headers["ETag"] == admin.request("GET", SET).headers["ETag"]
    else:
        assert "If-Match" in problem(answer, 412, "precondition-failed")["detail"]


def test_removal_of_what_is_still_the_same(admin, tag):
    problem(change(admin, "DELETE", '"x"'), 412, "precondition-failed")
    assert admin.request("GET", SET).status == 200
    assert change(admin, "DELETE", tag).status == 204
    problem(change(admin, "DELETE", tag), 404, "not-found")


def test_of_two_changes_of_the_same_one_comes_first(coordinator, admin):
    for turn in range(5):
        name = f"s{turn}"
        admin.post("/v1/mapping-sets", body(name))
        path = f"/v1/mapping-sets/{name}"
        tag = admin.request("GET", path).headers["ETag"]

        def put(number):
            api = coordinator.api(admin.token)
            return change(api, "PUT", tag, body(name, f"lan-{number}"), path).status
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(put, range(4))) == [200, 412, 412, 412]


def test_a_cancel_of_what_is_still_the_same(coordinator, admin, tmp_path):
    world = World(coordinator, admin, tmp_path)
    path = f"/v1/migrations/{world.create()}"
    seen = admin.request("GET", path).headers["ETag"]
    world.b1.finish("prepare")
    problem(change(admin, "POST", seen, None, f"{path}/cancel"), 412, "precondition-failed")
    assert admin.get(path)["state"] == "transferring"
    now = admin.request("GET", path).headers["ETag"]
    assert change(admin, "POST", now, None, f"{path}/cancel").status == 202
    assert admin.get(path)["state"] == "aborting"


def test_a_refusal_by_a_condition_is_remembered_under_a_key(admin, tmp_path, coordinator):
    world = World(coordinator, admin, tmp_path)
    path = f"/v1/migrations/{world.create()}/cancel"
    for _ in range(2):
        answer = change(admin, "POST", '"x"', None, path, **{"Idempotency-Key": "k"})
        problem_type = answer.json()["type"]
        assert (answer.status, problem_type) == (412, "urn:crosspool:problem:precondition-failed")
    assert answer.headers["Idempotency-Replayed"] == "true"


def test_a_condition_where_none_is_taken_is_an_error(coordinator, admin):
    answer = change(admin, "POST", "*", {"name": "A"}, "/v1/pools")
    assert "If-Match" in problem(answer, 400, "invalid")["detail"]
    assert coordinator.query("SELECT count(*) FROM pool") == [["0"]]


def test_the_tag_is_that_of_the_contract_example(admin):
    made = admin.request("POST", "/v1/mapping-sets", example_of("POST", "/v1/mapping-sets"))
    assert made.headers["ETag"] is None and made.headers["Cache-Control"] == "no-store"
    shown = admin.request("GET", made.headers["Location"])
    assert shown.body == made.body
