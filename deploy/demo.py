"""The demo's second half: everything is built; start it, move the guests, prove it. What hosts and
guests there are is the stage's matter: demo_xen.py, demo_qemu.py."""
import argparse
import importlib
import json
import signal
import subprocess
import sys
import time

from crosspool_test.migrations import ENDED

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAULTS = (AssertionError, RuntimeError, OSError, subprocess.SubprocessError)


def say(text=""):
    print(text, file=sys.stderr, flush=True)


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
        if all(migration["state"] in ENDED for migration in now):
            return now
        time.sleep(0.5)


def boot(stage):
    """{name: guest} of all that the stage has."""
    guests = {}
    for name, host, disks in stage.GUESTS:
        started = time.monotonic()
        guests[name] = stage.boot(name, host, disks)
        say(f"== guest {name} writes to {len(disks)} disk(s) at {host} "
            f"(up in {time.monotonic() - started:.1f} s)")
    return guests


def prove(cluster, guest, migration, destination):
    """What became of one guest."""
    if migration["state"] == "succeeded":
        cluster.follow(guest, destination)
    verdict = guest.verify()
    said = f"{verdict.checked} sectors compared" if verdict.ok else verdict.text
    result = {"guest": guest.name, "state": migration["state"],
              "pause_ms": round((migration["pause_us"] or 0) / 1000, 1),
              "longest_write_gap_ms": guest.gap_before_move_ms,
              "data": "verified" if verdict.ok else "DAMAGED",
              "runs_at": list(cluster.homes(guest)),
              "disk_bytes": sum(d["total_bytes"] for d in migration["disks"])}
    say(f"   {guest.name}: {migration['state']}, pause {result['pause_ms']:.0f} ms, "
        f"data {result['data']} ({said}), runs at {', '.join(result['runs_at'])}")
    return result


def run(stage):
    say(f"== {stage.TITLE}")
    stage.up()
    cluster, destination = stage.cluster, stage.DESTINATION
    say(f"   {cluster.api.url}, token {cluster.api.token}")
    guests = boot(stage)
    time.sleep(2)
    started = time.monotonic()
    moves = [cluster.migrate(name, host, destination) for name, host, _ in stage.GUESTS]
    say("== moving all guests from A to B: POST /v1/migrations")
    ended = follow(cluster, moves)
    seconds = time.monotonic() - started
    results = [prove(cluster, guests[m["name"]], m, destination) for m in ended]
    cluster.wait_no_leftovers()
    leftovers = cluster.leftovers()
    say(f"   leftovers: {len(leftovers) or 'none'}; {seconds:.1f} s in all")
    is_good = not leftovers and all(
        r["state"] == "succeeded" and r["data"] == "verified" and r["runs_at"] == [destination]
        for r in results)
    return {"ok": is_good, "hypervisor": stage.HYPERVISOR, "seconds": round(seconds, 1),
            "guests": results, "leftovers": len(leftovers)}


def put_out(stage, error):
    """One line of the reason, and what the daemons said last."""
    for title, text in stage.last_words():
        for line in text.splitlines():
            say(f"   {title}: {line[:300]}")
    say(f"deploy/demo: {error}")


class Stopped(Exception):
    """A signal asked for the end."""


def on_signal(number, _frame):
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # the end is not interrupted
    raise Stopped(signal.Signals(number).name)


def perform(stage, is_kept):
    """The result, and everything is down again."""
    result = {"ok": False}
    try:
        for number in SIGNALS:
            signal.signal(number, on_signal)
        result = run(stage)
        if is_kept:
            say(f"== kept running. Look around:\n   {stage.how_to_look()}\n   Ctrl-C ends it.")
            signal.pause()
    except Stopped as stopped:
        say(f"\n== {stopped}: stopping")
        if not result["ok"]:
            result["error"] = f"stopped by {stopped}"
    except FAULTS as error:
        put_out(stage, error)
        result = {"ok": False, "error": str(error)}
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        stage.down()
    return result


def main():
    parser = argparse.ArgumentParser(prog="deploy/demo")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    module = importlib.import_module("demo_qemu" if options.quick else "demo_xen")
    try:
        result = perform(module.Stage(), options.keep)
    except FAULTS as error:
        say(f"deploy/demo: {error}")
        result = {"ok": False, "error": str(error)}
    if options.json:
        print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
