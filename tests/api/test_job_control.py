"""Control of migrations: priority and queue, pause, bandwidth, the moment of the switch-over, retries,
stalls, transfer networks; by the real coordinator with hosts played by the test."""
import datetime
import threading
import time

import pytest

from crosspool_test import shell
from crosspool_test.contract import Contract
from crosspool_test.fake_host import GIB

from test_migration import World


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


def control(world, migration, verb, expect=202):
    return world.api.post(f"/v1/migrations/{migration}/{verb}", expect=expect)


def change(world, migration, expect=200, **members):
    answer = world.api.request("PATCH", f"/v1/migrations/{migration}", members)
    assert answer.status == expect, answer.text
    return answer.json()


def at(seconds):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def to_transferring(world, **more):
    migration = world.create(**more)
    world.b1.finish("prepare")
    return migration


# ---- what a request may say

@pytest.mark.parametrize("members, where", [
    ({"priority": 101}, "/priority"), ({"priority": "high"}, "/priority"),
    ({"retries": -1}, "/retries"), ({"stall_timeout_s": 1}, "/stall_timeout_s"),
    ({"switchover": "later"}, "/switchover"), ({"switchover": {}}, "/switchover"),
    ({"switchover": {"not_before": "tomorrow"}}, "/switchover: /not_before"),
    ({"switchover": {"not_after": at(-60)}}, "/switchover: /not_after"),
    ({"switchover": {"not_before": at(60), "not_after": at(30)}}, "/switchover: /not_after"),
    ({"network": ""}, "/network"),
])
def test_a_wrong_policy_is_refused_and_nothing_is_made(world, members, where):
    answer = world.api.request("POST", "/v1/migrations", world.request(**members))
    assert answer.status == 400 and where in answer.json()["detail"], answer.text
    assert world.api.get("/v1/migrations")["items"] == []


def test_a_policy_is_shown(world):
    migration = world.create(priority=7, retries=3, stall_timeout_s=60,
                             bandwidth_bytes_per_s=1 << 20,
                             switchover={"not_before": at(3600)})
    shown = world.show(migration)
    for answer in (shown, control(world, migration, "pause"), change(world, migration, priority=7)):
        assert not Contract().wrong({"$ref": "#/components/schemas/Migration"}, answer)
    assert (shown["priority"], shown["retries"], shown["retries_used"]) == (7, 3, 0)
    assert (shown["stall_timeout_s"], shown["bandwidth_bytes_per_s"]) == (60, 1 << 20)
    assert shown["switchover"]["when"] == "window" and shown["switchover"]["not_after"] is None
    assert shown["is_copy_paused"] is False and shown["network"] is None
    assert shown["position"] is None


# ---- the queue

