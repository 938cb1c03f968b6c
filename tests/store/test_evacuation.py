"""Evacuations through the real coordinator and PostgreSQL, with hosts played by the test: the plan and
its refusals, the moves in its order, failures by each policy, pause, cancel, retry, return."""
import contextlib
import http.client
import time
import uuid

import pytest

from crosspool_test import shell
from crosspool_test.coordinator import Coordinator
from crosspool_test.fake_host import GIB, FakeHost

from test_http import problem
from test_openapi import check


class Site:
    """Pool A with the hosts a1 and a2 to be emptied, pool B with b1 and b2. All SRs are called local,
    so that one map does for all."""

    def __init__(self, coordinator, admin, tmp_path):
        self.coordinator = coordinator
        self.api = admin
        self.hosts = {}
        for pool, names in (("A", ("a1", "a2")), ("B", ("b1", "b2"))):
            admin.post("/v1/pools", {"name": pool})
            for name in names:
                host = FakeHost(coordinator, admin, tmp_path / name, pool, name)
                host.sr["name"] = f"local-{pool.lower()}"
                self.hosts[name] = host
        self.domains = {}
        self.over = set()  # migrations that were played to their end

    def add(self, host, *names, **more):
        for name in names:
            self.domains[name] = self.hosts[host].add_vm(name, **more)

    def report(self):
        for host in self.hosts.values():
            host.report()

    def beat(self):
        for host in self.hosts.values():
            host.send()

    def request(self, **more):
        return {"pools": ["A"], "destination_pools": ["B"],
                "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a": "local-b"}}, **more}

    def plan(self, **more):
        return self.api.post("/v1/evacuations?dry_run=true", self.request(**more))

    def begin(self, **more):
        return self.api.post("/v1/evacuations", self.request(**more), expect=202)["id"]

    def show(self, evacuation):
        return self.api.get(f"/v1/evacuations/{evacuation}")

    def vms(self, evacuation):
        shown = evacuation if isinstance(evacuation, dict) else self.show(evacuation)
        return {vm["name"]: vm for vm in shown["vms"]}

    def wait(self, evacuation, what, reached, timeout=40):
        def look():
            self.beat()
            return reached(self.show(evacuation))
        shell.wait_for(f"{what}: {self.show(evacuation)}", look, timeout, 0.2)
        return self.show(evacuation)

    def wait_state(self, evacuation, state, timeout=40):
        return self.wait(evacuation, state, lambda shown: shown["state"] == state, timeout)

    def wait_moving(self, evacuation, *names):
        return self.wait(evacuation, f"{names} to move", lambda shown: {
            vm["name"] for vm in shown["vms"] if vm["state"] == "moving"} == set(names))

    def moving(self, evacuation):
        """The one VM that moves, of an evacuation with at_once 1."""
        def names(shown):
            return [vm["name"] for vm in shown["vms"]
                    if vm["state"] == "moving" and vm["migration"] not in self.over]
        return names(self.wait(evacuation, "one to move", names))[0]

    # ---- the hosts' part of a move
    def wait_migration(self, evacuation, name):
        """The VM's migration that is under way: its id, source and destination."""
        def begun(shown):
            vm = self.vms(shown)[name]
            return vm["state"] == "moving" and vm["migration"] not in self.over
        migration = self.vms(self.wait(evacuation, f"{name} to move", begun))[name]["migration"]
        self.over.add(migration)
        shown = self.api.get(f"/v1/migrations/{migration}")
        return migration, shown["source"]["host_name"], shown["destination"]["host_name"]

    def step(self, host, kind, migration, timeout=30):
        end = time.monotonic() + timeout
        while True:
            for step in self.hosts[host].known.values():
                if step["kind"] == kind and step["spec"]["migration"] == migration:
                    return step
            assert time.monotonic() < end, f"{host} got no {kind} of {migration}"
            self.beat()
            self.hosts[host].poll_once()

    def carry(self, evacuation, name):
        """All steps of one VM's migration, to its end."""
        move = self.wait_migration(evacuation, name)
        self.mirror(*move)
        self.finish_switchover(name, *move)
        return move[1:]

    def mirror(self, migration, source, to):
        """To where the switch-over waits for its turn."""
        self.hosts[to].done(self.step(to, "prepare", migration))
        self.step(source, "transfer", migration)
        self.hosts[source].progress(migration, "mirrored")

    def has_turn(self, migration):
        self.beat()
        return self.api.get(f"/v1/migrations/{migration}")["switchover"]["is_requested"]

    def finish_switchover(self, name, migration, source, to):
        shell.wait_for(f"the turn of {name}", lambda: self.has_turn(migration), 20)
        self.hosts[source].done(self.step(source, "transfer", migration))
        self.finish_handoff(name, migration, source, to)

    def finish_handoff(self, name, migration, source, to):
        handoff = self.step(source, "handoff", migration)
        receive = self.step(to, "receive", migration)
        self.hosts[source].done(handoff, verdict="owned", pause_us=1000)
        self.hosts[to].done(receive, verdict="owned")
        domain = self.domains[name]
        self.hosts[source].lose_domain(domain["uuid"])
        self.hosts[to].gain_domain(domain, handoff["spec"])
        self.domains[name] = next(d for d in self.hosts[to].inventory["domains"]
                                  if d["uuid"] == domain["uuid"])
        self.hosts[source].report()
        self.hosts[to].report()
        self.hosts[source].done(self.step(source, "clean-source", migration))
        self.hosts[to].done(self.step(to, "clean-destination", migration))

    def fail(self, evacuation, name, code="no-space"):
        """The destination refuses to prepare; the migration is aborted to its end."""
        migration, source, to = self.wait_migration(evacuation, name)
        self.hosts[to].failed(self.step(to, "prepare", migration), code, "as the test wants")
        self.end_abort(migration, source, to)

    def end_abort(self, migration, source, to):
        self.hosts[source].done(self.step(source, "abort-source", migration))
        self.hosts[to].done(self.step(to, "abort-destination", migration))


