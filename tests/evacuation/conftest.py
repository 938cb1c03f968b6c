"""Two pools of three hosts each, with real agents; made once."""
import json

import pytest

from crosspool_test.cluster import Cluster


@pytest.fixture(scope="session")
def site():
    cluster = Cluster({"A": ["a1", "a2", "a3"], "B": ["b1", "b2", "b3"]}, tag="cpe", alike=True,
                      coordinator_options={"host_lost_after_s": 15})
    try:
        yield cluster.up()
    finally:
        cluster.down()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the daemons said last."""
    outcome = yield
    report = outcome.get_result()
    site = item.funcargs.get("site") if hasattr(item, "funcargs") else None
    if report.failed and site is not None:
        for title, process in [("coordinator", site.coordinator), *site.agents.items()]:
            report.sections.append((f"log of {title}", process.tail(25)))
        try:
            found = site.api.get("/v1/evacuations?limit=2")["items"]
            found += site.api.get("/v1/migrations?limit=8")["items"]
        except (OSError, AssertionError) as away:
            found = [repr(away)]
        report.sections.append(("evacuations and migrations",
                                "\n".join(json.dumps(one)[:2000] for one in found)))
