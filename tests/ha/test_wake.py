"""Wake-ups between coordinators: few for many changes, and nothing depends on them."""
import statistics
import threading
import time

from crosspool_test import shell

from player import Player, make_pair

NOTICES = "crosspool_notices_total"
STATEMENTS = "crosspool_notify_statements_total"
HEARD = 'crosspool_notifications_total{channel="host_steps"}'


def cut_listeners(centre):
    """LISTEN is refused from now on, and who listens is disconnected."""
    for coordinator in centre.coordinators:
        coordinator.set_failpoint("database.listen", "error the test wants it so")
    centre.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE application_name = 'crosspool-coordinator listener'")
    for coordinator in centre.coordinators:
        shell.wait_for("the listener to be cut", lambda c=coordinator: centre.metric(
            c, "crosspool_listener_up") == 0, 20)


def take_all(host, count):
    """Polls until it knows so many steps."""
    shell.wait_for(f"{count} steps of {host.name}",
                   lambda: host.poll_once() and len(host.known) == count, 20)


def test_a_burst_of_changes_is_few_notifications(centre):
    """Many hosts report at once at one coordinator; the other hears of all of it in few wake-ups."""
    first, second = centre.coordinators
    a1, b1 = make_pair(centre, [first], [f"g{number}" for number in range(4)])
    sources = [a1] + [Player(centre, [first], "A", f"a{number}") for number in range(2, 9)]
    targets = [b1] + [Player(centre, [first], "B", f"b{number}") for number in range(2, 9)]
    for number, source in enumerate(sources[1:]):
        for vm in range(4):
            source.add_vm(f"x{number}-{vm}")
    for host in sources + targets:
        host.report()
    for source, target in zip(sources, targets):
        for domain in source.inventory["domains"]:
            centre.create(domain["name"], source, target)
        take_all(target, 4)

    def counts():
        return [centre.metric(first, NOTICES), centre.metric(first, STATEMENTS),
                centre.metric(second, HEARD)]

    def settled():
        now = counts()
        time.sleep(0.3)
        return now if counts() == now else None
    before = shell.wait_for("nothing more to tell", settled, 20)
    begin = time.monotonic()
    reports = [threading.Thread(target=target.send, kwargs={
        "results": [{"step": step, "is_done": True} for step in target.known]})
        for target in targets]
    for report in reports:
        report.start()
    for report in reports:
        report.join(30)
    assert centre.query("SELECT count(*) FROM migration WHERE state = 'transferring'") == [["32"]]
    shell.wait_for("the other coordinator to hear", lambda: counts()[2] - before[2] >= 8, 10)
    after = shell.wait_for("nothing more to tell", settled, 20)
    seconds = time.monotonic() - begin
    notices, statements, heard = (new - old for new, old in zip(after, before))
    # 32 transactions, each of which wakes one of 8 hosts and tells of one migration
    assert 8 <= heard <= 32 and notices > heard
    assert 1 <= statements <= min(notices, seconds / 0.005 + 2)


def test_jobs_move_on_without_any_notification(centre):
    """Hosts poll one coordinator, requests go to the other, nobody can LISTEN."""
    first, second = centre.coordinators
    vms = [f"g{number}" for number in range(4)]
    a1, b1 = make_pair(centre, [first], vms)
    cut_listeners(centre)
    a1.start()
    b1.start()
    centre.api.apis.reverse()  # the other one is asked first
    begin = time.monotonic()
    migrations = {vm: centre.create(vm, a1, b1) for vm in vms}
    centre.check_moved(migrations, a1, b1)
    assert time.monotonic() - begin < 25, "less than one long poll"
    assert centre.metric(second, "crosspool_listener_up") == 0
    a1.stop()
    b1.stop()


def test_without_notifications_a_parked_poll_hears_within_a_sweep(centre):
    first, second = centre.coordinators
    a1, b1 = make_pair(centre, [first], ["g1"])
    cut_listeners(centre)
    waited = []
    for _ in range(3):
        heard = threading.Event()

        def poll():
            while not b1.poll_once()["steps"]:
                pass
            heard.set()
        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        shell.wait_for("the parked poll",
                       lambda: centre.metric(first, "crosspool_http_parked") == 1, 15)
        begin = time.monotonic()
        migration = second.api(centre.token).post("/v1/migrations", {
            "vm": "g1", "destination": {"pool": "B", "host": "b1"},
            "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}}})["id"]
        assert heard.wait(10)
        waited.append(time.monotonic() - begin)
        centre.api.post(f"/v1/migrations/{migration}/cancel", {})
        a1.finish("abort-source")
        b1.finish("abort-destination")
        b1.known.clear()
    assert statistics.median(waited) < 2, waited


def test_without_notifications_a_pause_is_heard_within_a_sweep(centre):
    first, second = centre.coordinators
    a1, b1 = make_pair(centre, [first], ["g1"])
    migration = centre.create("g1", a1, b1)
    b1.finish("prepare")
    a1.take("transfer")
    cut_listeners(centre)
    heard = threading.Event()

    def poll():
        while not a1.settings.get(migration, {}).get("is_copy_paused"):
            a1.poll_once()
        heard.set()
    threading.Thread(target=poll, daemon=True).start()
    shell.wait_for("the parked poll",
                   lambda: centre.metric(first, "crosspool_http_parked") == 1, 15)
    second.api(centre.token).post(f"/v1/migrations/{migration}/pause", {})
    assert heard.wait(3)


def test_with_notifications_it_hears_at_once(centre):
    """The same with LISTEN, so that the test above is known to have cut something."""
    first, second = centre.coordinators
    a1, b1 = make_pair(centre, [first], ["g1"])
    done = []

    def poll():
        while not b1.poll_once()["steps"]:
            pass
        done.append(time.monotonic())
    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    shell.wait_for("the parked poll",
                   lambda: centre.metric(first, "crosspool_http_parked") == 1, 15)
    heard = centre.metric(first, HEARD)
    second.api(centre.token).post("/v1/migrations", {
        "vm": "g1", "destination": {"pool": "B", "host": "b1"},
        "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}}})
    answered = time.monotonic()
    thread.join(10)
    assert done and done[0] - answered < 0.9
    assert centre.metric(first, HEARD) > heard
