"""Two pools of three hosts each, with real agents; made once."""
import json

import pytest

from crosspool_test.cluster import Cluster


class Site(Cluster):
    """SRs have one name in each pool, so that one map does for every host."""

    def _add_agent(self, pool, host, number):
        super()._add_agent(pool, host, number)
        agent = self.agents[host]
        agent.kill()
        agent.sr_name = self.sr_name(pool)
        agent.configuration["srs"][0]["name"] = agent.sr_name
        agent.write_configuration()
        agent.start()

    @staticmethod
    def sr_name(pool):
        return f"local-{pool.lower()}"

    def pool_mapping(self, source, destination):
        return {"networks": {self.network_name(source): self.network_name(destination)},
                "srs": {self.sr_name(source): self.sr_name(destination)}}


@pytest.fixture(scope="session")
def site():
    cluster = Site({"A": ["a1", "a2", "a3"], "B": ["b1", "b2", "b3"]}, tag="cpe",
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
