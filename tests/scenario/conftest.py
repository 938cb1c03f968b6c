"""Two pools with one host each, made once for all scenario tests; each test boots its own guest."""
import itertools

import pytest

from crosspool_test.cluster import Cluster

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def installation():
    cluster = Cluster({"A": ["a1"], "B": ["b1"]}, tag="cps",
                      coordinator_options={"host_lost_after_s": 4})
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
