"""A primary and a standby, and two coordinators over them."""
import pathlib
import shutil
import tempfile

import pytest

from crosspool_test.postgres_pair import PostgresPair

from centre import Centre


@pytest.fixture(scope="session")
def _servers():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cpt-ha-", dir="/tmp"))
    directory.chmod(0o755)
    servers = PostgresPair(directory)
    servers.start()
    yield servers
    servers.remove()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def servers(_servers):
    """Both run when the test begins, whatever the one before did to them."""
    if not all(member.is_running() for member in _servers.members):
        _servers.rejoin()
    return _servers


@pytest.fixture
def centre(servers, tmp_path):
    made = Centre(servers, tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the coordinators said last."""
    outcome = yield
    report = outcome.get_result()
    made = item.funcargs.get("centre") if hasattr(item, "funcargs") else None
    if report.failed and made is not None:
        for number, coordinator in enumerate(made.coordinators, 1):
            report.sections.append((f"log of coordinator {number}", coordinator.tail(25)))
