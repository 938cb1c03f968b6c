"""One PostgreSQL and one coordinator for the whole run."""
import pathlib
import shutil
import tempfile

import pytest

from crosspool_test.coordinator import Coordinator
from crosspool_test.postgres import Postgres


@pytest.fixture(scope="session")
def coordinator():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cpt-fuzz-", dir="/tmp"))
    directory.chmod(0o755)
    server = Postgres(directory)
    server.start()
    made = Coordinator(directory / "coordinator", server, host_lost_after_s=5,
                       webhooks={"allow_loopback": True},
                       limits={"requests_per_s": 100000, "request_burst": 1000000,
                               "failures_per_minute": 1000000, "failure_burst": 1000000})
    (directory / "coordinator").mkdir(exist_ok=True)
    made.init()
    made.start()
    yield made
    made.kill()
    server.remove()
    shutil.rmtree(directory, ignore_errors=True)
