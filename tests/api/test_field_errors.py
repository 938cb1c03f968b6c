"""A 400 says field by field what is wrong: members by JSON pointer, parameters, headers."""
import pytest

from crosspool_test.contract import Contract

CONTRACT = Contract()
SCHEMA = {"$ref": "#/components/schemas/InvalidProblem"}


def errors(answer):
    assert answer.status == 400, answer.text
    problem = answer.json()
    assert not CONTRACT.wrong(SCHEMA, problem), problem
    return problem["errors"]


def pointers(answer):
    return {one["pointer"] for one in errors(answer)}


def test_a_body_is_told_all_that_is_wrong_with_it(admin):
    answer = admin.request("POST", "/v1/migrations", {
        "vm": 7, "destination": {"hots": "b1"}, "priority": 101, "mode": "fast", "more": None})
    found = {one["pointer"]: one for one in errors(answer)}
    assert set(found) == {"/vm", "/destination/hots", "/destination/pool", "/priority", "/mode",
                          "/more"}
    assert found["/priority"] == {"pointer": "/priority", "detail": "is 101",
                                  "expected": "an integer of -100 to 100"}
    assert found["/mode"]["expected"] == 'one of "live", "suspend"'
    assert '"vm"' in found["/more"]["expected"]
    assert answer.json()["detail"].startswith("/more: unknown key")


@pytest.mark.parametrize("mapping, wanted", [
    ({"srs": {"x": 7, "y": ""}, "nets": {}}, {"/mapping/srs/x", "/mapping/srs/y", "/mapping/nets"}),
    ({"disks": {"vda": {"format": "vmdk", "size": 1}}},
     {"/mapping/disks/vda/format", "/mapping/disks/vda/size"}),
    ({"disks": {"vda": {}}}, {"/mapping/disks/vda"}),
    ({"disks": []}, {"/mapping/disks"}),
    ({"srs": {"a/b": "x" * 129}}, {"/mapping/srs/a~1b"}),
])
def test_the_pointer_goes_into_a_map(module_admin, mapping, wanted):
    body = {"name": "a-to-b", "mapping": mapping}
    assert pointers(module_admin.request("POST", "/v1/mapping-sets", body)) == wanted
    move = {"vm": "g1", "destination": {"pool": "B"}, "mapping": mapping}
    assert pointers(module_admin.request("POST", "/v1/migrations", move)) == wanted


@pytest.mark.parametrize("path, body, wanted", [
    ("/v1/pools", {"name": "a b"}, "/name"),
    ("/v1/pools", b"{", ""),
    ("/v1/pools", b'{"name": "A", "name": "B"}', ""),
    ("/v1/pools", [], ""),
    ("/v1/enrolments", {"pool": "A", "name": "a b"}, "/name"),
    ("/v1/tokens", {"name": "n", "role": "viewer", "pools": []}, "/pools"),
    ("/v1/tokens", {"name": "n", "role": "viewer", "expires_at": "tomorrow"}, "/expires_at"),
    ("/v1/tokens", {"name": "n", "role": "viewer", "expires_at": "2097-02-29T00:00:00Z"},
     "/expires_at"),
    ("/v1/tokens", {"name": "n", "role": "viewer", "expires_at": "2020-01-31T00:00:00Z"},
     "/expires_at"),
    ("/v1/tokens", {"name": "-", "role": "viewer"}, "/name"),
    ("/v1/webhooks", {"name": "w", "url": "ftp://x"}, "/url"),
    ("/v1/webhooks", {"name": "w", "url": "https://example.org/", "kinds": ["pool.created", "x"]},
     "/kinds/1"),
    ("/v1/webhooks", {"name": "w", "url": "https://example.org/", "secret": "ä" * 16}, "/secret"),
    ("/v1/webhooks", {"name": "w", "url": "https://example.org/", "resource": "x"}, "/resource"),
    ("/v1/migrations", {"vm": "g", "destination": {"pool": "B"}, "switchover": "soon"},
     "/switchover"),
    ("/v1/migrations", {"vm": "g", "destination": {"pool": "B"},
                        "switchover": {"not_after": "2020-01-31T00:00:00Z"}},
     "/switchover/not_after"),
])
def test_what_the_decoder_does_not_know_has_a_pointer_too(module_admin, path, body, wanted):
    assert pointers(module_admin.request("POST", path, body)) == {wanted}


def test_no_value_of_a_member_is_repeated(admin):
    answer = admin.request("POST", "/v1/webhooks", {
        "name": "w", "url": "https://example.org/", "secret": "hunter2-hunter2-" * 20})
    assert pointers(answer) == {"/secret"} and "hunter2" not in answer.text


def test_parameters_are_told_all_at_once(admin):
    found = errors(admin.request("GET", "/v1/pools?limit=1&limit=2&x=1&cursor=&y%ff=2"))
    assert [one["parameter"] for one in found] == ["limit", "x", "cursor", "y?"]
    assert "limit" in found[1]["expected"]
    found = errors(admin.request("GET", "/v1/pools?limit=x"))
    assert found == [{"parameter": "limit", "detail": 'is "x"', "expected": "1 to 500"}]
    found = errors(admin.request("GET", "/v1/audit?since=2026-13-01T00:00:00Z"))
    assert [one["parameter"] for one in found] == ["since"]
    assert [one["parameter"] for one in errors(admin.request("GET", "/v1/vms?name=%ff"))] == ["name"]


def test_headers_are_told(admin):
    found = errors(admin.request("POST", "/v1/pools", {"name": "A"},
                                 {"Idempotency-Key": "k" * 129}))
    assert [one["header"] for one in found] == ["Idempotency-Key"]
    found = errors(admin.request("POST", "/v1/pools", {"name": "A"}, {"If-Match": '"x"'}))
    assert [one["header"] for one in found] == ["If-Match"]
    found = errors(admin.request("GET", "/v1/events", headers={"Last-Event-ID": "x"}))
    assert [one["header"] for one in found] == ["Last-Event-ID"]


def test_an_agent_is_told_too(coordinator, host):
    answer = host.api(coordinator).request("POST", "/agent/v1/poll", {"known": ["x", 7], "more": 1})
    assert pointers(answer) >= {"/more", "/cancelling", "/known/1"}


def test_another_refusal_has_no_errors(admin):
    admin.post("/v1/pools", {"name": "A"})
    assert "errors" not in admin.request("POST", "/v1/pools", {"name": "A"}).json()
    assert "errors" not in admin.request("GET", "/v1/pools/none").json()
