"""The life of migrations through the real coordinator and PostgreSQL: two hosts played by the test
report inventories and answer steps, in order, twice, late, wrongly, or not at all."""
import threading
import time
import uuid

import pytest

from crosspool_test import shell
from crosspool_test.coordinator import Coordinator
from crosspool_test.fake_host import GIB, FakeHost


class World:
    def __init__(self, coordinator, admin, tmp_path):
        self.coordinator = coordinator
        self.api = admin
        self.tmp_path = tmp_path
        for pool in ("A", "B"):
            admin.post("/v1/pools", {"name": pool})
        self.a1 = self.host("A", "a1")
        self.b1 = self.host("B", "b1")
        self.domain = self.a1.add_vm("g1", disks=2)
        self.a1.report()
        self.b1.report()

    def host(self, pool, name):
        return FakeHost(self.coordinator, self.api, self.tmp_path / name, pool, name)

    def vm(self, name="g1", pool="A"):
        found = [vm for vm in self.api.get(f"/v1/vms?name={name}")["items"]
                 if vm["pool_name"] == pool]
        assert len(found) <= 1, found
        return found[0] if found else None

    def request(self, **more):
        return {"vm": "g1", "destination": {"pool": "B", "host": "b1"},
                "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}},
                **more}

    def create(self, **more):
        return self.api.post("/v1/migrations", self.request(**more), expect=202)["id"]

    def show(self, migration):
        return self.api.get(f"/v1/migrations/{migration}")

    def state(self, migration):
        return self.show(migration)["state"]

    def cancel(self, migration, expect=202):
        return self.api.post(f"/v1/migrations/{migration}/cancel", expect=expect)

    def leftovers(self):
        return self.api.get("/v1/leftovers")["items"]

    def wait_state(self, migration, state, *awake):
        """awake: hosts that keep reporting meanwhile."""
        def reached():
            for host in awake:
                host.send()
            return self.state(migration) == state
        shell.wait_for(f"the migration to be {state}", reached, 30)

    # ---- the usual way, up to a state
    def to_transferring(self):
        migration = self.create()
        self.b1.finish("prepare")
        return migration

    def to_handing_off(self):
        migration = self.to_transferring()
        self.a1.finish("transfer")
        return migration

    def to_cleaning(self):
        """Returns (migration, spec); the source has reported."""
        migration = self.to_handing_off()
        step = self.a1.take("handoff")
        receive = self.b1.take("receive")
        self.a1.done(step, verdict="owned", pause_us=12345)
        self.b1.done(receive, verdict="owned")
        self.move_domain(step["spec"])
        return migration, step["spec"]

    def move_domain(self, spec):
        self.a1.lose_domain(self.domain["uuid"])
        self.b1.gain_domain(self.domain, spec)

    def finish_abort(self, migration, state):
        self.a1.finish("abort-source")
        self.b1.finish("abort-destination")
        assert self.state(migration) == state


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


# ---- success

def test_a_migration_goes_through_its_states_to_success(world):
    before = world.vm()
    migration = world.create()
    assert world.state(migration) == "preparing"
    prepare = world.b1.take("prepare")
    assert prepare["epoch"] == 0 and prepare["spec"]["migration"] == migration
    assert [d["device"] for d in prepare["spec"]["disks"]] == ["vda", "vdb"]
    assert prepare["spec"]["vifs"][0]["destination_network"] == "lan-b"
    assert prepare["spec"]["disks"][0]["destination"]["sr"] == world.b1.sr["id"]
    world.b1.done(prepare)
    assert world.state(migration) == "transferring"
    world.a1.finish("transfer")
    shown = world.show(migration)
    assert (shown["state"], shown["epoch"]) == ("handing_off", 1)
    assert world.b1.take("receive")["epoch"] == 1
    handoff = world.a1.take("handoff")
    assert handoff["epoch"] == 1
    world.a1.done(handoff, verdict="owned", pause_us=4711)
    assert world.state(migration) == "cleaning"
    after = world.vm(pool="B")
    assert world.vm(pool="A") is None
    assert after["id"] == shown["destination_vm"] != before["id"]
    assert after["disks"][0]["vdi"] == prepare["spec"]["disks"][0]["destination"]["vdi"]
    assert after["vifs"][0]["network_name"] == "lan-b"
    world.b1.done(world.b1.take("receive"), verdict="owned")
    assert world.a1.finish("clean-source")["verdict"] == "owned"
    assert world.state(migration) == "cleaning"
    world.b1.finish("clean-destination")
    ended = world.show(migration)
    assert ended["state"] == "succeeded" and ended["pause_us"] == 4711
    assert ended["error"] is None and ended["waits_for"] is None and ended["ended_at"]
    assert [s["kind"] for s in ended["steps"]] == [
        "prepare", "transfer", "handoff", "receive", "clean-source", "clean-destination"] or \
        [s["kind"] for s in ended["steps"]] == [
        "prepare", "transfer", "receive", "handoff", "clean-source", "clean-destination"]
    assert {s["state"] for s in ended["steps"]} == {"done"}
    assert world.leftovers() == []


