"""A plugin of pytest: the marks of tests.
long   begins before the others, each at another worker as far as they go round, so that none is left
       alone with it at the end
full   belongs to the long form: only with CROSSPOOL_FULL=1"""
import os

import pytest


def full(*values):
    """A parameter of the long form."""
    return pytest.param(*values, marks=pytest.mark.full)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: begins before the others")
    config.addinivalue_line("markers", "full: only with CROSSPOOL_FULL=1")


def spread(items, workers):
    """The items with the long ones at the head of what each worker begins with: xdist 3.1 gives each of
    them a quarter of its share of the list in one piece."""
    piece = max(len(items) // workers // 4, 2)
    long_ones = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    ordered = []
    for worker in range(workers):
        mine = long_ones[worker::workers]
        count = max(piece - len(mine), 0)
        ordered += mine + others[:count]
        del others[:count]
    return ordered + others


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items[:] = spread(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))
    if os.environ.get("CROSSPOOL_FULL") == "1":
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="long; CROSSPOOL_FULL=1 runs it"))
