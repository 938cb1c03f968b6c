"""One test guest in a host of the lab (tests/guest/README.md), asked through its console there."""
import re
import shlex
import time
import types

from .place import LabError

ASK_LIMIT_S = 120


class XenGuest:
    def __init__(self, name, number, domain, host, disk_count):
        self.name = name
        self.number = number  # ends its MACs and addresses
        self.domain = domain
        self.disk_count = disk_count
        self.host = host  # where it runs

    def ask(self, command, limit_s=ASK_LIMIT_S):
        """The answer's line; an AssertionError when none comes."""
        words = f"/lab/guest/ask {self.name} {shlex.quote(command)} {limit_s}"
        try:
            return self.host.run(words, timeout=limit_s + 60).strip()
        except LabError as silent:
            raise AssertionError(f"guest {self.name}: {silent}") from silent

    def tell(self, command):
        """A command that has no answer."""
        self.host.run(f"printf '%s\\n' {shlex.quote(command)} "
                      f">$(xenstore-read /local/domain/$(xl domid {self.name})/console/tty)")

    @staticmethod
    def _numbers(text):
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}

    def status(self):
        return types.SimpleNamespace(**self._numbers(self.ask("status")))

    @property
    def gap_before_move_ms(self):
        """Longest write gap by the guest's clock, which stands still in the pause of a move."""
        return self.status().gap_ms

    def verify(self):
        """ok; how many sectors were compared, or what the guest said."""
        said = self.ask("verify", 2 * ASK_LIMIT_S)
        if not said.startswith("VERIFY ok"):
            return types.SimpleNamespace(ok=False, checked=0, text=said)
        return types.SimpleNamespace(ok=True, text=said, checked=self._numbers(said)["checked"])

    def assert_writes(self, limit_s=60):
        """It goes on writing, without errors."""
        before = self.status()
        deadline = time.monotonic() + limit_s
        while True:
            now = self.status()
            assert now.errors == 0, now
            if now.writes >= before.writes + 3:
                return
            assert time.monotonic() < deadline, f"guest {self.name} does not write: {now}"