def test_clean_destination_waits_for_a_clean_source(world):
    migration, _ = world.to_cleaning()
    assert world.b1.poll_once()["steps"] == []
    world.a1.finish("clean-source")
    world.b1.take("clean-destination")
    assert world.state(migration) == "cleaning"


def test_a_destination_that_says_owned_first_commits_and_the_source_is_told(world):
    migration = world.to_handing_off()
    handoff = world.a1.take("handoff")
    world.b1.finish("receive", verdict="owned")
    assert world.state(migration) == "cleaning"
    assert world.vm(pool="B") and not world.vm(pool="A")
    conclude = world.a1.take("conclude")
    assert conclude["verdict"] == "owned" and conclude["epoch"] == 1
    assert all(step["kind"] != "clean-source" for step in world.a1.known.values())
    world.a1.done(conclude)
    world.a1.done(handoff, verdict="owned")
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"


def test_inside_a_pool_the_vm_keeps_its_object(world):
    a2 = world.host("A", "a2")
    a2.report()
    before = world.vm()
    migration = world.create(destination={"pool": "A", "host": "a2"},
                             mapping={"networks": {"lan-a": "lan-a"},
                                      "srs": {"local-a1": "local-a2"}})
    a2.finish("prepare")
    world.a1.finish("transfer")
    spec = world.a1.take("handoff")["spec"]
    # the destination's inventory comes before anybody's verdict, then an old one of the source
    late = world.a1.next_inventory()
    a2.gain_domain(world.domain, spec)
    a2.report()
    world.a1.send(**late)
    assert world.vm()["host_name"] == "a2"
    world.a1.finish("handoff", verdict="owned")
    after = world.vm()
    assert after["id"] == before["id"] == world.show(migration)["destination_vm"]
    assert after["host_name"] == "a2"
    assert after["disks"][0]["vdi"] == spec["disks"][0]["destination"]["vdi"]


# ---- inventories that race with the commit

def test_an_older_report_of_the_source_does_not_bring_the_vm_back(world):
    world.to_handing_off()
    late = world.a1.next_inventory()
    world.b1.finish("receive", verdict="owned")
    world.a1.send(**late)
    assert world.vm(pool="A") is None
    assert world.vm(pool="B")


def test_an_inventory_posted_before_a_result_and_applied_after_it_is_left_out(world):
    migration = world.to_handing_off()
    hosts = (world.a1, world.b1)
    late = [host.next_inventory() for host in hosts]
    spec = world.a1.take("handoff")["spec"]
    world.a1.finish("handoff", verdict="owned")
    world.b1.finish("receive", verdict="owned")
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"
    arrived = world.vm(pool="B")
    for host, inventory in zip(hosts, late):
        host.send(**inventory)
    assert world.vm(pool="A") is None, "the old inventory of the source lists it"
    assert world.vm(pool="B") == arrived, "the old inventory of the destination lacks it"
    world.move_domain(spec)
    for host in hosts:
        host.add_vm(f"next-{host.name}")
        host.report()
        assert world.vm(f"next-{host.name}", pool=host.name[0].upper())
    assert world.vm(pool="A") is None
    assert world.vm(pool="B")["id"] == arrived["id"]


