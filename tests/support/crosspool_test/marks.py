"""A plugin of pytest: the marks of tests.
long   begins before the others, so that no worker is left alone with it at the end
full   belongs to the long form: only with CROSSPOOL_FULL=1"""
import os

import pytest


def full(*values):
    """A parameter of the long form."""
    return pytest.param(*values, marks=pytest.mark.full)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: begins before the others")
    config.addinivalue_line("markers", "full: only with CROSSPOOL_FULL=1")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if os.environ.get("CROSSPOOL_FULL") == "1":
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="long; CROSSPOOL_FULL=1 runs it"))
