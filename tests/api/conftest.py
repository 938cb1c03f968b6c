"""The fixtures of tests/store."""
from crosspool_test.store_fixtures import load

load(globals())
