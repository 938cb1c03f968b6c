"""The fixtures of tests/store, and two pools with a host each."""
import importlib.util
import sys

import pytest

from crosspool_test import shell

STORE = shell.ROOT / "tests" / "store"
sys.path.append(str(STORE))  # its test modules hold helpers


def _load(path):
    spec = importlib.util.spec_from_file_location("store_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_store = _load(STORE / "conftest.py")
_server, postgres, installed = _store._server, _store.postgres, _store.installed
coordinator, admin, host = _store.coordinator, _store.admin, _store.host


@pytest.fixture
def world(coordinator, admin, tmp_path):
    """Pools A and B with the hosts a1 and b1; a1 runs the VM g1."""
    from test_migration import World
    return World(coordinator, admin, tmp_path)
