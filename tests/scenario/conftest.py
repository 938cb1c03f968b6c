"""Two pools with one host each, made once for all scenario tests of a pytest worker; each test boots
its own guest."""
import itertools
import json
import os

import pytest

from crosspool_test.cluster import Cluster

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def installation():
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    cluster = Cluster({"A": ["a1"], "B": ["b1"]}, tag=f"cps{worker}",
                      coordinator_options={"host_lost_after_s": 8})
    try:
        yield cluster.up()
    finally:
        cluster.down()


@pytest.fixture
def cluster(installation):
    """The installation, whole again: every process of it runs, nothing is left of earlier tests."""
    installation.restore()
    yield installation
    installation.remove_guests()


@pytest.fixture
def name():
    return f"g{next(numbers)}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the daemons said last."""
    outcome = yield
    report = outcome.get_result()
    cluster = item.funcargs.get("cluster") if hasattr(item, "funcargs") else None
    if report.failed and cluster is not None:
        for title, process in [("coordinator", cluster.coordinator), *cluster.agents.items()]:
            report.sections.append((f"log of {title}", process.tail(25)))
        try:
            moves = cluster.api.get("/v1/migrations?limit=3")["items"]
        except (OSError, AssertionError) as away:
            moves = [repr(away)]
        report.sections.append(("last migrations", "\n".join(json.dumps(m)[:3000] for m in moves)))