@pytest.fixture
def installed(postgres, tmp_path):
    """No host is lost while the test plays another."""
    made = Coordinator(tmp_path / "coordinator", postgres, host_lost_after_s=15)
    made.init_with_admin()
    yield made
    made.kill()


@pytest.fixture
def site(coordinator, admin, tmp_path):
    made = Site(coordinator, admin, tmp_path)
    made.add("a1", "g1", "g2")
    made.add("a2", "g3")
    made.report()
    return made


@pytest.fixture(scope="module")
def kept_site(module_coordinator, module_admin, tmp_path_factory):
    """The same for what is refused, and so changes nothing."""
    made = Site(module_coordinator, module_admin, tmp_path_factory.mktemp("site"))
    made.add("a1", "g1", "g2")
    made.add("a2", "g3")
    made.report()
    return made


# ---- the plan

def test_a_dry_run_says_all_and_changes_nothing(site):
    shown = site.plan()
    assert (shown["id"], shown["state"]) == (None, "planned")
    assert shown["counts"]["waiting"] == 3 and not shown["plan"]["problems"]
    assert 0 < shown["plan"]["bound_s"] <= shown["plan"]["makespan_s"] + 1e-6
    assert shown["plan"]["bottleneck"]
    for vm in shown["vms"]:
        assert vm["destination"]["pool_name"] == "B" and vm["strategy"] == "live"
        assert vm["start"] < vm["end"] and vm["bytes"] >= 2 * GIB and vm["pause_ms"] > 0
        assert vm["reasons"] == [] and vm["migration"] is None
    assert site.api.get("/v1/evacuations")["items"] == []
    assert not site.api.get("/v1/pools/A")["in_maintenance"]
    assert site.coordinator.query("SELECT count(*) FROM event WHERE kind LIKE 'evacuation%'") == \
        [["0"]]
    time.sleep(2.5)
    assert site.api.get("/v1/migrations")["items"] == []


def test_refusals_have_every_reason_and_the_rest_has_its_plan(site):
    site.add("a1", "other-net", "halted")
    site.domains["halted"]["state"] = "halted"
    site.domains["other-net"]["vifs"][0]["network"] = "dmz"
    site.domains["other-net"]["memory_bytes"] = 64 * GIB
    site.hosts["a1"].inventory["networks"].append({"name": "dmz", "bridge": "br1"})
    site.report()
    vms = site.vms(site.plan(pinned=["g1"], exclude=["g2"]))
    assert vms["g3"]["state"] == "waiting"
    assert (vms["g1"]["state"], vms["g1"]["reasons"][0]["code"]) == ("refused", "pinned")
    assert (vms["g2"]["state"], vms["g2"]["reasons"][0]["code"]) == ("skipped", "left-out")
    assert vms["halted"]["state"] == "refused" and "halted" in vms["halted"]["reasons"][0]["message"]
    codes = {reason["code"] for reason in vms["other-net"]["reasons"]}
    assert {"network-not-mapped", "memory"} <= codes
    assert all(reason["fix"] for reason in vms["other-net"]["reasons"])


