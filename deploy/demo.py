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

EVACUATION_ENDED = ("succeeded", "succeeded-with-exceptions", "failed", "cancelled")
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


def boot(stage, described):
    """{name: guest} of descriptions (name, host, disks)."""
    guests = {}
    for name, host, disks in described:
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


def is_proved(result, destination):
    return (result["state"] == "succeeded" and result["data"] == "verified" and
            result["runs_at"] == [destination])


def count_leftovers(cluster, seconds):
    cluster.wait_no_leftovers()
    leftovers = len(cluster.leftovers())
    say(f"   leftovers: {leftovers or 'none'}; {seconds:.1f} s in all")
    return leftovers


def move(stage, guests):
    """Each guest by a call of its own."""
    cluster, destination = stage.cluster, stage.DESTINATION
    time.sleep(2)
    started = time.monotonic()
    moves = [cluster.migrate(name, host, destination) for name, host, _ in stage.GUESTS]
    say("== moving all guests from A to B: POST /v1/migrations")
    ended = follow(cluster, moves)
    seconds = time.monotonic() - started
    results = [prove(cluster, guests[m["name"]], m, destination) for m in ended]
    leftovers = count_leftovers(cluster, seconds)
    return {"ok": leftovers == 0 and all(is_proved(r, destination) for r in results),
            "hypervisor": stage.HYPERVISOR, "seconds": round(seconds, 1), "guests": results,
            "leftovers": leftovers}


def follow_evacuation(cluster, evacuation):
    """Prints what becomes of it until it has ended; returns it."""
    shown = None
    while True:
        now = cluster.api.get(f"/v1/evacuations/{evacuation}")
        line = "  ".join(f"{vm['name']} {vm['state']}" for vm in sorted(
            now["vms"], key=lambda vm: vm["name"]))
        if shown != line:
            shown = line
            say(f"   {line}")
        if now["state"] in EVACUATION_ENDED:
            return now
        time.sleep(0.5)


def evacuate(stage, guests):
    """A whole pool with these guests by one call: asked first, then done."""
    cluster = stage.cluster
    source, destination = stage.EVACUATION
    request = {"pools": [source], "destination_pools": [destination],
               "mapping": cluster.pool_mapping(source, destination)}
    asked = cluster.api.post("/v1/evacuations?dry_run=true", request)
    say(f"== can pool {source} be emptied into {destination}? {asked['counts']['waiting']} guests, "
        f"{asked['plan']['makespan_s']:.1f} s by plan, at least {asked['plan']['bound_s']:.1f} s "
        f"({asked['plan']['bottleneck']})")
    started = time.monotonic()
    made = cluster.api.post("/v1/evacuations", request, expect=202)["id"]
    for vm in cluster.api.get(f"/v1/evacuations/{made}")["vms"]:
        cluster.expect(guests[vm["name"]], vm["destination"]["host_name"])
    say("== emptying it: POST /v1/evacuations")
    ended = follow_evacuation(cluster, made)
    seconds = time.monotonic() - started
    homes = {vm["name"]: vm["destination"]["host_name"] for vm in ended["vms"]}
    results = [prove(cluster, guests[vm["name"]], cluster.migration(vm["migration"]),
                     homes[vm["name"]]) for vm in ended["vms"] if vm["migration"]]
    leftovers = count_leftovers(cluster, seconds)
    is_good = (ended["state"] == "succeeded" and not ended["remaining"] and leftovers == 0 and
               len(results) == len(guests) and
               all(is_proved(r, homes[r["guest"]]) for r in results))
    return {"ok": is_good, "state": ended["state"], "seconds": round(seconds, 1),
            "planned_s": round(asked["plan"]["makespan_s"], 1), "guests": results,
            "leftovers": leftovers}


def run(stage):
    say(f"== {stage.TITLE}")
    stage.up()
    say(f"   {stage.cluster.api.url}")
    guests = boot(stage, stage.GUESTS)
    result = move(stage, guests)
    if not result["ok"]:
        return result
    leaving = boot(stage, stage.EVACUATED)
    if stage.cluster.pool_of(stage.DESTINATION) == stage.EVACUATION[0]:
        leaving.update(guests)
    result["evacuation"] = evacuate(stage, leaving)
    result["ok"] = result["evacuation"]["ok"]
    return result


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
