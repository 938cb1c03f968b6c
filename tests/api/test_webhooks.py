"""Webhooks against an independent receiver: signed, in order, at least once, given up in the end."""
import shutil
import time

import pytest

from crosspool_test import shell
from crosspool_test.contract import Contract
from crosspool_test.coordinator import Coordinator
from crosspool_test.events import Receiver
from crosspool_test.marks import full

from test_http import problem

CONTRACT = Contract()
SECRET = "a-secret-of-the-test"


@pytest.fixture
def coordinator(installed, request):
    """The parameter: after how many seconds it gives up."""
    installed.configuration["webhooks"] = {"allow_loopback": True,
                                           "give_up_after_s": getattr(request, "param", 600)}
    installed.write_configuration()
    installed.start()
    return installed


@pytest.fixture
def receive():
    made = []

    def start(**options):
        made.append(Receiver(Coordinator.free_port(), **{"secret": SECRET, **options}))
        return made[-1]
    yield start
    for receiver in made:
        receiver.close()
        assert not receiver.wrong, "wrong signatures"


def make(admin, url, **more):
    return admin.post("/v1/webhooks", {"name": "hook", "url": url, "secret": SECRET, **more})


def deliveries(admin, state=None):
    query = f"?state={state}" if state else ""
    return admin.get(f"/v1/webhooks/hook/deliveries{query}")["items"]


def add_pools(coordinator, count, prefix="p"):
    coordinator.query(f"INSERT INTO pool (name) SELECT '{prefix}' || n"
                      f" FROM generate_series(1, {count}) AS n")


def test_events_arrive_signed_and_in_order(coordinator, admin, receive):
    receiver = receive()
    make(admin, receiver.url)
    add_pools(coordinator, 30)
    shell.wait_for("all of them", lambda: len(receiver.calls) == 30, 30)
    assert [body["sequence"] for _, _, body, _ in receiver.calls] == list(range(1, 31))
    assert all(str(body["sequence"]) == event and body["kind"] == kind == "pool.created"
               for event, kind, body, _ in receiver.calls)
    shell.wait_for("that to be recorded",
                   lambda: len(deliveries(admin, "delivered")) == 30, 30)
    assert not CONTRACT.wrong({"$ref": "#/components/schemas/WebhookDeliveryPage"},
                              admin.get("/v1/webhooks/hook/deliveries?limit=3"))


def test_the_secret_is_shown_once_and_never_again(coordinator, admin, receive):
    receiver = receive(secret=None)
    made = admin.post("/v1/webhooks", {"name": "hook", "url": receiver.url})
    assert made["secret"].startswith("cpw_") and len(made["secret"]) == 68
    receiver.secret = made["secret"]
    admin.post("/v1/webhooks/hook/test", expect=202)
    shell.wait_for("the call", lambda: receiver.calls, 30)
    shown = admin.request("GET", "/v1/webhooks").text + admin.request(
        "GET", "/v1/webhooks/hook").text + admin.request(
        "GET", "/v1/webhooks/hook/deliveries").text
    assert made["secret"] not in shown
    assert made["secret"] not in coordinator.log.read_text()
    assert receiver.url not in coordinator.log.read_text()


def test_filters_choose(coordinator, admin, receive):
    receiver = receive()
    make(admin, receiver.url, kinds=["mapping_set.created", "pool.created"], resource="pools")
    coordinator.query("INSERT INTO mapping_set (name, mapping) VALUES ('m', '{}')")
    add_pools(coordinator, 1)
    coordinator.query("UPDATE pool SET name = 'other'")
    shell.wait_for("the one", lambda: receiver.calls, 30)
    time.sleep(1.5)
    assert [kind for _, kind, _, _ in receiver.calls] == ["pool.created"]


def test_a_test_call_tells_that_it_works(coordinator, admin, receive):
    receiver = receive()
    make(admin, receiver.url, kinds=["vm.gone"])
    made = admin.post("/v1/webhooks/hook/test", expect=202)
    assert not CONTRACT.wrong({"$ref": "#/components/schemas/WebhookDelivery"}, made)
    shell.wait_for("the call", lambda: receiver.calls, 30)
    event, kind, body, delivery = receiver.calls[0]
    assert (event, kind, delivery) == (made["id"], "webhook.test", made["id"])
    assert body["body"] == {"name": "hook"} and body["sequence"] is None
    shell.wait_for("that to be recorded", lambda: deliveries(admin)[0]["state"] == "delivered", 30)
    assert deliveries(admin)[0]["status"] == 204


def test_a_receiver_that_is_away_gets_all_in_order_later(coordinator, admin, receive):
    receiver = receive(answers=lambda event, count: 503 if count < 2 and event == "1" else 200)
    make(admin, receiver.url)
    add_pools(coordinator, 5)
    shell.wait_for("all of them", lambda: len(receiver.calls) == 7, 30)
    assert [event for event, _, _, _ in receiver.calls] == ["1", "1", "1", "2", "3", "4", "5"]
    assert len({call[3] for call in receiver.calls}) == 5, "a repeated delivery keeps its id"


