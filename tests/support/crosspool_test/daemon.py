"""What a coordinator and an agent have in common as processes of a test: log, signals, failpoints."""
import os
import signal
import subprocess

from . import shell


class Daemon:
    """Below `directory`: its log and its failpoints. `title` names it in failures."""

    def __init__(self, title, directory, log_name):
        self.title = title
        self.process = None
        self.log = directory / log_name
        self.failpoints = directory / "failpoints"
        self.failpoints.mkdir(parents=True, exist_ok=True)

    def launch(self, *command, **environment):
        environment = dict(os.environ, CROSSPOOL_FAILPOINTS=str(self.failpoints), **environment)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, at any moment."""
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def stop(self, timeout=30):
        """SIGTERM; it must end by itself with 0."""
        if not self.is_running():
            return
        self.process.terminate()
        status = self.process.wait(timeout)
        assert status == 0, f"{self.title} ended with {status}: {self.tail()}"

    def restart(self):
        self.kill()
        self.start()

    def signal(self, number):
        os.kill(self.process.pid, number)

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def tail(self, lines=15):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def has_said(self, text):
        return text in self.log.read_text(errors="replace")

    # failpoints (base/failpoint.h)
    def set_failpoint(self, name, action):
        (self.failpoints / f"{name}.hit").unlink(missing_ok=True)
        (self.failpoints / name).write_text(action)

    def wait_failpoint(self, name, timeout=60):
        shell.wait_for(f"failpoint {name} of {self.title}",
                       (self.failpoints / f"{name}.hit").exists, timeout, 0.005)

    def clear_failpoint(self, name):
        (self.failpoints / name).unlink(missing_ok=True)