def test_constraints_are_kept(site):
    vms = site.vms(site.plan(apart=[{"vms": ["g1", "g2"]}], together=[{"vms": ["g2", "g3"]}],
                             vms=[{"vm": "g1", "host": "b2"}]))
    where = {name: vm["destination"]["host_name"] for name, vm in vms.items()}
    assert where == {"g1": "b2", "g2": "b1", "g3": "b1"}


def test_a_deadline_that_cannot_be_met_is_a_problem_of_the_plan(site):
    assert "past" in site.plan(deadline="2001-01-01T00:00:00Z")["plan"]["problems"][0]
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    assert "deadline" in site.plan(deadline=soon)["plan"]["problems"][0]
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    assert site.plan(deadline=later)["plan"]["problems"] == []


def test_where_nothing_can_move_nothing_is_made(site):
    answer = site.api.request("POST", "/v1/evacuations", site.request(mapping={}))
    refused = problem(answer, 409, "conflict")["refused"]
    assert len(refused) == 3
    assert all("mapp" in one["reasons"][0]["message"] for one in refused)
    assert site.api.get("/v1/evacuations")["items"] == []
    assert not site.api.get("/v1/pools/A")["in_maintenance"]
    shown = site.plan(mapping={})
    assert shown["counts"]["refused"] == 3


@pytest.mark.parametrize("change, status, where", [
    ({"pools": [], "hosts": []}, 400, "hosts"), ({"pools": ["none"]}, 404, "/pools/0"),
    ({"destination_pools": ["A"]}, 400, "/destination_pools/0"),
    ({"destination_hosts": ["a1"]}, 400, "/destination_hosts/0"),
    ({"vms": [{"vm": "g1", "host": "a2"}]}, 400, "/vms/0/host"),
    ({"vms": [{"vm": "none"}]}, 404, "/vms/0/vm"), ({"exclude": ["none"]}, 404, "/exclude/0"),
    ({"apart": [{"vms": ["g1", "none"]}]}, 404, "/apart/0/vms/1"),
    ({"together": [{"vms": ["g1", "g2"]}, {"vms": ["g2"]}]}, 400, "/together/1/vms/0"),
    ({"apart": [{"vms": ["g1"] * 1500}, {"vms": ["g2"] * 501}]}, 400, "/apart"),
    ({"apart": [{"vms": ["g1"] * 1500}], "together": [{"vms": ["g2"] * 501}]}, 400, "/together"),
    ({"deadline": "tomorrow"}, 400, "/deadline"),
    ({"deadline": "2001-01-01T00:00:00Z"}, 400, "/deadline"),
    ({"mapping": {"disks": {"vda": {"sr": "x"}}}}, 400, "/mapping"),
    ({"mapping": {"what": {}}}, 400, "/mapping"), ({"mapping_set": "none"}, 404, "none"),
    ({"on_failure": "panic"}, 400, "/on_failure"), ({"at_once": -1}, 400, "/at_once"),
    ({"switchovers_at_once": 2001}, 400, "/switchovers_at_once"),
    ({"switchovers_per_host": -1}, 400, "/switchovers_per_host"),
    ({"patience": 1}, 400, "patience"),
])
def test_bad_requests_name_the_place(kept_site, change, status, where):
    answer = kept_site.api.request("POST", "/v1/evacuations", kept_site.request(**change))
    assert answer.status == status, answer.text
    assert where in answer.json()["detail"]
    assert kept_site.coordinator.query("SELECT count(*) FROM evacuation") == [["0"]]


def test_a_map_that_is_too_large_together_with_its_set_is_refused(site):
    networks = [{f"net-{number}": "lan-b" for number in range(start, start + 200)}
                for start in (0, 1000)]
    site.api.post("/v1/mapping-sets", {"name": "many", "mapping": {"networks": networks[0]}},
                  expect=201)
    answer = site.api.request("POST", "/v1/evacuations", site.request(
        mapping_set="many", mapping={"networks": networks[1]}))
    assert problem(answer, 400, "invalid")["errors"][0]["pointer"] == "/mapping"


def test_everywhere_may_be_too_many_pools(site):
    site.coordinator.query("INSERT INTO pool (name) SELECT 'p' || n FROM generate_series(1, 1025) AS n")
    answer = site.api.request("POST", "/v1/evacuations", site.request(destination_pools=[]))
    assert problem(answer, 400, "invalid")["errors"][0]["pointer"] == "/destination_pools"


# ---- carried out

