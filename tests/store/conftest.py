"""PostgreSQL once for all store tests; each coordinator has a database of its own."""
import pathlib
import shutil
import tempfile

import pytest

from crosspool_test.api import Api
from crosspool_test.coordinator import Coordinator
from crosspool_test.identity import Identity
from crosspool_test.postgres import Postgres
from crosspool_test.store_fixtures import find_helpers
from crosspool_test.validator import Validator

find_helpers()

LONG_POLL = {"host_lost_after_s": 86400}


@pytest.fixture(scope="session")
def _validator():
    validator = Validator()
    Api.observer = validator.see
    yield validator
    Api.observer = None
    validator.close()


@pytest.fixture(autouse=True)
def answers_fit_the_contract(_validator):
    """Every answer that a test sees, whatever the test looks at."""
    yield
    found = _validator.finish()
    assert found == [], found


@pytest.fixture(scope="session")
def _server():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cpt-store-", dir="/tmp"))
    directory.chmod(0o755)
    server = Postgres(directory)
    server.start()
    yield server
    server.remove()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def postgres(_server):
    """It runs when the test begins, whatever the one before did to it."""
    if not _server.is_running():
        _server.start()
    return _server


@pytest.fixture
def installed(postgres, tmp_path):
    """A coordinator after `init` and with an administrator's token, not running."""
    made = Coordinator(tmp_path / "coordinator", postgres, host_lost_after_s=5)
    made.init_with_admin()
    yield made
    made.kill()


@pytest.fixture
def coordinator(installed):
    installed.start()
    return installed


@pytest.fixture
def pair(postgres, tmp_path):
    """Two coordinators over one database, whose polls park for their 25 seconds."""
    first = Coordinator(tmp_path / "first", postgres, **LONG_POLL)
    first.init()
    second = Coordinator(tmp_path / "second", postgres,
                         database=first.configuration["database"], **LONG_POLL)
    shutil.copytree(first.state_directory, second.state_directory)
    second.write_configuration()
    first.start()
    second.start()
    yield first, second
    second.kill()
    first.kill()


@pytest.fixture(scope="module")
def module_coordinator(_server, tmp_path_factory):
    """One that all tests of a module share, which change nothing of what the others look at."""
    if not _server.is_running():
        _server.start()
    made = Coordinator(tmp_path_factory.mktemp("coordinator"), _server, host_lost_after_s=600)
    made.init_with_admin()
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def module_admin(module_coordinator):
    """For what is refused, and so changes nothing."""
    return module_coordinator.api(module_coordinator.admin_token)


@pytest.fixture
def admin(coordinator):
    return coordinator.api(coordinator.admin_token)


@pytest.fixture
def host(coordinator, admin, tmp_path):
    """An enrolled host: an Identity with its certificate."""
    admin.post("/v1/pools", {"name": "A"})
    identity = Identity(tmp_path / "host")
    identity.enrol(coordinator, admin.post("/v1/enrolments", {"pool": "A", "name": "a1"})["token"])
    return identity