def test_a_result_does_not_let_older_inventories_in_again(world):
    old = world.a1.next_inventory()
    world.a1.add_vm("g2")
    world.a1.report()
    migration = world.create()
    prepare = world.b1.take("prepare")
    world.b1.done(prepare)
    transfer = world.a1.take("transfer")
    world.a1.send(inventory_generation=0, results=[{"step": transfer["id"], "is_done": True}])
    assert world.state(migration) == "handing_off"
    world.a1.send(**old)
    assert world.vm("g2")


def test_a_destination_inventory_before_the_verdict_has_the_chosen_object(world):
    migration = world.to_handing_off()
    spec = world.a1.take("handoff")["spec"]
    world.b1.gain_domain(world.domain, spec)
    world.b1.report()
    assert world.vm(pool="B")["id"] == world.show(migration)["destination_vm"]
    world.a1.lose_domain(world.domain["uuid"])
    world.a1.report()
    assert world.vm(pool="A"), "it is under way: its object stays until the verdict"
    world.a1.finish("handoff", verdict="owned")
    assert world.vm(pool="A") is None


def test_an_old_destination_inventory_does_not_remove_the_committed_vm(world):
    migration = world.to_handing_off()
    late = world.b1.next_inventory()
    world.a1.finish("handoff", verdict="owned")
    world.b1.send(**late)
    assert world.vm(pool="B")["id"] == world.show(migration)["destination_vm"]


def test_an_older_generation_is_left_out(world):
    old = world.a1.next_inventory()
    world.a1.add_vm("g2")
    world.a1.report()
    world.a1.send(**old)
    assert world.vm("g2")


def test_a_domain_that_vanished_under_a_migration_goes_when_it_ends(world):
    migration = world.to_transferring()
    world.a1.lose_domain(world.domain["uuid"])
    world.a1.report()
    assert world.vm()
    world.a1.failed(world.a1.take("transfer"), "not-found", "the domain is gone")
    world.finish_abort(migration, "failed")
    assert world.vm() is None


def test_vms_keep_their_ids_and_unchanged_rows_are_not_written(world):
    rows = world.coordinator.query("SELECT id, xmin FROM vm")
    disks = world.coordinator.query("SELECT device, xmin FROM vbd ORDER BY device")
    vdis = world.coordinator.query("SELECT id, xmin FROM vdi ORDER BY id")
    world.a1.inventory["memory_free_bytes"] -= 1
    world.a1.report()
    assert world.coordinator.query("SELECT id, xmin FROM vm") == rows
    assert world.coordinator.query("SELECT device, xmin FROM vbd ORDER BY device") == disks
    assert world.coordinator.query("SELECT id, xmin FROM vdi ORDER BY id") == vdis


def test_what_an_inventory_leaves_out_is_removed(world):
    del world.domain["disks"][1]
    world.domain["vifs"].clear()
    del world.a1.sr["vdis"][1]
    world.a1.inventory["networks"] = [{"name": "other", "bridge": "br1"}]
    world.a1.report()
    vm = world.vm()
    assert [d["device"] for d in vm["disks"]] == ["vda"] and vm["vifs"] == []
    names = [n["name"] for n in world.api.get("/v1/networks")["items"]]
    assert sorted(names) == ["lan-b", "other"]
    assert world.coordinator.query("SELECT count(*) FROM vdi") == [["1"]]
    world.a1.inventory["srs"] = []
    world.a1.inventory["domains"] = []
    world.a1.report()
    assert world.vm() is None
    assert [s["name"] for s in world.api.get("/v1/srs")["items"]] == ["local-b1"]


def test_a_large_inventory_is_applied_in_seconds(world):
    for number in range(1000):
        world.a1.add_vm(f"x{number}", disks=4)
    for _ in range(2):
        began = time.monotonic()
        world.a1.report()
        assert time.monotonic() - began < 8
    assert world.coordinator.query("SELECT count(*) FROM vbd") == [["4002"]]


# ---- failures

@pytest.mark.parametrize("role,kind", [("b1", "prepare"), ("a1", "transfer")])
def test_a_failed_step_aborts_and_names_the_cause(world, role, kind):
    migration = world.create() if kind == "prepare" else world.to_transferring()
    host = getattr(world, role)
    host.failed(host.take(kind), "no-space", "the SR is full")
    assert world.state(migration) == "aborting"
    world.finish_abort(migration, "failed")
    ended = world.show(migration)
    assert ended["error"] == {"code": "no-space", "message": f"{kind}: the SR is full"}
    assert world.vm()["host_name"] == "a1"
    assert world.leftovers() == []


