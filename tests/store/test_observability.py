"""What the coordinator tells of itself: metrics, the rules and the board made of them, readiness,
logs and traces."""
import json
import re
import subprocess

import pytest
import yaml

from crosspool_test import shell
from crosspool_test.coordinator import PROGRAM
from crosspool_test.fake_host import FakeHost
from test_http import problem

ALERTS = shell.ROOT / "deploy" / "prometheus" / "alerts.yml"
BOARD = shell.ROOT / "deploy" / "grafana" / "crosspool.json"
NAME = re.compile(r"\bcrosspool_\w+")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def hosts(coordinator, admin, tmp_path):
    for pool in ("A", "B"):
        admin.post("/v1/pools", {"name": pool})
    a1 = FakeHost(coordinator, admin, tmp_path / "a1", "A", "a1")
    b1 = FakeHost(coordinator, admin, tmp_path / "b1", "B", "b1")
    a1.add_vm("g1")
    a1.report()
    b1.report()
    return a1, b1


BODY = {"vm": "g1", "destination": {"pool": "B", "host": "b1"},
        "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}}}


def samples(text):
    """{name: [(labels as text, value)]}; each sample belongs to the # TYPE above it."""
    found, family = {}, None
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
            found.setdefault(family, [])
        elif not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            assert name == family or name in [family + end for end in ("_bucket", "_sum", "_count")]
            found.setdefault(name, []).append((labels or "", float(value)))
    return found


def move(admin, a1, b1):
    migration = admin.post("/v1/migrations", BODY)["id"]
    b1.finish("prepare")
    a1.send(progress=[{"migration": migration, "phase": "copying", "disks": [
        {"index": 0, "total_bytes": 4096, "copied_bytes": 3000, "zero_bytes": 1000}]}])
    a1.send(progress=[{"migration": migration, "phase": "copying", "disks": [
        {"index": 0, "total_bytes": 4096, "copied_bytes": 4096, "zero_bytes": 1000}]}])
    a1.finish("transfer")
    a1.finish("handoff", verdict="owned", pause_us=30000)
    b1.finish("receive", verdict="owned")
    a1.finish("clean-source")
    b1.finish("clean-destination")
    return migration


def test_metrics_tell_what_was_done(admin, hosts):
    move(admin, *hosts)
    found = samples(admin.get("/metrics"))
    assert ('kind="transfer",outcome="done"', 1) in found["crosspool_step_results_total"]
    assert found["crosspool_copied_bytes_total"] == [("", 3096)]
    assert found["crosspool_pause_seconds_count"] == [("", 1)]
    assert found["crosspool_pause_seconds_sum"] == [("", 0.03)]
    assert ('le="0.025"', 0) in found["crosspool_pause_seconds_bucket"]
    assert ('le="0.05"', 1) in found["crosspool_pause_seconds_bucket"]
    assert ('le="+Inf"', 1) in found["crosspool_pause_seconds_bucket"]
    assert ('state="succeeded"', 1) in found["crosspool_migrations"]
    assert found["crosspool_listener_up"] == [("", 1)]


def test_a_result_that_comes_twice_counts_once(admin, hosts):
    _, b1 = hosts
    admin.post("/v1/migrations", BODY)
    step = b1.take("prepare")
    b1.done(step)
    b1.done(step)
    found = samples(admin.get("/metrics"))
    assert ('kind="prepare",outcome="done"', 1) in found["crosspool_step_results_total"]


def test_metrics_tell_what_waits(coordinator, admin, hosts):
    a1, _ = hosts
    vms = ["g1"] + [a1.add_vm(f"x{number}")["name"] for number in range(4)]
    a1.report()
    for vm in vms:  # one more than a host takes part in
        admin.post("/v1/migrations", {**BODY, "vm": vm})
    coordinator.query("UPDATE step SET not_before = now() - interval '100 s'")
    coordinator.query("UPDATE migration SET created_at = now() - interval '50 s'")
    found = samples(admin.get("/metrics"))
    assert ('kind="prepare",state="queued"', 4) in found["crosspool_steps"]
    assert 99 < found["crosspool_step_oldest_undelivered_seconds"][0][1] < 160
    assert found["crosspool_queue_length"] == [("", 1)]
    assert 49 < found["crosspool_queue_oldest_seconds"][0][1] < 110


def test_durations_are_histograms_with_bounded_labels(admin, hosts):
    for number in range(30):
        admin.request("GET", f"/v1/vms/{number}")
        admin.request("GET", f"/no/such/{number}")
    buckets = samples(admin.get("/metrics"))["crosspool_http_request_duration_seconds_bucket"]
    labels = {re.sub(r',le="[^"]*"', "", text) for text, _ in buckets}
    assert 'method="GET",route="/v1/vms/{id}",status="4xx"' in labels
    assert 'method="",route="",status="4xx"' in labels
    assert len(labels) < 20
    of_vm = [value for text, value in buckets if "/v1/vms/{id}" in text]
    assert of_vm == sorted(of_vm) and of_vm[-1] == 30


def test_promtool_has_nothing_to_say(admin, hosts):
    move(admin, *hosts)
    text = admin.get("/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shell.run("promtool", "check", "rules", ALERTS)


def test_rules_and_board_name_only_what_is_exported(admin, hosts):
    move(admin, *hosts)
    exported = set(samples(admin.get("/metrics")))
    rules = [rule["expr"] for group in yaml.safe_load(ALERTS.read_text())["groups"]
             for rule in group["rules"]]
    board = json.loads(BOARD.read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for text in rules + shown for name in NAME.findall(text)}
    assert named - exported == set()
    assert len(rules) > 8 and len(shown) > 12
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported}
    assert {re.sub(r"_bucket$", "", name) for name in named} >= families, "something is never shown"


# ---- readiness

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now)
{
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, now);
    if (id == CLOCK_REALTIME)
        now->tv_sec += 30;
    return result;
}
"""


def test_a_clock_that_is_off_makes_it_not_ready(installed, tmp_path):
    (tmp_path / "clock.c").write_text(CLOCK)
    shell.run("cc", "-shared", "-fPIC", "-o", tmp_path / "clock.so", tmp_path / "clock.c", "-ldl")
    installed.launch(PROGRAM, "run", "--config", installed.config_path,
                     LD_PRELOAD=str(tmp_path / "clock.so"))
    api = installed.api(None)

    def answer():
        try:
            return api.request("GET", "/readyz")
        except OSError:
            return None
    said = problem(shell.wait_for("an answer", answer, 20), 503, "unreachable")["detail"]
    assert re.search(r"clock is (29|30)\.\d s behind this coordinator's", said), said


def test_a_database_without_writes_makes_it_not_ready(coordinator, admin):
    database = coordinator.query("SELECT current_database()")[0][0]
    coordinator.query(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    coordinator.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                      " WHERE datname = current_database() AND pid <> pg_backend_pid()")
    shell.wait_for("not ready", lambda: admin.request("GET", "/readyz").status == 503, 10)


# ---- logs and traces

def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def test_a_trace_is_passed_on_to_the_steps_and_the_log(coordinator, admin, hosts):
    a1, b1 = hosts
    answer = admin.request("POST", "/v1/migrations", BODY, {"traceparent": TRACEPARENT})
    migration = answer.json()["id"]
    given = b1.take("prepare")["spec"]["traceparent"]
    assert given.split("-")[1] == TRACE and given.split("-")[2] != TRACEPARENT.split("-")[2]
    b1.finish("prepare")
    assert a1.take("transfer")["spec"]["traceparent"] == given
    said = lines(coordinator.log)
    moved = [line for line in said if line.get("migration") == migration]
    assert len(moved) >= 2 and {line["trace"] for line in moved} == {TRACE}
    assert moved[-1]["host"] == b1.id, "who caused it stays"
    access = [line for line in said if line["text"].startswith("POST /v1/migrations ")]
    assert access[-1]["trace"] == TRACE
    assert access[-1]["request"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("given", ["", "nothing", TRACEPARENT.upper(), TRACEPARENT + "-more",
                                   TRACEPARENT.replace(TRACE, "0" * 32), "x" * 3000])
def test_a_malformed_trace_is_replaced(admin, hosts, given):
    answer = admin.request("POST", "/v1/migrations", BODY, {"traceparent": given})
    assert answer.status == 202
    made = hosts[1].take("prepare")["spec"]["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", made) and TRACE not in made
