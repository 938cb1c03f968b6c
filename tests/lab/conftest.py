"""Two emulated Xen hosts with agents in pools A and B, booted once for all tests (deploy/lab). The
second one lacks CPU features of the first, so a guest that moves both ways begins there.

CROSSPOOL_FULL=1 runs the tests marked `full` too. CROSSPOOL_LAB_KEEP=1 takes the lab that runs, if
one does, and leaves it running."""
import itertools
import json
import os

import pytest

from xenlab.cluster import XenCluster, runs
from xenlab.place import LabError

WEAK, MISSING = "xh2", "-cx16,-sse3"
names = itertools.count(1)
notes = []  # figures, told at the end
# Linux 6.1 loses 1 MiB for each VIF at each move (netfront's buffers), also when xl moves it; without
# memory it panics.
LEAST_FREE_KB = 8 << 10


@pytest.fixture
def note(request):
    """Keeps a line for the end of the run."""
    return lambda text: notes.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(terminalreporter):
    for line in notes:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def installation():
    cluster = XenCluster()
    is_kept = os.environ.get("CROSSPOOL_LAB_KEEP") == "1"
    if not (is_kept and runs()):
        cluster.down()
    try:
        yield cluster.up("--cpu", f"{WEAK}={MISSING}")
    finally:
        if not is_kept:
            cluster.down()


@pytest.fixture
def cluster(installation):
    """The lab, whole again: agents run, nothing is held or cut."""
    installation.restore()
    return installation


def is_well(cluster, guest):
    try:
        cluster.follow(guest, cluster.wait_one_home(guest, 5))
        guest.assert_writes()
        return guest.status().free_kb >= LEAST_FREE_KB and not cluster.leftovers()
    except (AssertionError, LabError):
        return False


@pytest.fixture
def guest(cluster):
    """A small PVH guest with a raw and a qcow2 disk, full of random data, and a VIF on each
    network; it goes from test to test, wherever it is, until one does it harm."""
    shared = getattr(cluster, "shared_guest", None)
    if shared is None or shared not in cluster.guests or not is_well(cluster, shared):
        cluster.remove_guests()
        shared = cluster.shared_guest = cluster.boot(
            WEAK, f"g{next(names)}", disks=(("raw", 8), ("qcow2", 8)), is_full=True, memory_mib=96)
    return shared


@pytest.fixture
def own_name(cluster):
    """For the one guest of a test that wants another one; all guests go before and after."""
    cluster.remove_guests()
    yield f"o{next(names)}"
    cluster.restore()
    cluster.remove_guests()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the agents said last."""
    outcome = yield
    report = outcome.get_result()
    cluster = item.funcargs.get("installation") if hasattr(item, "funcargs") else None
    if not report.failed or cluster is None:
        return
    for agent in cluster.agents.values():
        report.sections.append((f"agent {agent.name}", agent.tail(30)))
    try:
        moves = cluster.api.get("/v1/migrations?limit=2")["items"]
    except (OSError, AssertionError) as away:
        moves = [repr(away)]
    report.sections.append(("last migrations", "\n".join(json.dumps(m)[:3000] for m in moves)))
