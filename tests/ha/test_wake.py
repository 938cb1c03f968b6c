"""Wake-ups between coordinators: few for many changes, and nothing depends on them."""
import statistics
import threading
import time

from crosspool_test import shell

from player import make_pair

NOTICES = "crosspool_notices_total"
STATEMENTS = "crosspool_notify_statements_total"
HEARD = "crosspool_notifications_total"


def cut_listeners(centre):
    """LISTEN is refused from now on, and who listens is disconnected."""
    for coordinator in centre.coordinators:
        coordinator.set_failpoint("database.listen", "error the test wants it so")
    centre.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()")
    for coordinator in centre.coordinators:
        shell.wait_for("the listener to be cut", lambda c=coordinator: centre.metric(
            c, "crosspool_listener_up") == 0, 20)


def test_a_burst_of_changes_is_few_notifications(centre):
    """Reports of many hosts at once at one coordinator; the other hears of all of them in few."""
    first, second = centre.coordinators
    vms = [f"g{number}" for number in range(4)]
    a1, b1 = make_pair(centre, [first], vms)
    migrations = [centre.create(vm, a1, b1) for vm in vms]
    deadline = time.monotonic() + 20
    while len(b1.known) < len(vms) and time.monotonic() < deadline:
        b1.poll_once()
    before = [centre.metric(c, name) for c, name in
              ((first, NOTICES), (first, STATEMENTS), (second, HEARD))]
    # each of these 4 results is a transaction that wakes a1
    b1.send(results=[{"step": step, "is_done": True} for step in b1.known])
    assert all(centre.show(m)["state"] == "transferring" for m in migrations)
    shell.wait_for("the other coordinator to hear",
                   lambda: centre.metric(second, HEARD) > before[2], 10)
    time.sleep(0.2)
    after = [centre.metric(c, name) for c, name in
             ((first, NOTICES), (first, STATEMENTS), (second, HEARD))]
    notices, statements, heard = (new - old for new, old in zip(after, before))
    assert 1 <= notices <= 4 and heard <= notices
    assert 1 <= statements <= notices


def test_what_wakes_stays_bounded_under_load(centre):
    """Changes without a pause from several threads: at most one NOTIFY each 5 ms."""
    first, second = centre.coordinators
    vms = [f"g{number}" for number in range(40)]
    a1, b1 = make_pair(centre, [first], vms)
    for vm in vms[:4]:
        centre.create(vm, a1, b1)
    before = [centre.metric(first, STATEMENTS), centre.metric(second, HEARD)]
    begin = time.monotonic()
    writers = [threading.Thread(target=notify_much, args=(centre, first), daemon=True)
               for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    seconds = time.monotonic() - begin
    statements = centre.metric(first, STATEMENTS) - before[0]
    assert statements <= seconds / 0.005 + 2
    assert centre.metric(second, HEARD) - before[1] <= centre.metric(first, NOTICES)


def notify_much(centre, coordinator):
    """Cancels and what they supersede, again and again: each wakes two hosts."""
    api = coordinator.api(centre.token)
    for migration in api.get("/v1/migrations?state=active")["items"]:
        api.request("POST", f"/v1/migrations/{migration['id']}/cancel", {})


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
    assert done and done[0] - answered < 0.5
    assert centre.metric(first, HEARD) > heard