def test_a_guest_that_ended_ends_the_migration_whatever_the_destination_met(world):
    migration = world.to_handing_off()
    world.b1.failed(world.b1.take("receive"), "internal", "the stream broke off",
                    verdict="abandoned")
    world.a1.failed(world.a1.take("handoff"), "guest-ended", "the guest rebooted",
                    verdict="abandoned")
    assert world.state(migration) == "aborting"
    world.finish_abort(migration, "failed")
    error = world.show(migration)["error"]
    assert error == {"code": "guest-ended", "message": "handoff: the guest rebooted"}
    assert world.leftovers() == []


def test_an_abandoned_handoff_is_tried_again_with_a_new_epoch(world):
    migration = world.to_handing_off()
    world.b1.take("receive")
    world.a1.failed(world.a1.take("handoff"), "mirror-lost", verdict="abandoned")
    assert world.state(migration) == "transferring"
    world.a1.finish("transfer")
    assert world.a1.take("handoff")["epoch"] == 2
    assert [s["epoch"] for s in world.b1.known.values()] == [1]
    world.b1.poll_once()
    assert world.b1.take("receive")["epoch"] == 2
    # the result of the old epoch comes late, and says nothing that counts
    old = [s for s in world.b1.known.values() if s["epoch"] == 1][0]
    world.b1.done(old, verdict="abandoned")
    assert all(s["kind"] != "conclude" for s in world.show(migration)["steps"])
    world.a1.finish("handoff", verdict="owned")
    assert world.state(migration) == "cleaning"


def test_handoffs_end_after_five_epochs(world):
    migration = world.to_handing_off()
    for epoch in range(1, 6):
        step = world.a1.take("handoff")
        assert step["epoch"] == epoch
        world.b1.send()
        world.a1.failed(step, "timeout", verdict="abandoned")
        if epoch < 5:
            world.coordinator.query("UPDATE step SET not_before = now() WHERE state = 'queued'")
            world.a1.finish("transfer")
    world.finish_abort(migration, "failed")
    assert world.show(migration)["error"]["code"] == "timeout"


def test_a_destination_that_refuses_for_good_ends_it_with_its_own_reason(world):
    migration = world.to_handing_off()
    handoff = world.a1.take("handoff")
    world.b1.failed(world.b1.take("receive"), "unsupported", "cannot restore this machine type")
    world.a1.wait_cancel(handoff)
    world.a1.failed(handoff, "cancelled", verdict="abandoned")
    world.finish_abort(migration, "failed")
    assert world.show(migration)["error"] == {
        "code": "unsupported", "message": "cannot restore this machine type"}


def test_a_passing_reason_at_one_end_does_not_hide_a_lasting_one_at_the_other(world):
    migration = world.to_handing_off()
    handoff = world.a1.take("handoff")
    world.b1.failed(world.b1.take("receive"), "unreachable", verdict="abandoned")
    world.a1.failed(handoff, "internal", "the domain's state cannot be saved", verdict="abandoned")
    assert world.state(migration) == "aborting"
    assert "cannot be saved" in world.show(migration)["error"]["message"]


def test_an_abandoned_destination_is_told_to_the_source(world):
    migration = world.to_handing_off()
    handoff = world.a1.take("handoff")
    world.b1.finish("receive", verdict="abandoned")
    assert world.state(migration) == "handing_off"
    assert world.a1.take("conclude")["verdict"] == "abandoned"
    world.a1.done(handoff, verdict="abandoned")
    assert world.state(migration) == "transferring"


def test_contradicting_verdicts_destroy_nothing_and_call_for_a_person(world):
    migration = world.to_handing_off()
    handoff = world.a1.take("handoff")
    world.b1.finish("receive", verdict="owned")
    world.a1.done(handoff, verdict="abandoned")
    shown = world.show(migration)
    assert shown["state"] == "cleaning" and "a person" in shown["waits_for"]
    world.a1.poll_once()
    assert all(s["kind"] != "clean-source" for s in world.a1.known.values())


