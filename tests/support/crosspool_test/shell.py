"""Commands, waiting, and paths of this checkout and its build."""
import os
import pathlib
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("CROSSPOOL_BUILD", ROOT / "build" / "debug"))
NODE_MODULES = ROOT / "build" / "node"  # what tests/package-lock.json names


def run(*command, check=True, timeout=120, **options):
    """stdout of the command; an AssertionError with its stderr when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=timeout, check=False, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}: "
                             f"{(done.stderr or done.stdout).strip()}")
    return done.stdout


def end_processes_below(directory, programs):
    """SIGKILL for each process of these programs that has a file below the directory among its
    arguments. A process whose program was built anew meanwhile counts too."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            program = os.readlink(entry / "exe").removesuffix(" (deleted)")
            arguments = (entry / "cmdline").read_bytes()
            if pathlib.Path(program).name in programs and f"{directory}/".encode() in arguments:
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def wait_for(what, condition, timeout=60, interval=0.05):
    """The first true value of condition(); AssertionError naming `what` after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(interval)
