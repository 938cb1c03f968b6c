"""The lab's coordinator and its PostgreSQL, outside the hosts: a process of its own that runs until
SIGTERM.   python3 -m xenlab.centre"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from crosspool_test import shell
from crosspool_test.api import Api
from crosspool_test.cluster import PROGRAMS
from crosspool_test.coordinator import Coordinator
from crosspool_test.postgres import Postgres

from . import network
from .place import LabError, NAMESPACE, RUN, SCRIPTS

# PostgreSQL's own user has to get there, whatever the checkout's rights
DIRECTORY = pathlib.Path("/var/tmp") / NAMESPACE
ANSWER = RUN / "centre.json"
LOG = RUN / "centre.log"
START_LIMIT_S = 60


class LabCoordinator(Coordinator):
    ADDRESS = network.OUTSIDE


def told():
    """What the running centre tells: pid, api, ca, token, endpoint (as in agent.json); None when
    none runs."""
    try:
        answer = json.loads(ANSWER.read_text())
        arguments = pathlib.Path(f"/proc/{answer['pid']}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return answer if b"xenlab.centre" in arguments else None


def api():
    """The REST client with an admin's token; for a process in the lab's network."""
    answer = told()
    if not answer:
        raise LabError("the lab's coordinator does not run")
    return Api(answer["api"], answer["ca"], answer["token"])


def start():
    """Starts it if none runs; returns when the coordinator is ready."""
    if told():
        return
    stop()
    with open(LOG, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "xenlab.centre"], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True, cwd=SCRIPTS.parent)
    deadline = time.monotonic() + START_LIMIT_S
    while not told():
        if process.poll() is not None or time.monotonic() > deadline:
            said = LOG.read_text(errors="replace").splitlines()[-6:]
            raise LabError("the coordinator did not start: " + " | ".join(said))
        time.sleep(0.1)


def stop():
    """Ends it and what a killed one left."""
    answer = told()
    if answer:
        os.kill(answer["pid"], signal.SIGTERM)
        deadline = time.monotonic() + 30
        while told() and time.monotonic() < deadline:
            time.sleep(0.05)
    shell.end_processes_below(DIRECTORY, PROGRAMS)
    ANSWER.unlink(missing_ok=True)
    shutil.rmtree(DIRECTORY, ignore_errors=True)


def _serve(postgres, coordinator):
    postgres.start()
    coordinator.init()
    coordinator.start()
    answer = {"pid": os.getpid(), "api": coordinator.url(), "ca": str(coordinator.ca_path),
              "token": coordinator.make_token("lab", "admin"), "endpoint": {
                  "api": coordinator.url(), "agent": coordinator.agent_url()}}
    new = ANSWER.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(answer))
    new.rename(ANSWER)
    while not signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, 0.2):
        if not coordinator.is_running():  # somebody killed it to see what happens
            coordinator.start()
    coordinator.kill()
    postgres.stop()


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    network.enter()
    DIRECTORY.mkdir(mode=0o755)
    postgres = Postgres(DIRECTORY / "postgres", sockets=DIRECTORY / "sql")
    _serve(postgres, LabCoordinator(DIRECTORY / "coordinator", postgres))


if __name__ == "__main__":
    main()
