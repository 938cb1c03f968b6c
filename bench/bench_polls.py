"""status polls (200 and 304) per server CPU second, against nginx serving an equal static body"""
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import figures
from crosspool_test import shell
from crosspool_test.coordinator import Coordinator
from crosspool_test.fake_host import FakeHost
from crosspool_test.postgres import Postgres

CONNECTIONS = 16
TLS = "TLSv1.3"
NGINX = """daemon off;
worker_processes 1;
worker_cpu_affinity 01;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 100000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    open_file_cache max=100 inactive=1h;
    open_file_cache_valid 1h;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols {tls};
        ssl_conf_command Ciphersuites {cipher};
        root {directory}/static;
    }}
}}
"""


class Nginx:
    """One worker on one core, the body as a file that it keeps open."""

    title = "nginx"

    def __init__(self, directory, coordinator, body, cipher):
        self.directory = directory
        (directory / "static").mkdir(parents=True)
        (directory / "static" / "poll").write_bytes(body)
        self.port = Coordinator.free_port()
        state = coordinator.state_directory
        configuration = directory / "nginx.conf"
        configuration.write_text(NGINX.format(
            directory=directory, port=self.port, tls=TLS, cipher=cipher,
            certificate=state / "server.pem", key=state / "server.key"))
        directory.chmod(0o755)
        self.process = subprocess.Popen(["nginx", "-p", directory, "-c", configuration, "-g",
                                         "user root;"], stderr=subprocess.DEVNULL)
        self.url = f"https://127.0.0.1:{self.port}/poll"
        shell.wait_for("nginx", lambda: fetch(self.url) == body, 20)
        self.headers = []

    def pids(self):
        return [self.process.pid, *figures.children(self.process.pid)]

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Crosspool:
    title = "Crosspool"

    def __init__(self, coordinator, path, token):
        self.coordinator = coordinator
        self.url = coordinator.url() + path
        self.headers = [f"Authorization: Bearer {token}"]

    def pids(self):
        return [self.coordinator.process.pid]


def cipher_of(coordinator):
    """What the coordinator and a client of OpenSSL's defaults, as wrk is, agree on."""
    done = subprocess.run(["openssl", "s_client", "-connect",
                           coordinator.url().removeprefix("https://"), "-brief", "-tls1_3"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return re.search(r"Ciphersuite: (\S+)", done.stdout + done.stderr)[1]


def fetch(url, *headers):
    words = [word for header in headers for word in ("-H", header)]
    done = subprocess.run(["curl", "-sk", *words, url], capture_output=True, check=False)
    return done.stdout


def tag_of(server):
    words = [word for header in server.headers for word in ("-H", header)]
    head = shell.run("curl", "-sk", "-o", "/dev/null", "-D", "-", *words, server.url)
    return re.search(r"(?i)^etag: (.*?)\r?$", head, re.M)[1]


def load(server, headers, seconds):
    """(requests a server CPU second, requests a second, all requests)"""
    words = [word for header in [*server.headers, *headers] for word in ("-H", header)]
    before = figures.cpu_seconds(server.pids())
    begun = time.monotonic()
    text = shell.run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *words, server.url,
                     timeout=seconds + 60)
    elapsed = time.monotonic() - begun
    used = figures.cpu_seconds(server.pids()) - before
    requests = int(re.search(r"(\d+) requests in", text)[1])
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", text)
    assert not wrong, text
    return requests / used, requests / elapsed, requests


def metric(api, name):
    return int(api.get("/metrics").split(f"\n{name} ")[1].split()[0])


def migration(coordinator, admin, directory):
    """The path of a migration that is under way, between hosts that say no more."""
    for pool in ("A", "B"):
        admin.post("/v1/pools", {"name": pool})
    source = FakeHost(coordinator, admin, directory / "a1", "A", "a1")
    target = FakeHost(coordinator, admin, directory / "b1", "B", "b1")
    source.add_vm("g1", disks=2)
    source.report()
    target.report()
    made = admin.post("/v1/migrations", {
        "vm": "g1", "destination": {"pool": "B", "host": "b1"},
        "mapping": {"networks": {"lan-a": "lan-b"}, "srs": {"local-a1": "local-b1"}}}, expect=202)
    target.finish("prepare")
    return f"/v1/migrations/{made['id']}"


class Statements:
    """SQL of requests for each 10,000 polls. The metrics themselves take some, counted once."""

    def __init__(self, api):
        self.api = api
        self.polls = self.used = 0
        begin = self.count()
        self.own = self.count() - begin

    def count(self):
        return metric(self.api, "crosspool_http_sql_statements_total")

    def during(self, run):
        before = self.count()
        numbers = run()
        self.used += self.count() - before - self.own
        self.polls += numbers[2]
        return numbers

    def per_10000(self):
        return 10000 * self.used / self.polls


def measure(report, ours, theirs, statements, options):
    for status, title in ((200, "200 with body"), (304, "304")):
        rows = {server: [] for server in (ours, theirs)}
        headers = {server: [f"If-None-Match: {tag_of(server)}"] if status == 304 else []
                   for server in rows}
        for turn in range(options.pairs):
            for server in (ours, theirs) if turn % 2 == 0 else (theirs, ours):
                def run(server=server):
                    return load(server, headers[server], options.seconds)
                rows[server].append(statements.during(run) if server is ours else run())
        report.say(f"{title}:\n\n" + figures.table(
            ["", "requests per server CPU second", "requests per second"],
            [[server.title, *(figures.spread([row[i] for row in numbers], "{:.0f}")
                              for i in (0, 1))] for server, numbers in rows.items()]))
        report.figure(f"polls, {title}", statistics.median(
            a[0] / b[0] for a, b in zip(rows[ours], rows[theirs])), ">=", 0.5)


def main():
    options = figures.options(__doc__, pairs=5, seconds=5)
    report = figures.Report("polls", "Status polls")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cpb-", dir="/var/tmp"))
    directory.chmod(0o755)
    postgres = Postgres(directory / "postgres")
    nginx = coordinator = None
    try:
        postgres.start()
        coordinator = Coordinator(directory / "coordinator", postgres, host_lost_after_s=86400,
                                  limits={"requests_per_s": 100000, "request_burst": 100000})
        coordinator.init()
        coordinator.start()
        token = coordinator.make_token("bench", "admin")
        admin = coordinator.api(token)
        ours = Crosspool(coordinator, migration(coordinator, admin, directory), token)
        body = fetch(ours.url, *ours.headers)
        cipher = cipher_of(coordinator)
        nginx = Nginx(directory / "nginx", coordinator, body, cipher)
        report.say(f"A migration under way whose {len(body)} bytes do not change; {TLS}, {cipher}, the "
                   f"same key, {CONNECTIONS} connections that stay, wrk with one thread; "
                   "nginx (one worker) serves the same bytes from a file. "
                   f"{options.pairs} pairs of {options.seconds} s, alternating.")
        statements = Statements(admin)
        measure(report, ours, nginx, statements, options)
        report.say(f"{statements.polls} polls took {statements.used} SQL statements.")
        report.figure("SQL statements per 10,000 unchanged polls", statements.per_10000(), "<=", 1)
    finally:
        if nginx:
            nginx.stop()
        if coordinator:
            coordinator.kill()
        postgres.remove()
        shutil.rmtree(directory, ignore_errors=True)
    if options.write:
        report.write()


if __name__ == "__main__":
    main()