def fill_hosts(world, count=6):
    """As many VMs as two hosts take at once, and more: returns their migrations in order."""
    for number in range(count):
        world.a1.add_vm(f"q{number}", memory_bytes=GIB // 4)
    world.a1.report()
    return [world.create(vm=f"q{number}") for number in range(count)]


def test_the_queue_goes_by_priority_and_each_says_its_position(world):
    made = fill_hosts(world, 7)
    waiting = made[4:]
    shown = [world.show(migration) for migration in waiting]
    assert [one["state"] for one in shown] == ["queued"] * 3
    assert [one["position"] for one in shown] == [1, 2, 3]
    assert all(one["waits_for"] for one in shown)
    change(world, waiting[2], priority=5)
    assert [world.show(migration)["position"] for migration in waiting] == [2, 3, 1]
    world.cancel(made[0])
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    world.wait_state(waiting[2], "preparing", world.a1, world.b1)
    assert [world.state(migration) for migration in waiting[:2]] == ["queued"] * 2
    assert [world.show(migration)["position"] for migration in waiting[:2]] == [1, 2]


def test_a_higher_priority_takes_the_room_before_an_older_one(world):
    """Reservations follow the order of the queue: who stands before counts, who stands behind not."""
    made = fill_hosts(world, 5)
    world.b1.inventory["memory_free_bytes"] = 3 * GIB // 2  # for the four that run and one more
    world.b1.report()
    world.a1.add_vm("late", memory_bytes=GIB // 4)
    world.a1.report()
    late = world.create(vm="late", priority=9)
    world.cancel(made[0])
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    world.wait_state(late, "preparing", world.a1, world.b1)
    assert world.state(made[4]) == "queued"


def test_a_paused_one_in_the_queue_does_not_start_and_says_so(world):
    made = fill_hosts(world, 5)
    paused = control(world, made[4], "pause")
    assert "resume" in paused["waits_for"]
    world.cancel(made[0])
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    time.sleep(2.5)
    assert world.state(made[4]) == "queued"
    control(world, made[4], "resume")
    world.wait_state(made[4], "preparing", world.a1, world.b1)


# ---- changes

def test_what_cannot_be_changed_any_more_is_refused_whole(world):
    migration = to_transferring(world)
    problem = change(world, migration, expect=409, priority=3, retries=1)
    assert "only while it is queued" in problem["detail"]
    assert world.show(migration)["priority"] == 0
    assert change(world, migration, expect=400)["detail"].startswith("expected at least one")
    assert "/more" in change(world, migration, expect=400, more=1)["detail"]
    change(world, "11111111-2222-4333-8444-555555555555", expect=404, priority=1)
    world.a1.finish("transfer")
    problem = change(world, migration, expect=409, bandwidth_bytes_per_s=5)
    assert "its copy is over" in problem["detail"]
    control(world, migration, "pause", expect=409)
    control(world, migration, "switchover", expect=409)
    assert change(world, migration, priority=3)["priority"] == 3


def test_settings_come_to_the_source_once_and_grow(world):
    migration = to_transferring(world)
    world.a1.take("transfer")
    assert world.a1.settings == {}
    change(world, migration, bandwidth_bytes_per_s=4096)
    first = world.a1.wait_settings(migration, bandwidth_bytes_per_s=4096, is_copy_paused=False)
    control(world, migration, "pause")
    control(world, migration, "pause")
    second = world.a1.wait_settings(migration, is_copy_paused=True, bandwidth_bytes_per_s=4096)
    assert second["version"] == first["version"] + 1
    assert "resume" in world.show(migration)["waits_for"]
    del world.a1.settings[migration]  # its agent forgot them, or never heard: they come again
    assert world.a1.wait_settings(migration, is_copy_paused=True) == second
    control(world, migration, "resume")
    world.a1.wait_settings(migration, is_copy_paused=False)
    assert world.show(migration)["waits_for"] is None


def test_settings_wake_a_parked_poll(world):
    migration = to_transferring(world)
    world.a1.take("transfer")
    begin = time.monotonic()

    def later():
        time.sleep(0.3)
        control(world, migration, "pause")
    thread = threading.Thread(target=later)
    thread.start()
    world.a1.wait_settings(migration, is_copy_paused=True)
    thread.join()
    assert time.monotonic() - begin < 1.3


def test_an_agent_that_does_not_understand_settings_gets_none(world):
    world.a1.settings = None
    migration = to_transferring(world)
    world.a1.take("transfer")
    control(world, migration, "pause")
    assert "settings" not in world.a1.poll_once()


@pytest.mark.parametrize("takes", [None, False, True])
def test_only_an_agent_that_understands_a_trace_is_given_one(world, takes):
    world.a1.takes_traceparent = takes
    to_transferring(world)
    spec = world.a1.take("transfer")["spec"]
    assert ("traceparent" in spec) == (takes is True)


# ---- the switch-over

def test_a_manual_switch_over_waits_ready_and_goes_when_asked(world):
    migration = to_transferring(world, switchover="manual")
    world.a1.wait_settings(migration, is_switchover_held=True)
    world.a1.take("transfer")
    world.a1.progress(migration, "copying", 1)
    assert world.state(migration) == "transferring"
    world.a1.progress(migration, "mirrored", 2)
    shown = world.show(migration)
    assert (shown["state"], shown["phase"]) == ("ready", "mirrored")
    assert "/switchover" in shown["waits_for"]
    world.a1.progress(migration, "stalled", 2)
    assert world.state(migration) == "transferring"
    world.a1.progress(migration, "mirrored", 2, epoch=2)
    assert world.state(migration) == "ready"
    assert control(world, migration, "switchover")["switchover"]["is_requested"]
    world.a1.wait_settings(migration, is_switchover_held=False)
    assert world.state(migration) == "ready"
    world.a1.finish("transfer")
    assert world.state(migration) == "handing_off"
    world.b1.take("receive")


def test_a_switch_over_that_was_asked_for_early_is_not_held(world):
    migration = world.create(switchover="manual")
    control(world, migration, "switchover")
    world.b1.finish("prepare")
    world.a1.finish("transfer")
    assert world.state(migration) == "handing_off"


def test_a_transfer_that_ends_though_it_is_held_is_run_again(world):
    world.a1.settings = None
    migration = to_transferring(world, switchover="manual")
    world.a1.finish("transfer")
    assert world.state(migration) == "ready"
    control(world, migration, "switchover")
    world.a1.finish("transfer")
    assert world.state(migration) == "handing_off"


def test_a_ready_one_can_be_cancelled_and_loses_its_destination(world):
    for cause in ("cancel", "lost"):
        migration = to_transferring(world, switchover="manual")
        step = world.a1.take("transfer")
        world.a1.progress(migration, "mirrored", 2)
        assert world.state(migration) == "ready"
        if cause == "cancel":
            world.cancel(migration)
        else:
            world.wait_state(migration, "aborting", world.a1)
        world.a1.wait_cancel(step)
        world.a1.failed(step, "cancelled")
        world.finish_abort(migration, "cancelled" if cause == "cancel" else "failed")


def test_a_window_opens(world):
    migration = to_transferring(world, switchover={"not_before": at(3)})
    world.a1.wait_settings(migration, is_switchover_held=True)
    world.a1.take("transfer")
    world.a1.progress(migration, "mirrored", 2)
    assert "opens at" in world.show(migration)["waits_for"]
    world.a1.wait_settings(migration, is_switchover_held=False)
    world.a1.finish("transfer")
    assert world.state(migration) == "handing_off"


def test_a_window_that_closes_first_leaves_it_mirrored_and_says_so(world):
    migration = to_transferring(world, switchover={"not_after": at(2)})
    world.a1.take("transfer")
    world.a1.wait_settings(migration, is_switchover_held=True)
    world.a1.progress(migration, "mirrored", 2)
    shown = world.show(migration)
    assert shown["state"] == "ready" and "closed at" in shown["waits_for"]
    control(world, migration, "switchover")
    world.a1.wait_settings(migration, is_switchover_held=False)
    world.a1.finish("transfer")
    assert world.state(migration) == "handing_off"


# ---- retries

def fail_transfer(world, code="unreachable"):
    world.a1.failed(world.a1.take("transfer"), code)
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")


def test_a_failure_that_passes_starts_again_with_new_disks(world):
    migration = world.create(retries=1)
    first = world.b1.take("prepare")
    world.b1.done(first)
    fail_transfer(world)
    shown = world.show(migration)
    assert (shown["state"], shown["retries_used"], shown["error"]) == ("queued", 1, None)
    assert shown["waits_for"].startswith("retry 1 of 1, in 5 s: transfer:")
    world.wait_state(migration, "preparing", world.a1, world.b1)
    second = world.b1.take("prepare")
    assert second["spec"]["disks"][0]["destination"]["vdi"] != \
        first["spec"]["disks"][0]["destination"]["vdi"]
    world.b1.done(second)
    fail_transfer(world)
    ended = world.show(migration)
    assert ended["state"] == "failed" and ended["error"]["code"] == "unreachable"
    assert world.leftovers() == []


@pytest.mark.parametrize("code", ["no-space", "guest-ended", "invalid"])
def test_a_failure_that_lasts_is_not_tried_again(world, code):
    migration = to_transferring(world, retries=3)
    fail_transfer(world, code)
    assert world.state(migration) == "failed"


def test_a_retry_goes_all_the_way(world):
    migration = to_transferring(world, retries=1)
    fail_transfer(world)
    world.wait_state(migration, "preparing", world.a1, world.b1)
    world.b1.finish("prepare")
    world.a1.finish("transfer")
    step = world.a1.take("handoff")
    world.a1.done(step, verdict="owned", pause_us=1)
    world.b1.finish("receive", verdict="owned")
    world.move_domain(step["spec"])
    world.a1.finish("clean-source")
    world.b1.finish("clean-destination")
    assert world.state(migration) == "succeeded"


def test_a_cancel_during_the_abort_takes_the_retries(world):
    migration = to_transferring(world, retries=3)
    world.a1.failed(world.a1.take("transfer"), "unreachable")
    world.cancel(migration)
    world.a1.finish("abort-source")
    world.b1.finish("abort-destination")
    assert world.state(migration) == "failed"


@pytest.mark.long
def test_a_retry_waits_for_a_destination_that_is_away(world):
    migration = to_transferring(world, retries=1)
    world.wait_state(migration, "aborting", world.a1)
    world.a1.finish("abort-source")
    for _ in range(8):
        world.a1.send()
        time.sleep(1)
    shown = world.show(migration)
    assert shown["state"] == "aborting" and "b1" in shown["waits_for"]
    world.b1.finish("abort-destination")
    assert world.state(migration) == "queued"


# ---- stalls

@pytest.mark.long
def test_a_copy_that_does_not_move_is_aborted_and_says_so(world):
    migration = to_transferring(world, stall_timeout_s=5)
    for copied in range(4):
        world.a1.progress(migration, copied=copied)
        world.b1.send()
        time.sleep(2)
    assert world.state(migration) == "transferring"
    begin = time.monotonic()
    while world.state(migration) == "transferring":
        world.a1.progress(migration, copied=3)
        world.b1.send()
        assert time.monotonic() - begin < 20
        time.sleep(0.5)
    world.finish_abort(migration, "failed")
    error = world.show(migration)["error"]
    assert error == {"code": "timeout", "message": "the copy has not moved for 5 s"}


def test_a_paused_copy_does_not_stall(world):
    migration = to_transferring(world, stall_timeout_s=5)
    control(world, migration, "pause")
    for _ in range(8):
        world.a1.progress(migration)
        world.b1.send()
        time.sleep(1)
    assert world.state(migration) == "transferring"


# ---- transfer networks

def test_a_transfer_network_gives_the_addresses(world):
    world.a1.inventory["links"] = [{"name": "storage", "address": "10.9.0.1", "port": 7001}]
    world.b1.inventory["links"] = [{"name": "storage", "address": "10.9.0.2", "port": 7002}]
    world.a1.report()
    world.b1.report()
    migration = world.create(network="storage")
    spec = world.b1.take("prepare")["spec"]
    assert (spec["source"]["address"], spec["source"]["port"]) == ("10.9.0.1", 7001)
    assert (spec["destination"]["address"], spec["destination"]["port"]) == ("10.9.0.2", 7002)
    assert world.show(migration)["network"] == "storage"
    shell.wait_for("the links in the list", lambda: [
        host["links"] for host in world.api.get("/v1/hosts")["items"]].count([]) == 0)


def test_a_transfer_network_that_an_end_lacks_is_a_blocker(world):
    world.a1.inventory["links"] = [{"name": "storage", "address": "10.9.0.1", "port": 7001}]
    world.a1.report()
    answer = world.api.request("POST", "/v1/migrations", world.request(network="storage"))
    assert answer.status == 409, answer.text
    assert [(b["code"], b["object"]) for b in answer.json()["blockers"]] == [
        ("transfer-network-unknown", "host b1")]
