"""The demo's second half: everything is built; start it, move the guests, prove it."""
import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from crosspool_test.cluster import Cluster, clear
from crosspool_test.network import Network

DIRECTORY = pathlib.Path("/var/tmp/crosspool-demo")
TAG = "cpd"  # of the bridges
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAYOUT = {"A": ["a1", "a2"], "B": ["b1"]}
GUESTS = [("web", "a1", [("raw", 128), ("qcow2", 128)]), ("mail", "a2", [("raw", 192)])]


def say(text=""):
    print(text, file=sys.stderr, flush=True)


def clear_earlier_run():
    """What a demo that was killed left behind."""
    hosts = [host for pool in LAYOUT.values() for host in pool]
    clear(DIRECTORY, Network(TAG, hosts))
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)


def bar(done, total, width=24):
    filled = width * done // max(total, 1)
    return "#" * filled + "." * (width - filled)


def show(migration):
    total = sum(d["total_bytes"] for d in migration["disks"])
    copied = sum(d["copied_bytes"] for d in migration["disks"])
    rate = sum(d["rate_bytes_per_s"] for d in migration["disks"]) / 2**20
    memory = migration.get("memory") or {}
    return (f"{migration['name']:>5} {migration['state']:<13} {migration['phase'] or '':<10} "
            f"[{bar(copied, total)}] {copied >> 20:>4}/{total >> 20} MiB "
            f"{rate:6.1f} MiB/s  memory {(memory.get('sent_bytes') or 0) >> 20} MiB")


def follow(cluster, moves):
    """Prints progress until all have ended; returns the migrations."""
    shown = {}
    while True:
        now = [cluster.migration(move) for move in moves]
        for migration in now:
            line = show(migration)
            if shown.get(migration["id"]) != line:
                shown[migration["id"]] = line
                say(line)
        if all(m["state"] in ("succeeded", "failed", "cancelled") for m in now):
            return now
        time.sleep(0.5)


def run(cluster):
    say("== PostgreSQL, coordinator, agents of pools A (a1, a2) and B (b1)")
    cluster.up()
    say(f"   {cluster.coordinator.url()}, token {cluster.api.token}")
    guests = {}
    for name, host, disks in GUESTS:
        started = time.monotonic()
        guests[name] = cluster.boot(host, name, disks)
        say(f"== guest {name} writes to {len(disks)} disk(s) at {host} "
            f"(up in {time.monotonic() - started:.1f} s)")
    time.sleep(2)
    started = time.monotonic()
    moves = [cluster.migrate(name, host, "b1") for name, host, _ in GUESTS]
    say("== moving all guests from A to B: POST /v1/migrations")
    ended = follow(cluster, moves)
    seconds = time.monotonic() - started
    results = []
    for migration in ended:
        guest = guests[migration["name"]]
        is_moved = migration["state"] == "succeeded"
        if is_moved:
            cluster.follow(guest, "b1")
        verdict = guest.verify()
        said = f"{verdict.checked} sectors compared" if verdict.ok else verdict.text
        homes = cluster.homes(guest)
        pause_ms = round((migration["pause_us"] or 0) / 1000, 1)
        results.append({"guest": guest.name, "state": migration["state"], "pause_ms": pause_ms,
                        "longest_write_gap_ms": guest.gap_before_move_ms,
                        "data": "verified" if verdict.ok else "DAMAGED", "runs_at": homes,
                        "disk_bytes": sum(d["total_bytes"] for d in migration["disks"])})
        say(f"   {guest.name}: {migration['state']}, pause {pause_ms:.0f} ms, "
            f"data {results[-1]['data']} ({said}), runs at {', '.join(homes)}")
    cluster.wait_no_leftovers()
    leftovers = cluster.leftovers()
    say(f"   leftovers: {len(leftovers) or 'none'}; {seconds:.1f} s in all")
    is_good = not leftovers and all(
        r["state"] == "succeeded" and r["data"] == "verified" and r["runs_at"] == ["b1"]
        for r in results)
    return {"ok": is_good, "seconds": round(seconds, 1), "guests": results,
            "leftovers": len(leftovers)}


def put_out(cluster, error):
    """One line of the reason, and what the daemons said last."""
    for title, process in [("coordinator", cluster.coordinator), *cluster.agents.items()]:
        for line in process.tail(4).splitlines():
            say(f"   {title}: {line[:300]}")
    say(f"deploy/demo: {error}")


def show_how_to_look(cluster):
    say(f"== kept running. Look around:\n   curl --cacert {cluster.coordinator.ca_path} -H "
        f"'Authorization: Bearer {cluster.api.token}' {cluster.coordinator.url()}/v1/vms\n"
        "   Ctrl-C ends it.")


class Stopped(Exception):
    """A signal asked for the end."""


def on_signal(number, _frame):
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # the end is not interrupted
    raise Stopped(signal.Signals(number).name)


def clean_up(cluster):
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    cluster.down()
    shutil.rmtree(DIRECTORY, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(prog="deploy/demo")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    clear_earlier_run()
    cluster = Cluster(LAYOUT, tag=TAG, directory=DIRECTORY)
    result = {"ok": False}
    try:
        for number in SIGNALS:
            signal.signal(number, on_signal)
        result = run(cluster)
        if options.keep:
            show_how_to_look(cluster)
            signal.pause()
    except Stopped as stopped:
        say(f"\n== {stopped}: stopping")
        if not result["ok"]:
            result["error"] = f"stopped by {stopped}"
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        put_out(cluster, error)
        result = {"ok": False, "error": str(error)}
    finally:
        clean_up(cluster)
    if options.json:
        print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
