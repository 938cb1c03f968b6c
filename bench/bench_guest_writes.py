"""guest's write rate and p99 latency during mirror and copy, against QEMU's own full mirror"""
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

import figures
from crosspool_test import shell
from crosspool_test.cluster import Cluster
from crosspool_test.coordinator import Coordinator
from qmp import Qmp

MIB = 1 << 20


class Window:
    """What the guest did between begin() and end()."""

    def __init__(self, guest):
        self.guest = guest
        guest.reset_gap()
        self.before = guest.console.status()["writes"]
        self.begun = time.monotonic()

    def end(self):
        status = self.guest.console.status()
        seconds = time.monotonic() - self.begun
        return (status["writes"] - self.before) / seconds, status["p99_us"] / 1000, seconds


def our_copy(cluster, guest, ends):
    migration = cluster.migrate(guest.name, *ends)
    cluster.wait_phase(migration, "copying")
    window = Window(guest)
    shell.wait_for("the copy's end", lambda: cluster.migration(migration)["phase"] != "copying",
                   600, 0.02)
    numbers = window.end()
    ended = cluster.wait_end(migration)
    assert ended["state"] == "succeeded", ended
    cluster.follow(guest, ends[1])
    return numbers


def peer_copy(cluster, guest, host, target, pki, size):
    """QEMU mirrors the same disk of the same running guest to nbdkit over its own TLS."""
    target.unlink(missing_ok=True)
    with open(target, "wb") as file:
        file.truncate(size)
    port = Coordinator.free_port()
    server = subprocess.Popen(["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), "--tls=require",
                               f"--tls-certificates={pki}", "file", str(target)])
    folder = cluster.agents[host].run_directory / "domains" / guest.domain
    try:
        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        shell.wait_for("nbdkit", answers, 10, 0.01)
        qmp = Qmp(folder / "qmp-block.sock")
        qmp.command("object-add", qom_type="tls-creds-x509", id="bench", endpoint="client",
                    dir=str(pki), verify_peer=True)
        qmp.command("blockdev-add", **{
            "driver": "nbd", "node-name": "bench", "export": "", "tls-creds": "bench",
            "tls-hostname": "localhost",
            "server": {"type": "inet", "host": "127.0.0.1", "port": str(port)}})
        qmp.command("blockdev-mirror", job_id="bench", device="disk-vda", target="bench",
                    sync="full", copy_mode="write-blocking")
        window = Window(guest)
        qmp.wait("BLOCK_JOB_READY", device="bench", timeout=600)
        numbers = window.end()
        qmp.command("stop")
        qmp.command("block-job-cancel", device="bench", force=True)
        qmp.wait("BLOCK_JOB_CANCELLED", device="bench")
        qmp.command("cont")
        qmp.command("blockdev-del", node_name="bench")
        qmp.command("object-del", id="bench")
        qmp.close()
    finally:
        server.terminate()
        server.wait()
    target.unlink()
    return numbers


def main():
    options = figures.options(__doc__, pairs=5, mib=2048)
    report = figures.Report("guest-writes", "Guest writes during mirror and copy")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cpb-", dir="/var/tmp"))
    directory.chmod(0o755)
    cluster = Cluster({"A": ["a1"], "B": ["b1"]}, tag="cpb", directory=directory / "c")
    pki = figures.make_pki(directory / "pki")
    data = directory / "data.raw"
    ours, theirs = [], []
    try:
        with open("/dev/urandom", "rb") as source, open(data, "wb") as target:
            for _ in range(options.mib // 16):
                target.write(source.read(16 * MIB))
        cluster.up()
        guest = cluster.boot("a1", "bench", [("raw", options.mib)], memory_mib=256, prefilled=data,
                             base=0, rate=0)
        ends = ["a1", "b1"]
        time.sleep(2)
        window = Window(guest)
        time.sleep(5)
        alone = window.end()
        for _ in range(options.pairs):
            theirs.append(peer_copy(cluster, guest, ends[0], directory / "peer.raw", pki,
                                    options.mib * MIB))
            ours.append(our_copy(cluster, guest, ends))
            ends.reverse()
        rows = [[name, figures.spread([n[0] for n in numbers], "{:.0f}"),
                 figures.spread([n[1] for n in numbers], "{:.1f}"),
                 figures.spread([n[2] for n in numbers], "{:.1f}")]
                for name, numbers in (("Crosspool", ours), ("QEMU full mirror, TLS", theirs),
                                      ("neither", [alone]))]
        report.say(f"A raw disk of {options.mib} MiB of random data, 4 writers without a limit, "
                   f"{options.pairs} pairs, alternating on the same running guest; each from the "
                   "start of the copy to its end.\n\n" + figures.table(
                       ["", "writes/s", "p99, ms", "copy, s"], rows))
        report.figure("guest writes, rate", statistics.median(
            a[0] / b[0] for a, b in zip(ours, theirs)), ">=", 1.0)
        report.figure("guest writes, p99", statistics.median(
            a[1] / b[1] for a, b in zip(ours, theirs)), "<=", 1.25)
    finally:
        cluster.down()
        shutil.rmtree(directory, ignore_errors=True)
    if options.write:
        report.write()


if __name__ == "__main__":
    main()
