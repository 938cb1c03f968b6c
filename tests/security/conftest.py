"""The fixtures of tests/store, and two pools with a host each."""
import pytest

from crosspool_test.store_fixtures import load

load(globals())


@pytest.fixture
def world(coordinator, admin, tmp_path):
    """Pools A and B with the hosts a1 and b1; a1 runs the VM g1."""
    from test_migration import World
    return World(coordinator, admin, tmp_path)
