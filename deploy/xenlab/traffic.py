"""What the lab's networks see of guests; for a process in them."""
import re
import signal
import socket
import struct
import subprocess
import threading
import time

from . import network

PING_INTERVAL_S = 0.2
SUBNETS = ("lan", "back")  # of a guest's VIFs, in their order
ETH_P_ALL = 3  # what a bridge takes is seen by no other kind of listener
ETH_P_ARP = b"\x08\x06"


def address(guest, vif=0):
    return f"{network.SUBNETS[SUBNETS[vif]]}.{guest.number}"


def mac(guest, vif=0):
    return f"00:16:3e:78:{vif:02x}:{guest.number:02x}"


class Ping:
    """From outside, five times a second, until `end`."""

    def __init__(self, guest, vif=0):
        self.process = subprocess.Popen(
            ["ping", "-n", "-i", str(PING_INTERVAL_S), address(guest, vif)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self):
        """(sent, received)."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=20)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        assert found, f"ping said: {said[-300:]}"
        return int(found[1]), int(found[2])


def answers(guest, vif=0, timeout=60):
    """It answers pings, now or soon."""
    deadline = time.monotonic() + timeout
    command = ["ping", "-n", "-c", "1", "-W", "2", address(guest, vif)]
    while subprocess.run(command, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            return False
    return True


class Announcements:
    """Gratuitous ARPs of a guest's VIF that come out of one host, while open."""

    def __init__(self, host, guest, vif=0):
        self.mac = bytes.fromhex(mac(guest, vif).replace(":", ""))
        self.address = socket.inet_aton(address(guest, vif))
        self.count = 0
        self._is_ended = False
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((network.tap(host.name, SUBNETS[vif]), ETH_P_ALL))
        self._socket.settimeout(0.2)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _is_one(self, frame):
        """RFC 826; gratuitous: it asks for, or tells of, the sender's own address."""
        if len(frame) < 42 or frame[12:14] != ETH_P_ARP:
            return False
        sender_mac, sender, _, target = struct.unpack_from("!6s4s6s4s", frame, 22)
        return sender_mac == self.mac and sender == target == self.address

    def _listen(self):
        while not self._is_ended:
            try:
                self.count += self._is_one(self._socket.recv(2048))
            except TimeoutError:
                continue

    def wait(self, timeout=30):
        deadline = time.monotonic() + timeout
        while not self.count and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.count

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_ended = True
        self._thread.join()
        self._socket.close()