def test_clean_and_abort_are_repeated_until_done(world):
    migration, _ = world.to_cleaning()
    for attempt in (1, 2):
        step = world.a1.take("clean-source")
        world.a1.failed(step, "unreachable", "storage is away")
        shown = world.show(migration)
        assert shown["state"] == "cleaning"
        assert f"attempt {attempt + 1}" in shown["waits_for"]
        assert "storage is away" in shown["waits_for"]
        world.coordinator.query("UPDATE step SET not_before = now() WHERE state = 'queued'")
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"


# ---- cancel in each state

def test_cancel_while_queued_ends_at_once(world):
    world.coordinator.query("UPDATE host SET last_seen = now() - interval '1 h' "
                            "WHERE name = 'b1'")
    blocked = world.api.post("/v1/migrations", world.request(), expect=409)
    assert [b["code"] for b in blocked["blockers"]] == ["host-lost"]
    world.b1.report()
    for number in range(4):
        world.a1.add_vm(f"busy{number}", disks=0)
    world.a1.report()
    for number in range(4):
        world.create(vm=f"busy{number}")
    waiting = world.create()
    shown = world.show(waiting)
    assert shown["state"] == "queued" and "a1 takes part in 4" in shown["waits_for"]
    assert shown["phase"] == "waiting"
    world.cancel(waiting)
    assert world.state(waiting) == "cancelled"
    assert world.show(waiting)["steps"] == []


def test_a_queued_migration_starts_when_its_turn_comes(world):
    for number in range(4):
        world.a1.add_vm(f"busy{number}", disks=0)
    world.a1.report()
    busy = [world.create(vm=f"busy{number}") for number in range(4)]
    waiting = world.create()
    assert world.state(waiting) == "queued"
    world.cancel(busy[0])
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    world.wait_state(waiting, "preparing", world.a1, world.b1)


def test_cancel_while_preparing(world):
    migration = world.create()
    prepare = world.b1.take("prepare")
    world.cancel(migration)
    assert world.state(migration) == "aborting"
    world.b1.wait_cancel(prepare)
    world.b1.done(prepare)  # late: it is superseded
    assert world.state(migration) == "aborting"
    world.finish_abort(migration, "cancelled")
    assert world.show(migration)["error"] is None
    assert world.leftovers() == []
    world.cancel(migration)  # again: nothing more to do


def test_cancel_while_transferring(world):
    migration = world.to_transferring()
    transfer = world.a1.take("transfer")
    world.cancel(migration)
    world.cancel(migration)
    world.a1.wait_cancel(transfer)
    world.a1.failed(transfer, "cancelled")
    world.finish_abort(migration, "cancelled")


def test_cancel_in_the_handoff_goes_to_its_step_and_the_verdict_decides(world):
    migration = world.to_handing_off()
    handoff = world.a1.take("handoff")
    world.cancel(migration)
    assert world.state(migration) == "handing_off"
    world.a1.wait_cancel(handoff)
    world.a1.failed(handoff, "cancelled", verdict="abandoned")
    assert world.state(migration) == "aborting"
    world.finish_abort(migration, "cancelled")


def test_cancel_in_the_handoff_that_comes_too_late_succeeds(world):
    migration = world.to_handing_off()
    handoff = world.a1.take("handoff")
    world.cancel(migration)
    world.a1.done(handoff, verdict="owned")
    world.b1.done(world.b1.take("receive"), verdict="owned")
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"


def test_cancel_after_the_commit_is_refused(world):
    migration, _ = world.to_cleaning()
    problem = world.cancel(migration, expect=409)
    assert "cannot be cancelled any more" in problem["detail"]
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    world.cancel(migration, expect=409)
    assert world.state(migration) == "succeeded"


def test_cancel_while_aborting_after_a_failure_stays_a_failure(world):
    migration = world.to_transferring()
    world.a1.failed(world.a1.take("transfer"), "no-space")
    world.cancel(migration)
    world.finish_abort(migration, "failed")


# ---- duplicates, strangers

def test_results_sent_twice_change_nothing_more(world):
    migration = world.create()
    prepare = world.b1.take("prepare")
    for _ in range(3):
        world.b1.done(prepare)
    assert world.state(migration) == "transferring"
    world.b1.failed(prepare, "internal")
    assert world.state(migration) == "transferring"
    assert [s["kind"] for s in world.show(migration)["steps"]] == ["prepare", "transfer"]


