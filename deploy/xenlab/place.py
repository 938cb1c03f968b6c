"""Where the lab of this checkout keeps its things, what it is called on this machine, and how its
parts run programs and fail."""
import hashlib
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = pathlib.Path(__file__).resolve().parent
LAB = ROOT / "build" / "lab"
CACHE = LAB / "cache"
RUN = LAB / "run"
# each checkout has a network of its own, so labs of several checkouts do not meet
NAMESPACE = "cplab-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]

LONGEST_ROOT = 50  # a unix socket's path has 107 bytes at most, and ssh adds some to its own


class LabError(RuntimeError):
    """The lab cannot do what it was asked to; the text is for the user."""


def check_length():
    if len(str(ROOT)) > LONGEST_ROOT:
        raise LabError(f"the checkout's path {ROOT} is too long for unix sockets below it "
                       f"(more than {LONGEST_ROOT} characters)")


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, **options):
    """What the command printed, as bytes; a LabError with its complaint when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False,
                          **options)
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()
        raise LabError(f"{' '.join(str(word) for word in command[:3])}: {complaint[-800:]}")
    return done.stdout


def only(folder, pattern):
    """The one file that matches."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise LabError(f"{folder} holds {len(found)} files {pattern}, not one")
    return found[0]
