"""A QMP client that is as small as the scripted peers need."""
import json
import socket
import time

from crosspool_test import shell


class QmpError(AssertionError):
    """QEMU said no, or went away."""


class Qmp:
    def __init__(self, path, timeout=20):
        self.events = []
        self.pending = b""
        self.socket = socket.socket(socket.AF_UNIX)

        def connects():
            try:
                self.socket.connect(str(path))
                return True
            except OSError:
                return False
        shell.wait_for(f"QMP at {path}", connects, timeout, 0.005)
        self._message(timeout)
        self.command("qmp_capabilities")

    def close(self):
        self.socket.close()

    def _message(self, timeout):
        self.socket.settimeout(max(timeout, 0.001))
        while b"\n" not in self.pending:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise QmpError("QEMU closed its monitor")
            self.pending += piece
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    def command(self, name, timeout=60, **arguments):
        words = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.socket.sendall(json.dumps({"execute": name, "arguments": words}).encode() + b"\n")
        while True:
            message = self._message(timeout)
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(f"{name}: {message['error']['desc']}")
            else:
                return message["return"]

    def wait(self, event, timeout=120, **data):
        """The first event of this name with this data; earlier ones count."""
        deadline = time.monotonic() + timeout
        while True:
            for message in self.events:
                if message["event"] == event and data.items() <= message.get("data", {}).items():
                    self.events.remove(message)
                    return message
            self.events.append(self._message(deadline - time.monotonic()))