def test_results_sent_at_the_same_time_are_applied_once(world):
    migration = world.to_transferring()
    transfer = world.a1.take("transfer")
    threads = [threading.Thread(target=world.a1.done, args=(transfer,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.show(migration)["epoch"] == 1
    kinds = [s["kind"] for s in world.show(migration)["steps"]]
    assert sorted(kinds) == ["handoff", "prepare", "receive", "transfer"]


def test_a_host_cannot_answer_the_steps_of_another(world):
    migration = world.create()
    prepare = world.b1.take("prepare")
    world.a1.done(prepare)
    world.a1.send(results=[{"step": str(uuid.uuid4()), "is_done": True}])
    assert world.state(migration) == "preparing"


def test_a_step_is_delivered_until_it_is_known(world):
    world.create()
    step = world.b1.take("prepare")
    world.b1.known.clear()
    assert world.b1.take("prepare") == step
    states = world.coordinator.query("SELECT state FROM step")
    world.b1.poll_once()
    assert (states, world.coordinator.query("SELECT state FROM step")) == \
        ([["queued"]], [["running"]])


def test_a_parked_poll_returns_as_soon_as_there_is_a_step(world):
    got = {}

    def poll():
        began = time.monotonic()
        while not world.b1.poll_once()["steps"]:
            began = time.monotonic()
        got["waited"] = time.monotonic() - began
    thread = threading.Thread(target=poll)
    thread.start()
    time.sleep(0.5)
    created = time.monotonic()
    world.create()
    thread.join(10)
    assert time.monotonic() - created < 1.5 and got


# ---- coordinators that die, and several at once

@pytest.mark.parametrize("point", ["report.received", "report.applied"])
def test_a_report_whose_answer_was_lost_is_sent_again_and_counts_once(world, point):
    migration = world.to_transferring()
    transfer = world.a1.take("transfer")
    world.coordinator.set_failpoint(point, "kill")
    with pytest.raises(OSError):
        world.a1.done(transfer)
    world.coordinator.clear_failpoint(point)
    world.coordinator.kill()
    world.coordinator.start()
    world.a1.done(transfer)
    shown = world.show(migration)
    assert (shown["state"], shown["epoch"]) == ("handing_off", 1)
    assert len(shown["steps"]) == 4


def test_two_coordinators_share_the_work(world, postgres, tmp_path):
    first = world.coordinator
    second = Coordinator(tmp_path / "second", postgres, host_lost_after_s=5,
                         database=first.configuration["database"],
                         state_directory=str(first.state_directory))
    second.state_directory = first.state_directory
    second.write_configuration()
    second.start()
    try:
        world.b1.api = world.b1.identity.api(second)
        waiting = threading.Thread(target=world.b1.take, args=("prepare",))
        waiting.start()
        time.sleep(0.3)
        migration = world.create()
        waiting.join(10)
        world.b1.finish("prepare")
        first.kill()
        world.a1.api = world.a1.identity.api(second)
        world.a1.finish("transfer")
        world.a1.finish("handoff", verdict="owned")
        world.b1.finish("receive", verdict="owned")
        world.a1.finish("clean-source")
        world.b1.finish("clean-destination")
        first.start()
        assert world.state(migration) == "succeeded"
    finally:
        second.kill()


# ---- hosts that go away

def test_a_destination_lost_while_transferring_ends_failed_and_keeps_its_abort(world):
    migration = world.to_transferring()
    world.b1.ledger(migration, ("receiver", "/run/x.sock", False))
    transfer = world.a1.take("transfer")
    world.wait_state(migration, "aborting", world.a1)
    world.a1.wait_cancel(transfer)
    world.a1.finish("abort-source")
    world.wait_state(migration, "failed", world.a1)
    ended = world.show(migration)
    assert ended["error"]["code"] == "unreachable"
    kinds = {left["kind"] for left in world.leftovers()}
    assert kinds == {"vdi", "domain", "receiver"}
    # it comes back, and is asked to clean up before the VM may come again
    world.b1.send()
    problem = world.api.post("/v1/migrations", world.request(), expect=409)
    assert [b["code"] for b in problem["blockers"]] == ["host-not-clean"]
    step = world.b1.take("abort-destination")
    world.b1.ledger(migration, ("receiver", "/run/x.sock", True))
    world.b1.done(step)
    assert world.leftovers() == []
    assert world.state(migration) == "failed"
    world.create()


def test_a_lost_source_is_waited_for_and_named(world):
    migration = world.to_transferring()
    deadline = time.monotonic() + 20
    while "a1 (source)" not in (world.show(migration)["waits_for"] or ""):
        world.b1.send()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert world.state(migration) == "transferring"
    world.a1.send()
    assert world.show(migration)["waits_for"] is None


def test_a_destination_lost_in_the_handoff_decides_nothing(world):
    migration = world.to_handing_off()
    end = time.monotonic() + 8
    while time.monotonic() < end:
        world.a1.send()
        time.sleep(0.2)
    assert world.state(migration) == "handing_off"
    assert "b1 (destination)" in world.show(migration)["waits_for"]


def test_silence_while_the_coordinator_was_away_loses_nobody(world):
    migration = world.to_transferring()
    world.coordinator.kill()
    world.coordinator.query("UPDATE host SET last_seen = now() - interval '1 h'")
    world.coordinator.start()
    time.sleep(2)
    assert world.state(migration) == "transferring"
    world.b1.send()
    world.a1.send()
    world.a1.finish("transfer")
    assert world.state(migration) == "handing_off"


# ---- ledger

def test_planned_and_reported_entries_are_one(world):
    migration = world.create()
    spec = world.b1.take("prepare")["spec"]
    references = [f"{d['destination']['sr']}/{d['destination']['vdi']}" for d in spec["disks"]]
    count = "SELECT count(*) FROM ledger WHERE NOT is_removed"
    assert world.coordinator.query(count) == [["3"]]
    world.b1.ledger(migration, *[("vdi", reference, False) for reference in references],
                    ("domain", spec["domain"], False))
    assert world.coordinator.query(count) == [["3"]]
    assert world.leftovers() == [], "it has not ended"
    newer = world.b1.ledger(migration, ("vdi", references[0], True))
    world.b1.send(ledger=[dict(newer[0], sequence=1, is_removed=False)])
    assert world.coordinator.query(count) == [["2"]]


def test_entries_of_an_unknown_migration_are_left_over(world):
    stranger = str(uuid.uuid4())
    world.b1.ledger(stranger, ("vdi", "somewhere/something", False))
    left = world.leftovers()
    assert [(entry["migration"], entry["host_name"], entry["kind"], entry["reference"])
            for entry in left] == [(stranger, "b1", "vdi", "somewhere/something")]


def test_a_reported_entry_stays_left_over_until_its_host_says_that_it_is_gone(world):
    migration = world.to_transferring()
    world.b1.ledger(migration, ("memory-file", "/dev/shm/x", False))
    world.cancel(migration)
    world.finish_abort(migration, "cancelled")
    assert [left["kind"] for left in world.leftovers()] == ["memory-file"]
    world.b1.ledger(migration, ("memory-file", "/dev/shm/x", True))
    assert world.leftovers() == []


# ---- progress

def test_progress_is_shown_and_only_the_source_can_report_it(world):
    migration = world.to_transferring()
    progress = {"migration": migration, "phase": "copying", "waits_for": "the peer",
                "longest_stall_ms": 7,
                "memory": {"total_bytes": 5, "sent_bytes": 3, "dirty_bytes_per_s": 1,
                           "iteration": 2},
                "disks": [{"index": 1, "total_bytes": 4 * GIB, "copied_bytes": 123, "eta_s": 9,
                           "is_mirrored": True}]}
    world.b1.send(progress=[dict(progress, phase="stalled")])
    assert world.show(migration)["phase"] == "waiting"
    world.a1.send(progress=[dict(progress, phase="stalled"), progress])
    shown = world.show(migration)
    assert shown["phase"] == "copying" and shown["waits_for"] == "the peer"
    assert shown["longest_stall_ms"] == 7 and shown["memory"]["sent_bytes"] == 3
    first, second = shown["disks"]
    assert (first["copied_bytes"], first["eta_s"], first["total_bytes"]) == (0, None, 4 * GIB)
    assert (second["copied_bytes"], second["eta_s"], second["is_mirrored"]) == (123, 9, True)
