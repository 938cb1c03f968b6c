"""Requests that cannot be met by the hosts as they really are: a problem document that names the
object and the fix, and nothing is changed anywhere. What a host played by the test can prove is in
tests/api."""
import contextlib
import json
import socket

import pytest

from crosspool_test import images

MIB = 1 << 20


def refuse(cluster, body, status=409):
    """The problem document of a create; the dry run says the same."""
    answer = cluster.api.request("POST", "/v1/migrations", body)
    assert answer.status == status, answer.text
    assert answer.headers.get_content_type() == "application/problem+json"
    problem = answer.json()
    assert problem["type"].startswith("urn:crosspool:problem:") and problem["title"]
    assert problem["status"] == status and problem["detail"]
    for blocker in problem.get("blockers", []):
        assert blocker["object"] and blocker["message"] and blocker["fix"], blocker
    if "blockers" in problem:
        dry = cluster.api.post("/v1/migrations?dry_run=true", body, expect=200)
        assert dry["can_move"] is False
        assert codes(dry) == codes(problem)
    return problem


def codes(answer):
    return sorted(blocker["code"] for blocker in answer["blockers"])


def find(problem, code):
    return next(blocker for blocker in problem["blockers"] if blocker["code"] == code)


def rows(cluster):
    return [cluster.coordinator.query(f"SELECT count(*) FROM {table}")
            for table in ("migration", "step", "ledger")]


@contextlib.contextmanager
def nothing_changes(cluster):
    """No row of a migration, step or ledger, no image, no process; guests stay where they are."""
    def state():
        return (rows(cluster), images.vdis(cluster.agents["a1"].sr),
                [cluster.homes(guest) for guest in cluster.guests.values()])
    before = state()
    yield
    assert state() == before
    cluster.assert_clean("b1")
    assert not cluster.leftovers()


def test_what_the_mapping_lacks_is_told_at_once(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 16), ("qcow2", 16)])
    body = cluster.request(name, "a1", "b1")
    with nothing_changes(cluster):
        problem = refuse(cluster, dict(body, mapping={}))
        assert codes(problem) == ["network-not-mapped", "sr-not-mapped", "sr-not-mapped"]
        assert "lan-a" in find(problem, "network-not-mapped")["message"]
        assert "local-a1" in find(problem, "sr-not-mapped")["message"]
        problem = refuse(cluster, dict(body, mapping={"networks": {"lan-a": "moon"},
                                                      "srs": {"local-a1": "attic"}}))
        assert set(codes(problem)) == {"network-unknown", "sr-unknown"}
        assert "moon" in json.dumps(find(problem, "network-unknown"))
        assert "attic" in json.dumps(find(problem, "sr-unknown"))
    guest.assert_writes()


def test_the_host_that_has_the_vm_is_no_destination(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 16)])
    body = cluster.request(name, "a1", "b1")
    with nothing_changes(cluster):
        problem = refuse(cluster, dict(body, destination={"pool": "A", "host": "a1"}))
        assert "same-host" in codes(problem)
        assert "a1" in find(problem, "same-host")["message"]
        assert codes(refuse(cluster, dict(body, destination={"pool": "A"}))) == ["no-host-fits"]
    guest.assert_writes()


def test_an_sr_without_room_is_told_with_the_numbers(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 64)])
    with cluster.small_sr("b1", 32 * MIB) as (small, directory):
        body = cluster.request(name, "a1", "b1")
        body["mapping"]["srs"] = {"local-a1": small}
        with nothing_changes(cluster):
            problem = refuse(cluster, body)
            assert codes(problem) == ["sr-room"]
            blocker = find(problem, "sr-room")
            assert small in blocker["object"]
            assert blocker["needed"] == f"{64 * MIB} bytes"
            assert int(blocker["available"].split()[0]) <= 32 * MIB
            assert not images.vdis(directory)
    guest.assert_writes()


def test_a_vm_that_migrates_is_not_started_again(cluster, name):
    guest = cluster.boot("a1", name, [("raw", 32)], is_full=True)
    first = cluster.migrate(name, "a1", "b1", bandwidth_bytes_per_s=2 * MIB)
    cluster.wait_phase(first, "copying")
    before = rows(cluster)[0]
    problem = refuse(cluster, cluster.request(name, "a1", "b1"))
    assert "vm-migrating" in codes(problem)
    assert first in find(problem, "vm-migrating")["message"]
    assert rows(cluster)[0] == before
    cluster.api.post(f"/v1/migrations/{first}/cancel", {})
    assert cluster.wait_end(first)["state"] == "cancelled"
    cluster.wait_no_leftovers()
    cluster.assert_clean("b1")
    guest.assert_writes()


def qmp(folder, command):
    """One command over a monitor of the guest that nobody uses at the moment."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(20)
        monitor.connect(str(folder / "qmp.sock"))
        stream = monitor.makefile("rw")
        stream.readline()
        for word in ("qmp_capabilities", command):
            stream.write(json.dumps({"execute": word}) + "\n")
            stream.flush()
            while "return" not in (answer := json.loads(stream.readline())):
                assert "error" not in answer, answer


@pytest.mark.parametrize("state", ["paused", "halted"])
def test_a_vm_that_does_not_run_is_not_moved(cluster, name, state):
    guest = cluster.boot("a1", name, [("raw", 16)])
    body = cluster.request(name, "a1", "b1")
    if state == "paused":
        qmp(guest.console.folder, "stop")
    else:
        guest.poweroff()
    cluster.vm(name, "A", state=state)
    with nothing_changes(cluster):
        problem = refuse(cluster, body)
        assert codes(problem) == ["vm-not-running"]
        blocker = find(problem, "vm-not-running")
        assert state in json.dumps(blocker) and name in json.dumps(blocker)
    if state == "paused":
        qmp(guest.console.folder, "cont")
        cluster.vm(name, "A", state="running")
        guest.assert_writes()
