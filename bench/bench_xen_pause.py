"""pause and total time of a move between real Xen hosts, against xl migrate over plain TCP"""
import os
import socket
import statistics
import sys
import threading
import time

import figures
from crosspool_test import shell

sys.path.insert(0, str(shell.ROOT / "deploy"))

from xenlab import network  # noqa: E402  (the path comes first)
from xenlab.cluster import XenCluster, runs  # noqa: E402
from xenlab.xen_agent import IMAGES  # noqa: E402

HOSTS = ("xh1", "xh2")
STREAM_PORT = 9999  # of xl migrate
TICK_MS = 10
RATE = 10  # writes a second to each disk
DISKS = [("raw", 16), ("qcow2", 16)]
NFS = "/srv/nfs"
MOVE_LIMIT_S = 600


class Ticks:
    """A guest's datagrams, on this machine's clock."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((network.OUTSIDE, 0))
        self.address = f"{network.OUTSIDE}:{self.socket.getsockname()[1]}"
        self.times = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while self.socket.recv(64):
            self.times.append(time.monotonic())

    def wait(self, count=100):
        """Until so many more have come."""
        until = len(self.times) + count
        shell.wait_for("ticks of the guest", lambda: len(self.times) >= until, 240)

    def longest_gap_ms(self, since):
        times = [at for at in list(self.times) if at >= since]
        return max(after - before for before, after in zip(times, times[1:])) * 1000


class Mover:
    """A guest and a way to move it to the other host."""

    def __init__(self, cluster, name, disks, directory):
        self.cluster, self.name, self.ticks = cluster, name, Ticks()
        self.at, self.away = HOSTS
        self.guest = cluster.boot(self.at, name, disks=disks, directory=directory, rate=RATE,
                                  bridges=["xenbr0"], tick=TICK_MS, tick_to=self.ticks.address)

    def rest(self):
        """Two guests that tick and write are more than an emulated processor can bear."""
        self.cluster.agents[self.at].host.run(f"xl pause {self.name}")

    def wake(self):
        self.cluster.agents[self.at].host.run(f"xl unpause {self.name}")

    def move(self):
        """(the pause as seen from outside in ms, the whole time in s)"""
        self.wake()
        self.ticks.wait()
        begun = time.monotonic()
        self.go()
        seconds = time.monotonic() - begun
        self.ticks.wait()
        self.at, self.away = self.away, self.at
        self.cluster.follow(self.guest, self.at)
        self.rest()
        return self.ticks.longest_gap_ms(begun), seconds

    def end(self):
        """What the guest says of its data."""
        self.wake()
        verdict = self.guest.verify()
        self.cluster.agents[self.at].host.run(f"xl destroy {self.name}")
        return verdict


class Crosspool(Mover):
    def go(self):
        ended = self.cluster.wait_end(self.cluster.migrate(self.name, self.at, self.away),
                                      MOVE_LIMIT_S)
        assert ended["state"] == "succeeded", ended


class Xl(Mover):
    def go(self):
        target = network.address("migration", HOSTS.index(self.away) + 1)
        self.cluster.agents[self.at].host.run(
            f"xl migrate -s '' {self.name} 'exec socat - TCP4:{target}:{STREAM_PORT}'",
            timeout=MOVE_LIMIT_S)
        # its console goes on in a file of the name that it had while it came
        self.cluster.agents[self.away].host.run(
            f"cd /var/log/xen/console && if [ -e guest-{self.name}--incoming.log ]; then"
            f" rm -f guest-{self.name}.log && ln guest-{self.name}--incoming.log"
            f" guest-{self.name}.log; fi")


def serve_streams(cluster):
    """Each host takes xl's stream on plain TCP in the migration network."""
    for number, name in enumerate(HOSTS, 1):
        address = network.address("migration", number)
        cluster.agents[name].host.run(
            f"setsid socat TCP4-LISTEN:{STREAM_PORT},bind={address},reuseaddr,fork "
            "EXEC:'xl migrate-receive' </dev/null >/var/log/receive.log 2>&1 &")


def alternate(ours, theirs, moves):
    """[(our move, xl's move)], each of them first in turn."""
    pairs = []
    for turn in range(moves):
        order = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        moved = {mover: mover.move() for mover in order}
        pairs.append((moved[ours], moved[theirs]))
        print(f"   {turn + 1}: Crosspool {moved[ours][0]:.0f} ms in {moved[ours][1]:.1f} s, "
              f"xl {moved[theirs][0]:.0f} ms in {moved[theirs][1]:.1f} s", flush=True)
    return pairs


def compare(cluster, disks, moves):
    """Pairs of moves of two guests alike, and what a verdict on their data says at the end."""
    movers = []
    for kind, name, directory in ((Crosspool, "ours", IMAGES), (Xl, "theirs", NFS)):
        movers.append(kind(cluster, f"{name}-{len(disks)}", disks, directory))
        movers[-1].rest()
    pairs = alternate(*movers, moves)
    verdicts = [mover.end() for mover in movers]
    assert verdicts[0].ok, verdicts[0].text  # xl's are told, whatever they are
    return pairs, verdicts


def say_pairs(report, title, pairs, verdicts):
    rows = []
    for side, name in enumerate(("Crosspool", "xl migrate")):
        pauses, totals = zip(*(pair[side] for pair in pairs))
        rows.append([name, figures.spread(pauses, "{:.0f}"), figures.spread(totals, "{:.1f}"),
                     "verified" if verdicts[side].ok else verdicts[side].text])
    report.say(f"{title}:\n\n" + figures.table(
        ["", "pause, ms: median (min - max)", "total, s: median (min - max)", "the guest's data"],
        rows))


def ratio(pairs, what):
    ours, theirs = ([pair[side][what] for pair in pairs] for side in (0, 1))
    return statistics.median(ours) / statistics.median(theirs)


def measure(cluster, report, moves):
    serve_streams(cluster)
    accelerator = cluster.agents[HOSTS[0]].host.settings()["accelerator"]
    report.say(f"{moves} moves each of PVH guests of 128 MiB between two emulated Xen hosts "
               f"({accelerator}), alternating; the pause is the longest gap between datagrams that "
               f"the guest sends each {TICK_MS} ms. xl's stream is plain TCP (socat), Crosspool "
               "encrypts.")
    with_disks, verdicts = compare(cluster, DISKS, moves)
    say_pairs(report, "Guests that write to two disks; Crosspool moves them along, xl's are on NFS",
              with_disks, verdicts)
    without, verdicts = compare(cluster, [], moves)
    say_pairs(report, "Guests without disks", without, verdicts)
    report.figure("pause, our disks move too", ratio(with_disks, 0), "<=", 1.05)
    report.figure("total, without disks", ratio(without, 1), "<=", 1.10)


def main():
    options = figures.options(__doc__, moves=5)
    if runs():
        sys.exit("bench: a lab of this checkout runs already; deploy/lab down ends it")
    report = figures.Report("xen-pause", "Pause and total time on Xen")
    cluster = XenCluster()
    try:
        started = time.monotonic()
        cluster.up("--shared", is_shown=True)
        report.say(f"The lab of two hosts with agents was up in {time.monotonic() - started:.0f} s.")
        measure(cluster, report, options.moves)
    finally:
        cluster.down()
    if options.write:
        report.write()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