def test_a_pool_is_emptied(site):
    evacuation = site.begin()
    assert site.api.get("/v1/pools/A")["in_maintenance"]
    assert site.api.get("/v1/hosts/a1")["in_maintenance"]
    for name in ("g1", "g2", "g3"):
        site.carry(evacuation, name)
    shown = site.wait_state(evacuation, "succeeded")
    assert shown["counts"]["moved"] == 3 and shown["remaining"] == []
    assert all(vm["ended_at"] and vm["attempts"] == 1 for vm in shown["vms"])
    assert {vm["pool_name"] for vm in site.api.get("/v1/vms")["items"]} == {"B"}
    states = [row[0] for row in site.coordinator.query(
        "SELECT body ->> 'state' FROM event WHERE kind = 'evacuation.vm' ORDER BY id")]
    assert states.count("moving") == states.count("moved") == 3


def test_answers_fit_the_contract(site):
    path = "/v1/evacuations"
    looked = site.api.request("POST", path + "?dry_run=true", site.request(exclude=["g1"]))
    assert check("POST", path, looked).status == 200
    refused = site.api.request("POST", path, site.request(mapping={}))
    assert check("POST", path, refused).status == 409
    made = check("POST", path, site.api.request("POST", path, site.request(retries=0)))
    assert made.status == 202 and made.headers["Location"].endswith(made.json()["id"])
    site.fail(made.json()["id"], "g1")
    site.wait(made.json()["id"], "g1 to fail", lambda shown: shown["counts"]["failed"] == 1)
    one = site.api.request("GET", made.headers["Location"])
    assert check("GET", path + "/{id}", one).status == 200
    again = site.api.request("GET", made.headers["Location"],
                             headers={"If-None-Match": one.headers["ETag"]})
    assert again.status in (200, 304)
    page = check("GET", path, site.api.request("GET", path + "?state=active"))
    assert [item["id"] for item in page.json()["items"]] == [made.json()["id"]]
    check("POST", path + "/{id}/cancel",
          site.api.request("POST", made.headers["Location"] + "/cancel"))


def events_of(api):
    answer = api.request("GET", "/v1/events?resource=evacuations&after=0",
                         headers={"Accept": "application/json"})
    assert answer.status == 200, answer.text
    return answer.json()["items"]


def test_a_token_of_one_pool_does_not_see_it(site):
    evacuation = site.begin()
    make = site.coordinator.make_token
    of_b = site.coordinator.api(make("of-b", "operator", "--pool", "B"))
    both = site.coordinator.api(make("both", "operator", "--pool", "A", "--pool", "B"))
    assert of_b.get("/v1/evacuations")["items"] == []
    for method, act in (("GET", ""), ("POST", "/cancel"), ("POST", "/vms/g1/retry")):
        answer = of_b.request(method, f"/v1/evacuations/{evacuation}{act}")
        problem(answer, 404, "not-found")
    assert both.get(f"/v1/evacuations/{evacuation}")["id"] == evacuation
    problem(of_b.request("POST", "/v1/evacuations", site.request()), 404, "not-found")
    shell.wait_for("its event", lambda: events_of(both), 20, 0.2)
    assert events_of(of_b) == []


def test_the_same_key_makes_one(site):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first, second = (site.api.request("POST", "/v1/evacuations", site.request(), headers=key)
                     for _ in range(2))
    assert first.status == second.status == 202 and first.json()["id"] == second.json()["id"]
    assert len(site.api.get("/v1/evacuations")["items"]) == 1


def test_a_vm_is_part_of_one_evacuation(site):
    evacuation = site.begin()
    answer = site.api.request("POST", "/v1/evacuations", site.request(pools=[], hosts=["a1"]))
    assert evacuation in problem(answer, 409, "conflict")["detail"]
    for path in ("/v1/pools/A/maintenance", "/v1/hosts/a1/maintenance"):
        assert evacuation in problem(site.api.request("DELETE", path), 409, "conflict")["detail"]


def test_no_more_than_were_asked_for_at_once(site):
    evacuation = site.begin(at_once=1)
    for _ in range(3):
        shown = site.wait(evacuation, "one to move", lambda shown: shown["counts"]["moving"] == 1)
        time.sleep(2.5)
        shown = site.show(evacuation)
        assert shown["counts"]["moving"] == 1
        site.carry(evacuation, next(vm["name"] for vm in shown["vms"] if vm["state"] == "moving"))
    site.wait_state(evacuation, "succeeded")


