"""background copy of a 4 GiB disk, agent to agent, against nbdcopy over its own TLS to nbdkit"""
import datetime
import os
import pathlib
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

import figures
from crosspool_test import images, shell
from crosspool_test.cluster import Cluster
from crosspool_test.coordinator import Coordinator

GIB = 1 << 30
PIECE = 32 << 20
LOOK_S = 0.2  # how often the CPU time is read, which must not use it up


def make_random(path, size, is_half_empty):
    """Random data; half empty: every second 32 MiB is a hole."""
    with open("/dev/urandom", "rb") as source, open(path, "wb") as target:
        target.truncate(size)
        for offset in range(0, size, PIECE):
            if is_half_empty and offset // PIECE % 2:
                continue
            target.seek(offset)
            target.write(source.read(PIECE))


def settle():
    """Before each copy: nothing is left to be written, and no source is in the page cache, as that
    of a disk larger than memory never is."""
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")


def peer_copy(source, target, pki):
    """nbdcopy (its defaults) of the file into nbdkit's file plugin over TLS: seconds, CPU seconds."""
    target.unlink(missing_ok=True)
    with open(target, "wb") as file:
        file.truncate(source.stat().st_size)
    port = Coordinator.free_port()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    server = subprocess.Popen(["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), "--tls=require",
                               f"--tls-certificates={pki}", "file", str(target)])
    try:
        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        shell.wait_for("nbdkit", answers, 10, 0.01)
        started = time.monotonic()
        shell.run("nbdcopy", "--flush", source,
                  f"nbds://localhost:{port}/?tls-certificates={pki}", timeout=600)
        seconds = time.monotonic() - started
    finally:
        server.terminate()
        server.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    target.unlink()
    return seconds, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def pids_of(cluster):
    """The agents and what they started for the move; not the guest, which runs beside it."""
    agents = [agent.process.pid for agent in cluster.agents.values()]
    return agents + [pid for agent in agents for pid in figures.children(agent)
                     if not figures.name_of(pid).startswith("qemu-system")]


def our_copy(cluster, guest, source, destination):
    """One move; seconds of its transfer step (snapshot, mirror, copy, flush), CPU seconds."""
    before = figures.cpu_seconds(pids_of(cluster))
    migration = cluster.migrate(guest.name, source, destination)
    used = before

    def transferred():
        nonlocal used
        used = max(used, figures.cpu_seconds(pids_of(cluster)))
        return cluster.migration(migration)["state"] in ("handing_off", "cleaning", "succeeded",
                                                         "failed")
    shell.wait_for("the transfer", transferred, 600, LOOK_S)
    ended = cluster.wait_end(migration, timeout=300)
    assert ended["state"] == "succeeded", ended
    cluster.follow(guest, destination)
    step = next(s for s in ended["steps"] if s["kind"] == "transfer")
    begun, done = (datetime.datetime.fromisoformat(step[key]) for key in ("created_at", "ended_at"))
    return (done - begun).total_seconds(), used - before


def measure(cluster, directory, pki, size, is_half_empty, pairs):
    name = "half" if is_half_empty else "full"
    data = directory / f"{name}.raw"
    make_random(data, size, is_half_empty)
    guest = cluster.boot("a1", name, [("raw", size >> 20)], memory_mib=256, prefilled=data,
                         stopped=1, base=0, tick=0)
    ends = ["a1", "b1"]
    rows = []
    for _ in range(pairs):
        settle()
        ours, our_cpu = our_copy(cluster, guest, *ends)
        ends.reverse()
        settle()
        theirs, their_cpu = peer_copy(data, directory / "peer.raw", pki)
        rows.append((ours, our_cpu, theirs, their_cpu))
    vdi = images.vdis(cluster.agents[ends[0]].sr)
    peak = max(figures.peak_memory(a.process.pid) for a in cluster.agents.values())
    assert len(vdi) == 1
    cluster.remove_guests()
    data.unlink()
    return rows, peak


def main():
    options = figures.options(__doc__, pairs=5, gib=4)
    report = figures.Report("copy", "Background copy")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cpb-", dir="/var/tmp"))
    directory.chmod(0o755)
    cluster = Cluster({"A": ["a1"], "B": ["b1"]}, tag="cpb", directory=directory / "c")
    pki = figures.make_pki(directory / "pki")
    size = options.gib * GIB
    try:
        cluster.up()
        for is_half_empty, goal in ((False, 1.0), (True, 1.5)):
            rows, peak = measure(cluster, directory, pki, size, is_half_empty, options.pairs)
            what = "half-empty disk" if is_half_empty else "random data"
            data_gib = options.gib / (2 if is_half_empty else 1)
            ratios = [theirs / ours for ours, _, theirs, _ in rows]
            report.say(f"{options.gib} GiB, {what}, {options.pairs} pairs, alternating, both from "
                       "and to the same disk, with nothing in the page cache before:\n\n"
                       + figures.table(
                           ["", "seconds", "CPU s per GiB of data"],
                           [["Crosspool", figures.spread([r[0] for r in rows]),
                             figures.spread([r[1] / data_gib for r in rows])],
                            ["nbdcopy, TLS", figures.spread([r[2] for r in rows]),
                             figures.spread([r[3] / data_gib for r in rows])]])
                       + f"\n\nPeak memory of an agent: {peak:.0f} MiB.")
            report.figure(f"copy, {what}", statistics.median(ratios), ">=", goal)
    finally:
        cluster.down()
        shutil.rmtree(directory, ignore_errors=True)
    if options.write:
        report.write()


if __name__ == "__main__":
    main()
