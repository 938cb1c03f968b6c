"""A plugin of pytest: tests marked `long` begin first, so that no worker is left alone with one at
the end."""
import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "long: begins before the others")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