def mirror_all(site, evacuation, *names):
    """VMs copied side by side: their migrations with source and destination."""
    moves = {name: site.wait_migration(evacuation, name) for name in names}
    for move in moves.values():
        site.mirror(*move)
    return moves


def with_turn(site, moves):
    return {name for name, move in moves.items() if site.has_turn(move[0])}


def wait_turns(site, moves, count):
    """So many have their turn, and no more get one."""
    shell.wait_for(f"{count} turns", lambda: len(with_turn(site, moves)) == count, 20)
    time.sleep(2.5)
    found = with_turn(site, moves)
    assert len(found) == count
    return found


def test_copies_run_side_by_side_and_switch_over_one_by_one(site):
    evacuation = site.begin(switchovers_at_once=1)
    moves = mirror_all(site, evacuation, "g1", "g2", "g3")
    while moves:
        first, = wait_turns(site, moves, 1)
        waiting = [site.api.get(f"/v1/migrations/{move[0]}") for name, move in moves.items()
                   if name != first]
        assert {one["state"] for one in waiting} <= {"ready"}
        assert all(evacuation in one["waits_for"] for one in waiting)
        site.finish_switchover(first, *moves.pop(first))
    site.wait_state(evacuation, "succeeded")


def test_one_switches_over_at_a_host_unless_more_are_asked_for(site):
    """g1 and g2 leave a1; g3 leaves a2, for the same host as g2."""
    evacuation = site.begin(vms=[{"vm": "g1", "host": "b1", "priority": 1},
                                 {"vm": "g2", "host": "b2"}, {"vm": "g3", "host": "b2"}])
    moves = mirror_all(site, evacuation, "g1", "g2", "g3")
    assert wait_turns(site, moves, 2) == {"g1", "g3"}
    site.finish_switchover("g1", *moves.pop("g1"))
    wait_turns(site, moves, 1)  # b2 is taken
    site.finish_switchover("g3", *moves.pop("g3"))
    site.finish_switchover("g2", *moves.pop("g2"))
    site.wait_state(evacuation, "succeeded")


def test_two_at_a_host_where_two_are_asked_for(site):
    evacuation = site.begin(switchovers_per_host=2, exclude=["g3"],
                            vms=[{"vm": "g1", "host": "b1"}, {"vm": "g2", "host": "b2"}])
    moves = mirror_all(site, evacuation, "g1", "g2")
    for name in wait_turns(site, moves, 2):
        site.finish_switchover(name, *moves[name])
    site.wait_state(evacuation, "succeeded")


def test_without_a_limit_nothing_is_held(site):
    evacuation = site.begin(switchovers_per_host=0)
    for name in ("g1", "g2", "g3"):
        move = site.wait_migration(evacuation, name)
        shown = site.api.get(f"/v1/migrations/{move[0]}")
        assert shown["switchover"]["when"] == "automatic"
        site.mirror(*move)
        site.hosts[move[1]].done(site.step(move[1], "transfer", move[0]))
        site.finish_handoff(name, *move)
    site.wait_state(evacuation, "succeeded")


def test_migrations_of_others_have_their_turn_too(site):
    site.add("b1", "other")
    site.report()
    vm = next(vm["id"] for vm in site.api.get("/v1/vms")["items"] if vm["name"] == "other")
    other = site.api.post("/v1/migrations", {
        "vm": vm, "destination": {"pool": "B", "host": "b2"},
        "mapping": {"networks": {"lan-b": "lan-b"}, "srs": {"local-b": "local-b"}}})["id"]
    site.mirror(other, "b1", "b2")
    site.hosts["b1"].done(site.step("b1", "transfer", other))
    evacuation = site.begin(exclude=["g1", "g2"])
    move = site.wait_migration(evacuation, "g3")
    site.mirror(*move)
    time.sleep(3)
    assert not site.has_turn(move[0])
    site.finish_handoff("other", other, "b1", "b2")
    site.finish_switchover("g3", *move)
    site.wait_state(evacuation, "succeeded")


def test_a_handoff_that_waits_for_a_silent_host_keeps_nobody(site):
    evacuation = site.begin(exclude=["g3"], vms=[{"vm": "g1", "host": "b1", "priority": 1},
                                                 {"vm": "g2", "host": "b2"}])
    moves = mirror_all(site, evacuation, "g1", "g2")
    assert wait_turns(site, moves, 1) == {"g1"}
    migration, source, to = moves["g1"]
    site.hosts[source].done(site.step(source, "transfer", migration))
    site.step(source, "handoff", migration)
    silent = site.hosts.pop(to)
    shell.wait_for("the turn of g2", lambda: site.has_turn(moves["g2"][0]), 40)
    site.finish_switchover("g2", *moves["g2"])
    site.hosts[to] = silent
    site.finish_handoff("g1", *moves["g1"])
    site.wait(evacuation, "both to have moved", lambda shown: shown["counts"]["moved"] == 2)


