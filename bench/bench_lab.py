"""times of the lab of emulated Xen hosts: up, a guest created, a move (no peer: what to expect of it)"""
import sys
import time

import figures
from crosspool_test import shell

sys.path.insert(0, str(shell.ROOT / "deploy"))

from xenlab.cluster import XenCluster, runs  # noqa: E402  (the path comes first)

HOSTS = ("xh1", "xh2")
CACHE = shell.ROOT / "build" / "lab" / "cache"
DISKS = [("raw", 16), ("qcow2", 16)]
MOVE_LIMIT_S = 600


def timed(call, *args, **options):
    """(what it returns, seconds)"""
    begun = time.monotonic()
    return call(*args, **options), time.monotonic() - begun


def create(cluster, kind, count):
    """Seconds until each of so many guests, one after the other, is listed as running."""
    found = []
    for number in range(count):
        found.append(timed(cluster.boot, HOSTS[0], f"{kind}{number}", kind=kind, disks=DISKS,
                           memory_mib=96)[1])
        cluster.remove_guests()
    return found


def move(cluster, count):
    """[(seconds, pause in s)] of a guest that goes back and forth."""
    guest = cluster.boot(HOSTS[0], "moving", disks=DISKS, is_full=True, memory_mib=96)
    found = []
    for number in range(count):
        here, there = HOSTS[number % 2], HOSTS[1 - number % 2]
        ended, seconds = timed(lambda: cluster.wait_end(
            cluster.migrate(guest.name, here, there), MOVE_LIMIT_S))
        assert ended["state"] == "succeeded", ended
        cluster.follow(guest, there)
        found.append((seconds, ended["pause_us"] / 1e6))
    verdict = guest.verify()
    assert verdict.ok, verdict.text
    cluster.remove_guests()
    return found


def main():
    options = figures.options(__doc__, guests=3, moves=4)
    if runs():
        sys.exit("bench: a lab of this checkout runs already; deploy/lab down ends it")
    report = figures.Report("lab", "The lab of emulated Xen hosts")
    was_built = CACHE.exists()
    cluster = XenCluster()
    try:
        up = timed(cluster.up, is_shown=True)[1]
        accelerator = cluster.agents[HOSTS[0]].host.settings()["accelerator"]
        created = {kind: create(cluster, kind, options.guests) for kind in ("pvh", "hvm")}
        moved = move(cluster, options.moves)
    finally:
        cluster.down()
    built = "images from the cache" if was_built else "images made anew"
    rows = [[f"`deploy/lab up` of two hosts with agents, {built}", f"{up:.0f}"],
            *[[f"a {kind.upper()} guest of 96 MiB with two disks, until it is listed as running",
               figures.spread(values, "{:.1f}")] for kind, values in created.items()],
            ["its move to the other host and back, 32 MiB of random data and its memory",
             figures.spread([seconds for seconds, _ in moved], "{:.1f}")],
            ["the pause of that", figures.spread([pause for _, pause in moved], "{:.1f}")]]
    report.say(f"What to expect of it; there is no peer. Hosts of one processor ({accelerator}), "
               f"{options.guests} guests of each kind, {options.moves} moves.\n\n"
               + figures.table(["", "s: median (min - max)"], rows))
    if options.write:
        report.write()


if __name__ == "__main__":
    main()