@pytest.mark.parametrize("coordinator", [6], indirect=True)
def test_what_is_refused_lets_the_others_pass_and_is_dead_in_the_end(coordinator, admin, receive):
    refused = {"2"}
    receiver = receive(answers=lambda event, count: 400 if event in refused else 200)
    make(admin, receiver.url)
    add_pools(coordinator, 3)
    shell.wait_for("the dead one", lambda: deliveries(admin, "dead"), 40)
    assert receiver.accepted() == ["1", "2", "3"]
    dead = deliveries(admin, "dead")[0]
    assert dead["sequence"] == 2 and dead["status"] == 400 and dead["attempts"] >= 3
    assert "400" in dead["error"]
    assert admin.get("/v1/webhooks/hook")["dead"] == 1
    refused.clear()
    path = f"/v1/webhooks/hook/deliveries/{dead['id']}/retry"
    assert admin.post(path, expect=202)["state"] == "pending"
    shell.wait_for("it to be delivered", lambda: not deliveries(admin, "dead") and
                   len(deliveries(admin, "delivered")) == 3, 30)
    problem(admin.request("POST", path), 409, "conflict")
    problem(admin.request("POST", path.replace(dead["id"], "x")), 404, "not-found")


@pytest.mark.parametrize("coordinator", [6], indirect=True)
def test_a_receiver_that_never_answers_makes_all_of_them_dead(coordinator, admin):
    make(admin, f"http://127.0.0.1:{Coordinator.free_port()}/")
    add_pools(coordinator, 3)
    shell.wait_for("all to be dead", lambda: len(deliveries(admin, "dead")) == 3, 40)
    assert "no answer" in deliveries(admin, "dead")[0]["error"]


def test_redirects_are_not_followed(coordinator, admin, receive):
    receiver = receive(answers=lambda event, count: 307)
    make(admin, receiver.url)
    add_pools(coordinator, 1)
    shell.wait_for("the call", lambda: receiver.calls, 30)
    shell.wait_for("its record", lambda: deliveries(admin)[0]["status"] == 307, 30)
    assert deliveries(admin)[0]["state"] == "pending"
    assert len(receiver.calls) == deliveries(admin)[0]["attempts"]


@pytest.mark.long
@pytest.mark.parametrize("point", ["webhook.send", full("webhook.sent")])
def test_a_coordinator_killed_in_a_delivery_delivers_at_least_once(coordinator, admin, receive,
                                                                   point):
    receiver = receive()
    make(admin, receiver.url)
    coordinator.set_failpoint(point, "kill")
    add_pools(coordinator, 4)
    coordinator.process.wait(15)
    assert len(receiver.calls) == (point == "webhook.sent")
    coordinator.clear_failpoint(point)
    coordinator.start()
    shell.wait_for("all of them", lambda: receiver.accepted() == ["1", "2", "3", "4"], 60)
    assert len(receiver.calls) == 4 + (point == "webhook.sent")


def test_two_coordinators_share_the_work_without_doubling_it(coordinator, admin, receive, postgres,
                                                              tmp_path):
    second = Coordinator(tmp_path / "second", postgres, **{
        "database": coordinator.configuration["database"],
        "webhooks": {"allow_loopback": True}})
    shutil.copytree(coordinator.state_directory, second.state_directory)
    second.write_configuration()
    second.start()
    receiver = receive()
    make(admin, receiver.url)
    for number in range(10):
        add_pools(coordinator, 10, f"p{number}-")
    shell.wait_for("all of them", lambda: len(receiver.calls) >= 100, 30)
    time.sleep(1)
    second.kill()
    assert [body["sequence"] for _, _, body, _ in receiver.calls] == list(range(1, 101))


def test_a_webhook_is_shown_changed_and_removed(coordinator, admin, receive):
    receiver = receive()
    made = make(admin, "http://127.0.0.1:1/", is_enabled=False)
    problem(admin.request("POST", "/v1/webhooks/hook/test"), 409, "conflict")
    problem(admin.request("POST", "/v1/webhooks", {"name": "hook", "url": receiver.url}), 409,
            "conflict")
    add_pools(coordinator, 1, "before")
    time.sleep(1.5)
    changed = admin.put(f"/v1/webhooks/{made['id']}", {"name": "hook", "url": receiver.url})
    assert changed["is_enabled"] and changed["url"] == receiver.url and "secret" not in changed
    add_pools(coordinator, 1, "after")
    shell.wait_for("the call", lambda: receiver.calls, 30)
    assert receiver.calls[0][2]["body"] == {"name": "after1"}
    admin.delete("/v1/webhooks/hook", expect=204)
    problem(admin.request("GET", "/v1/webhooks/hook"), 404, "not-found")
    assert coordinator.query("SELECT count(*) FROM webhook_delivery") == [["0"]]


@pytest.mark.parametrize("change, where", [
    ({"url": "http://example.org/"}, "/url"), ({"url": "https://a:b@example.org/"}, "/url"),
    ({"url": "https://169.254.169.254/"}, "/url"), ({"secret": "short"}, "/secret"),
    ({"secret": "with spaces in it and long"}, "/secret"), ({"kinds": ["vm.stat"]}, "/kinds/0"),
    ({"resource": "vm"}, "/resource"), ({"more": 1}, "/more"), ({"name": "a b"}, "name"),
])
def test_a_wrong_webhook_is_refused_and_says_where(module_admin, change, where):
    answer = module_admin.request("POST", "/v1/webhooks",
                           {"name": "hook", "url": "https://example.org/", **change})
    assert where in problem(answer, 400, "invalid")["detail"]
    assert module_admin.get("/v1/webhooks")["items"] == []


def test_only_an_administrator_sees_webhooks(coordinator, admin):
    operator = coordinator.api(coordinator.make_token("operator", "operator"))
    problem(operator.request("GET", "/v1/webhooks"), 403, "refused")


def test_this_machine_is_no_receiver_unless_configured(installed, receive):
    installed.start()
    admin = installed.api(installed.admin_token)
    for url in ("http://127.0.0.1/", "https://localhost/", "https://127.0.0.1:8443/"):
        answer = admin.request("POST", "/v1/webhooks", {"name": "hook", "url": url})
        assert "/url" in problem(answer, 400, "invalid")["detail"]