def test_a_vm_that_fails_is_tried_again_and_then_an_exception(site):
    evacuation = site.begin(retries=1)
    site.fail(evacuation, "g1")
    site.fail(evacuation, "g1")
    for name in ("g2", "g3"):
        site.carry(evacuation, name)
    shown = site.wait_state(evacuation, "succeeded-with-exceptions")
    vm = site.vms(shown)["g1"]
    assert (vm["state"], vm["attempts"]) == ("failed", 2)
    assert vm["reasons"][0]["code"] == "no-space" and "as the test wants" in vm["reasons"][0]["message"]
    assert [left["name"] for left in shown["remaining"]] == ["g1"]
    assert shown["plan"]["number"] > 1
    # and once more by hand
    site.api.post(f"/v1/evacuations/{evacuation}/vms/g1/retry", expect=202)
    site.carry(evacuation, "g1")
    site.wait_state(evacuation, "succeeded")


def test_stop_starts_nothing_more(site):
    evacuation = site.begin(retries=0, on_failure="stop", at_once=1)
    shown = site.wait(evacuation, "one to move", lambda shown: shown["counts"]["moving"] == 1)
    first = next(vm["name"] for vm in shown["vms"] if vm["state"] == "moving")
    site.fail(evacuation, first)
    shown = site.wait_state(evacuation, "failed")
    assert (shown["counts"]["failed"], shown["counts"]["cancelled"]) == (1, 2)
    assert {reason["code"] for vm in shown["vms"] for reason in vm["reasons"]} == \
        {"no-space", "not-started"}


def test_rollback_brings_back_what_has_moved(site):
    evacuation = site.begin(retries=0, on_failure="rollback", at_once=1)
    first = site.moving(evacuation)
    came_from, _ = site.carry(evacuation, first)
    site.fail(evacuation, site.moving(evacuation))
    shown = site.wait(evacuation, "its return", lambda shown: shown["returns"])
    assert shown["state"] == "rolling-back"
    answer = site.api.request("POST", f"/v1/evacuations/{evacuation}/return", {})
    assert "rolling-back" in problem(answer, 409, "conflict")["detail"]
    assert not site.api.get("/v1/hosts/a1")["in_maintenance"]
    source, to = site.carry(shown["returns"][0], first)
    assert to == came_from
    site.wait_state(evacuation, "failed")
    assert site.show(shown["returns"][0])["state"] == "succeeded"
    assert {vm["pool_name"] for vm in site.api.get("/v1/vms")["items"]} == {"A"}


def test_a_rollback_of_what_is_gone_is_over(site):
    evacuation = site.begin(retries=0, on_failure="rollback", at_once=1)
    first = site.moving(evacuation)
    _, to = site.carry(evacuation, first)
    second = site.moving(evacuation)
    site.hosts[to].lose_domain(site.domains[first]["uuid"])
    site.hosts[to].report()
    site.fail(evacuation, second)
    shown = site.wait_state(evacuation, "failed")
    assert all(site.show(one)["counts"]["waiting"] == 0 for one in shown["returns"])


def test_a_rollback_waits_for_vms_that_others_move(site):
    """It says what keeps it, and goes on when that is over."""
    evacuation = site.begin(retries=0, on_failure="rollback", at_once=1)
    first = site.moving(evacuation)
    site.carry(evacuation, first)
    second = site.moving(evacuation)
    other = str(uuid.uuid4())
    # as one transaction: without a VM it would be over at once
    site.coordinator.query(
        f"INSERT INTO evacuation (id, state, pools, request, plan, created_by) SELECT '{other}',"
        f" 'paused', pools, request, plan, created_by FROM evacuation WHERE id = '{evacuation}';"
        "INSERT INTO evacuation_vm (evacuation_id, vm_id, position, current_vm_id, domain_uuid, name,"
        f" source_pool_id, source_host_id, current_host_id, state) SELECT '{other}', current_vm_id, 0,"
        " current_vm_id, domain_uuid, name, source_pool_id, current_host_id, current_host_id,"
        f" 'waiting' FROM evacuation_vm WHERE evacuation_id = '{evacuation}' AND name = '{first}'")
    site.fail(evacuation, second)
    shown = site.wait(evacuation, "the reason", lambda shown: site.vms(shown)[first]["reasons"])
    assert other in site.vms(shown)[first]["reasons"][0]["message"]
    assert (shown["state"], shown["returns"]) == ("rolling-back", [])
    site.api.post(f"/v1/evacuations/{other}/cancel", expect=202)
    shown = site.wait(evacuation, "its return", lambda shown: shown["returns"])
    site.carry(shown["returns"][0], first)
    site.wait_state(evacuation, "failed")


