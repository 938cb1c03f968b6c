"""The fixtures of tests/store for the groups beside it. Its test modules and those of tests/api hold
helpers that all of them import."""
import importlib.util
import sys

from . import shell

TESTS = shell.ROOT / "tests"
NAMES = ("_server", "postgres", "installed", "coordinator", "module_coordinator", "module_admin", "admin",
         "host", "pair", "_validator", "answers_fit_the_contract")


def find_helpers():
    for folder in ("store", "api"):
        if str(TESTS / folder) not in sys.path:
            sys.path.append(str(TESTS / folder))


def load(names):
    """Puts the fixtures into a conftest's names."""
    find_helpers()
    spec = importlib.util.spec_from_file_location("store_conftest", TESTS / "store" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names.update({name: getattr(module, name) for name in NAMES})
