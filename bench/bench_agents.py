"""thousands of agents that long-poll one coordinator: memory, time from a step to its delivery"""
import os
import time

import figures
from crosspool_test import shell
from load import Load

PARK_S = 25  # what a poll waits when nothing happens


def parked(load, token):
    text = load.coordinator.api(token).get("/metrics")
    return int(text.split("\ncrosspool_http_parked ")[1].split()[0])


def measure_idle(load, seconds):
    """CPU seconds of coordinator and database a second, and polls a second, with nothing to do."""
    pids = [load.coordinator.process.pid, *load.database_pids()]
    before = [figures.cpu_seconds([pid]) for pid in pids]
    polls, begin = load.idle(), time.monotonic()
    time.sleep(seconds)
    spent = time.monotonic() - begin
    after = [figures.cpu_seconds([pid]) for pid in pids]
    used = [new - old for new, old in zip(after, before)]
    return used[0] / spent, sum(used[1:]) / spent, (load.idle() - polls) / spent


def latencies(load):
    """Milliseconds from the begin of the transaction that made a step until its agent has it; the
    first step of a migration falls due by time and is left out."""
    came = {line[1]: int(line[2]) for line in load.lines if line[0] == "step"}
    rows = load.coordinator.query("SELECT id, (extract(epoch FROM created_at) * 1000000)::bigint"
                                  " FROM step WHERE kind <> 'prepare'")
    return [(came[step] - int(made)) / 1000 for step, made in rows if step in came]


def main():
    options = figures.options(__doc__, agents=10000, migrations=400, seconds=30)
    report = figures.Report("agents", "Agents on one coordinator")
    load = Load(options.agents)
    try:
        load.up()
        load.coordinator.start()
        token = load.coordinator.make_token("bench", "viewer")
        empty = load.memory_kib()
        begin = time.monotonic()
        load.begin(600 + options.agents // 20)
        shell.wait_for("all agents parked", lambda: parked(load, token) == options.agents, 500, 0.5)
        ready = time.monotonic() - begin
        full = load.memory_kib()
        ours, theirs, polls = measure_idle(load, PARK_S + 5)
        load.add_migrations(options.migrations, options.seconds * 1000 // options.migrations)
        shell.wait_for("all moves", lambda: load.coordinator.query(
            "SELECT count(*) FROM migration WHERE state <> 'succeeded'") == [["0"]], 300, 0.5)
        found = latencies(load)
        peak = load.memory_kib()
    finally:
        load.down()
    p99 = figures.percentile(found, 99)
    report.say(
        f"{options.agents} agents, one parked poll each, mutual TLS 1.3; coordinator, PostgreSQL "
        f"(fsync on) and the program that plays the agents share {os.cpu_count()} cores. All were "
        f"connected and parked after {ready:.0f} s.\n\n" + figures.table(
            ["", ""],
            [["memory of the coordinator for each agent", f"{(full - empty) / options.agents:.1f} KiB"],
             ["memory of the coordinator, after the moves", f"{peak / 1024:.0f} MiB"],
             ["idle: polls a second", f"{polls:.0f}"],
             ["idle: CPU of the coordinator", f"{ours * 100:.1f} % of a core"],
             ["idle: CPU of PostgreSQL", f"{theirs * 100:.1f} % of a core"],
             ["heartbeat: CPU of both for one poll",
              f"{(ours + theirs) / max(polls, 1) * 1000:.2f} ms"],
             [f"steps delivered to parked polls in {options.seconds} s", len(found)],
             ["from the begin of the step's transaction to its delivery, median",
              f"{figures.percentile(found, 50):.1f} ms"],
             ["the same, 99 of 100", f"{p99:.1f} ms"]]))
    report.figure("step to delivery, p99 in ms against 50 ms", p99 / 50, "<=", 1)
    if options.write:
        report.write()


if __name__ == "__main__":
    main()