def test_a_vm_that_was_started_anew_is_moved(site):
    evacuation = site.begin(at_once=1)
    moving = site.moving(evacuation)
    name = next(vm["name"] for vm in site.show(evacuation)["vms"] if vm["state"] == "waiting")
    before = site.vms(evacuation)[name]
    source = site.hosts[before["source"]["host_name"]]
    domain = site.domains[name]
    source.inventory["domains"].remove(domain)
    source.report()
    shown = site.wait(evacuation, "it to be gone", lambda shown: site.vms(shown)[name]["reasons"])
    assert site.vms(shown)[name]["state"] == "waiting"
    assert site.vms(shown)[name]["reasons"][0]["code"] == "vm-not-found"
    source.inventory["domains"].append(domain)
    source.report()
    shown = site.wait(evacuation, "its object", lambda shown:
                      site.vms(shown)[name]["current_vm"] != before["current_vm"])
    site.carry(evacuation, moving)
    for _ in range(2):
        site.carry(evacuation, site.moving(evacuation))
    site.wait_state(evacuation, "succeeded")


def test_patience_rests_while_it_is_paused(site):
    evacuation = site.begin(at_once=1, patience_s=60)
    moving = site.moving(evacuation)
    site.api.post(f"/v1/evacuations/{evacuation}/pause", expect=202)
    site.coordinator.query("UPDATE evacuation_vm SET refused_at = now() - interval '1 hour'"
                           " WHERE state = 'waiting'")
    site.carry(evacuation, moving)
    site.wait(evacuation, "the first to have moved", lambda shown: shown["counts"]["moved"] == 1)
    assert site.show(evacuation)["counts"]["waiting"] == 2
    site.api.post(f"/v1/evacuations/{evacuation}/resume", expect=202)
    for _ in range(2):
        site.carry(evacuation, site.moving(evacuation))
    site.wait_state(evacuation, "succeeded")


def test_apart_holds_for_vms_that_have_moved(site):
    evacuation = site.begin(at_once=1, patience_s=4, retries=1, exclude=["g3"],
                            apart=[{"vms": ["g1", "g2"]}])
    first = site.moving(evacuation)
    _, to = site.carry(evacuation, first)
    second = site.moving(evacuation)
    other = {"b1": "b2", "b2": "b1"}[to]
    site.fail(evacuation, second)
    site.api.post(f"/v1/hosts/{other}/maintenance")
    shown = site.wait_state(evacuation, "succeeded-with-exceptions")
    assert site.vms(shown)[second]["state"] == "failed"


def test_pause_and_resume(site):
    evacuation = site.begin(at_once=1)
    shown = site.wait(evacuation, "one to move", lambda shown: shown["counts"]["moving"] == 1)
    first = next(vm["name"] for vm in shown["vms"] if vm["state"] == "moving")
    for _ in range(2):
        assert site.api.post(f"/v1/evacuations/{evacuation}/pause", expect=202)["state"] == "paused"
    site.carry(evacuation, first)
    site.wait(evacuation, "the first to have moved", lambda shown: shown["counts"]["moved"] == 1)
    time.sleep(3)
    assert site.show(evacuation)["counts"]["moving"] == 0
    site.api.post(f"/v1/evacuations/{evacuation}/resume", expect=202)
    for _ in range(2):
        site.carry(evacuation, site.moving(evacuation))
    site.wait_state(evacuation, "succeeded")
    answer = site.api.request("POST", f"/v1/evacuations/{evacuation}/pause")
    assert "succeeded" in problem(answer, 409, "conflict")["detail"]


def test_cancel_ends_what_moves_and_keeps_what_has_moved(site):
    evacuation = site.begin(at_once=1)
    site.carry(evacuation, site.moving(evacuation))
    migration, source, to = site.wait_migration(evacuation, site.moving(evacuation))
    prepare = site.step(to, "prepare", migration)
    shown = site.api.post(f"/v1/evacuations/{evacuation}/cancel", expect=202)
    assert shown["state"] == "cancelling" and shown["counts"]["waiting"] == 0
    site.hosts[to].wait_cancel(prepare)
    site.hosts[to].failed(prepare, "cancelled")
    site.end_abort(migration, source, to)
    shown = site.wait_state(evacuation, "cancelled")
    assert (shown["counts"]["moved"], shown["counts"]["cancelled"]) == (1, 2)


