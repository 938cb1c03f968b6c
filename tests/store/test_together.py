"""Polls and results of many hosts at the same moment: they share transactions, and nobody gets, or
spoils, or waits for, what is another's."""
import concurrent.futures
import contextlib
import subprocess
import uuid

import pytest

from crosspool_test import shell
from crosspool_test.fake_host import FakeHost

PAIRS = 5
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'" \
    " AND application_name <> 'psql' AND datname = current_database()"


class World:
    """Pairs of hosts, of which each source has a VM that is on its way to its destination."""

    def __init__(self, coordinator, admin, tmp_path):
        self.coordinator, self.api = coordinator, admin
        for pool in ("A", "B"):
            admin.post("/v1/pools", {"name": pool})
        self.sources = [self.host(tmp_path, "A", f"a{i}") for i in range(PAIRS)]
        self.destinations = [self.host(tmp_path, "B", f"b{i}") for i in range(PAIRS)]
        self.migrations = []
        for i, (source, destination) in enumerate(zip(self.sources, self.destinations)):
            source.add_vm(f"g{i}")
            source.report()
            destination.report()
            self.migrations.append(self.create(i))

    def host(self, tmp_path, pool, name):
        return FakeHost(self.coordinator, self.api, tmp_path / name, pool, name)

    def create(self, i):
        mapping = {"networks": {"lan-a": "lan-b"}, "srs": {f"local-a{i}": f"local-b{i}"}}
        return self.api.post("/v1/migrations", {
            "vm": f"g{i}", "destination": {"pool": "B", "host": f"b{i}"}, "mapping": mapping},
            expect=202)["id"]

    def state(self, i):
        return self.api.get(f"/v1/migrations/{self.migrations[i]}")["state"]

    def states(self):
        return [self.state(i) for i in range(PAIRS)]

    @contextlib.contextmanager
    def holding(self, sql):
        """A session of somebody else that has done this and not committed."""
        with subprocess.Popen(
                [self.coordinator.postgres.binaries / "psql", "-X", "-q", "-A", "-t", "-d",
                 self.coordinator.configuration["database"]],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
            session.stdin.write(f"BEGIN; {sql}; SELECT 'held';\n")
            session.stdin.flush()
            for line in session.stdout:
                if line.strip() == "held":
                    break
            try:
                yield
            finally:
                session.stdin.write("ROLLBACK;\n")
                session.stdin.close()
                session.wait(20)

    def wait_until_waiting(self):
        shell.wait_for("a statement that waits for a lock",
                       lambda: self.coordinator.query(WAITING) != [["0"]])

    @contextlib.contextmanager
    def waiting(self, sql, call):
        """The call waits for what somebody else has locked by this, and is done afterwards."""
        with concurrent.futures.ThreadPoolExecutor() as threads:
            with self.holding(sql):
                held = threads.submit(call)
                self.wait_until_waiting()
                yield
                assert not held.done()
            held.result(30)

    def at_once(self, *calls):
        """The first one has to wait for a lock, so the others come while it is at work; their answers,
        or what they raised."""
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as threads:
            with self.holding("LOCK TABLE step IN ACCESS EXCLUSIVE MODE"):
                running = [threads.submit(calls[0])]
                self.wait_until_waiting()
                running += [threads.submit(call) for call in calls[1:]]
                # each stands in the line; none of them can be seen from outside
                concurrent.futures.wait(running, timeout=1)
                assert not any(one.done() for one in running)
            return [one.exception(30) or one.result() for one in running]


@pytest.fixture
def world(coordinator, admin, tmp_path):
    return World(coordinator, admin, tmp_path)


def transactions_of(world, kind):
    return int(world.coordinator.query(
        f"SELECT count(DISTINCT xmin::text) FROM step WHERE kind = '{kind}'")[0][0])


def prepared(world):
    return [host.take("prepare") for host in world.destinations]


def test_results_that_come_at_the_same_moment_share_a_transaction(world):
    steps = prepared(world)
    said = world.at_once(*(lambda host=host, step=step: host.done(step)
                           for host, step in zip(world.destinations, steps)))
    assert said == [None] * PAIRS
    assert world.states() == ["transferring"] * PAIRS
    assert transactions_of(world, "transfer") <= 2, "the first alone, the others together"
    for source in world.sources:
        assert source.take("transfer")["spec"]["source"]["id"] == source.id


def test_what_one_result_fails_with_is_its_own(world):
    """The database does not take what the second one leads to."""
    steps = prepared(world)
    world.coordinator.query("ALTER TABLE step ADD CONSTRAINT refused CHECK (kind <> 'transfer'"
                            f" OR migration_id <> '{world.migrations[1]}')")
    calls = [lambda: world.destinations[0].done(steps[0]),
             lambda: world.destinations[1].done(steps[1]),
             lambda: world.destinations[2].failed(steps[2], "no-space"),
             lambda: world.destinations[3].done({"id": str(uuid.uuid4())}),
             lambda: world.destinations[4].done(steps[3])]  # of b3
    said = world.at_once(*calls)
    assert "report of b1: 400" in str(said[1]) and "refused" in str(said[1]), said
    assert said[:1] + said[2:] == [None] * 4
    assert world.states() == ["transferring", "preparing", "aborting", "preparing", "preparing"]
    world.coordinator.query("ALTER TABLE step DROP CONSTRAINT refused")
    world.destinations[1].done(steps[1])
    world.destinations[3].done(steps[3])
    world.destinations[4].done(steps[4])
    assert world.states() == ["transferring", "transferring", "aborting", "transferring",
                              "transferring"]


def test_both_ends_of_a_migration_at_the_same_moment(world):
    steps = prepared(world)
    for i in range(2):
        world.destinations[i].done(steps[i])
        world.sources[i].finish("transfer")
    handoffs = [world.sources[i].take("handoff") for i in range(2)]
    receives = [world.destinations[i].take("receive") for i in range(2)]
    said = world.at_once(
        lambda: world.destinations[2].done(steps[2]),
        lambda: world.sources[0].done(handoffs[0], verdict="owned", pause_us=1000),
        lambda: world.destinations[0].done(receives[0], verdict="owned"),
        lambda: world.destinations[1].done(receives[1], verdict="owned"),
        lambda: world.sources[1].done(handoffs[1], verdict="owned", pause_us=2000))
    assert said == [None] * 5
    assert world.states()[:3] == ["cleaning", "cleaning", "transferring"]
    shown = world.api.get(f"/v1/migrations/{world.migrations[1]}")
    assert shown["pause_us"] == 2000
    for i in range(2):
        for conclude in [step for step in world.sources[i].known.values()
                         if step["kind"] == "conclude"]:
            world.sources[i].done(conclude)
        assert world.sources[i].finish("clean-source")["verdict"] == "owned"
        world.destinations[i].finish("clean-destination")
        assert world.state(i) == "succeeded"


def test_a_result_waits_for_its_own_migration_alone(world):
    steps = prepared(world)
    with world.waiting(f"SELECT FROM migration WHERE id = '{world.migrations[0]}' FOR UPDATE",
                       lambda: world.destinations[0].done(steps[0])):
        for i in range(1, PAIRS):
            world.destinations[i].done(steps[i])
        assert world.states() == ["preparing"] + ["transferring"] * (PAIRS - 1)
    assert world.state(0) == "transferring"


def test_results_do_not_wait_for_what_one_of_them_has_to_lock(world):
    """The first handoff is to move a VM whose row somebody has locked."""
    steps = prepared(world)
    world.destinations[0].done(steps[0])
    world.sources[0].finish("transfer")
    handoff = world.sources[0].take("handoff")
    vm = world.api.get("/v1/vms?name=g0")["items"][0]["id"]
    with world.waiting(f"SELECT FROM vm WHERE id = '{vm}' FOR UPDATE",
                       lambda: world.sources[0].done(handoff, verdict="owned")):
        for i in range(1, PAIRS):
            world.destinations[i].done(steps[i])
        assert world.states() == ["handing_off"] + ["transferring"] * (PAIRS - 1)
    assert world.state(0) == "cleaning"


def test_a_result_waits_for_an_inventory_of_its_own_host_alone(world):
    """It is left out if it was begun before, so it must not be under way."""
    steps = prepared(world)
    world.destinations[0].generation += 1
    with world.waiting(f"SELECT FROM host WHERE id = '{world.destinations[0].id}' FOR UPDATE",
                       lambda: world.destinations[0].done(steps[0])):
        for i in range(1, PAIRS):
            world.destinations[i].done(steps[i])
        assert world.state(0) == "preparing"
    assert world.states() == ["transferring"] * PAIRS
    generation, = world.coordinator.query(
        f"SELECT inventory_generation FROM host WHERE id = '{world.destinations[0].id}'")
    assert generation == [str(world.destinations[0].generation)]


def test_polls_at_the_same_moment_get_what_is_their_own(world):
    """A poll that names another host's step as known neither claims nor hides it."""
    foreign = world.coordinator.query("SELECT s.id FROM step s JOIN host h ON h.id = s.host_id"
                                      " WHERE h.name = 'b2'")[0][0]
    world.destinations[1].known[foreign] = {"kind": "prepare"}
    answers = world.at_once(*(host.poll_once for host in world.destinations))
    for host, answer, migration in zip(world.destinations, answers, world.migrations):
        step, = answer["steps"]
        assert (step["kind"], step["spec"]["migration"]) == ("prepare", migration)
        assert step["spec"]["destination"]["id"] == host.id
    assert world.coordinator.query("SELECT DISTINCT state FROM step") == [["queued"]]


def test_settings_and_cancels_reach_the_host_that_they_are_for(world):
    steps = prepared(world)
    for host, step in zip(world.destinations, steps):
        host.done(step)
    for source in world.sources:
        source.take("transfer")
    world.api.post(f"/v1/migrations/{world.migrations[1]}/pause", expect=202)
    world.api.post(f"/v1/migrations/{world.migrations[2]}/cancel", expect=202)
    world.at_once(world.sources[1].poll_once, world.sources[2].poll_once)
    assert world.sources[1].settings[world.migrations[1]]["is_copy_paused"] is True
    assert list(world.sources[1].settings) == [world.migrations[1]]
    assert world.migrations[1] not in world.sources[2].settings
    assert len(world.sources[2].cancelling) == 1 and not world.sources[1].cancelling