def test_a_vm_that_others_moved_is_skipped(site):
    evacuation = site.begin(at_once=1)
    order = [vm["name"] for vm in site.show(evacuation)["vms"]]
    site.wait_moving(evacuation, order[0])
    site.coordinator.query("UPDATE vm SET host_id = (SELECT id FROM host WHERE name = 'b2'),"
                           " pool_id = (SELECT id FROM pool WHERE name = 'B')"
                           f" WHERE name = '{order[2]}'")
    shown = site.wait(evacuation, "it to be skipped", lambda shown:
                      site.vms(shown)[order[2]]["state"] == "skipped")
    assert "host b2" in site.vms(shown)[order[2]]["reasons"][0]["message"]


def test_a_vm_without_room_fails_when_patience_ends(site):
    """Room that the plan saw is gone when its turn comes."""
    site.api.post("/v1/hosts/b2/maintenance")
    evacuation = site.begin(at_once=1, patience_s=4)
    order = [vm["name"] for vm in site.show(evacuation)["vms"]]
    site.wait_moving(evacuation, order[0])
    site.hosts["b1"].inventory["memory_free_bytes"] = 1 << 20
    site.carry(evacuation, order[0])
    shown = site.wait_state(evacuation, "succeeded-with-exceptions")
    assert shown["counts"]["failed"] == 2
    for name in order[1:]:
        assert any("memory" in reason["message"] for reason in site.vms(shown)[name]["reasons"])


# ---- return

def test_what_was_emptied_comes_back_but_for_what_went_elsewhere(site):
    evacuation = site.begin()
    came_from = {name: site.carry(evacuation, name)[0] for name in ("g1", "g2", "g3")}
    site.wait_state(evacuation, "succeeded")
    refused = site.api.request("POST", f"/v1/evacuations/{evacuation}/return", {})
    reasons = problem(refused, 409, "conflict")["refused"][0]["reasons"]
    assert {"host-in-maintenance", "pool-in-maintenance"} <= {one["code"] for one in reasons}
    for path in ("pools/A", "hosts/a1", "hosts/a2"):
        assert site.api.request("DELETE", f"/v1/{path}/maintenance").status == 200
    answer = site.api.request("POST", f"/v1/evacuations/{evacuation}/return", {"vms": ["none"]})
    assert "/vms/0" in problem(answer, 404, "not-found")["detail"]
    gone = site.vms(evacuation)["g3"]["destination"]["host_name"]
    other = {"b1": "b2", "b2": "b1"}[gone]
    site.coordinator.query(f"UPDATE vm SET host_id = (SELECT id FROM host WHERE name = '{other}')"
                           " WHERE name = 'g3'")
    back = site.api.post(f"/v1/evacuations/{evacuation}/return", {}, expect=202)
    assert back["return_of"] == evacuation
    vms = site.vms(back)
    assert vms["g3"]["state"] == "skipped" and f"host {other}" in vms["g3"]["reasons"][0]["message"]
    for name in ("g1", "g2"):
        assert site.carry(back["id"], name)[1] == came_from[name]
    site.wait_state(back["id"], "succeeded")
    networks = {vm["name"]: vm["vifs"][0]["network_name"] for vm in site.api.get("/v1/vms")["items"]}
    assert networks["g1"] == networks["g2"] == "lan-a"


# ---- coordinators

def test_the_death_of_a_coordinator_loses_and_doubles_nothing(site):
    """Killed in the transaction that makes a move: after it, the VM has one migration."""
    site.coordinator.set_failpoint("evacuation.move-made", "kill")
    with contextlib.suppress(OSError, http.client.HTTPException):  # it may die before it answers
        site.begin()
    shell.wait_for("the coordinator to die", lambda: not site.coordinator.is_running(), 20, 0.2)
    site.coordinator.clear_failpoint("evacuation.move-made")
    assert site.coordinator.query("SELECT count(*) FROM migration") == [["0"]]
    [[evacuation]] = site.coordinator.query("SELECT id FROM evacuation")
    site.coordinator.start()
    for name in ("g1", "g2", "g3"):
        site.carry(evacuation, name)
    site.wait_state(evacuation, "succeeded")
    assert site.coordinator.query("SELECT count(*) FROM migration") == [["3"]]
