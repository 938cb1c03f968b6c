"""The agent in each dom0: installed from this tree's build, enrolled into a pool, started."""
import hashlib
import json
import pathlib

from crosspool_test import shell

from . import centre, network
from .place import LabError

POOLS = ("A", "B")
PROGRAM = "/usr/sbin/crosspool-agent"
LIBRARIES = "/usr/lib/crosspool"
MODULES = ("nbdkit-crosspool-plugin.so", "crosspool-libxl.so")
CONFIGURATION = "/etc/crosspool/agent.json"
CA = "/etc/crosspool/coordinator-ca.pem"
LOG = "/var/log/crosspool-agent.log"
PORT = 7801
BRIDGES = {"lan": "xenbr0", "back": "xenbr1"}  # of dom0, by the network they are on
FAILPOINTS = "/run/crosspool-failpoints"  # of an agent of a debug build


def pool_of(host):
    """Hosts take turns, so that two are enough for a move between pools."""
    return POOLS[(host.number - 1) % len(POOLS)]


def configuration(host):
    return {
        "name": host.name, "state_directory": "/var/lib/crosspool",
        "run_directory": "/run/crosspool",
        "coordinators": [{**centre.told()["endpoint"], "ca": CA}],
        "link": {"address": network.address("migration", host.number), "port": PORT},
        "hypervisor": "libxl",
        "networks": [{"name": f"{network_name}-{pool_of(host).lower()}", "bridge": bridge}
                     for network_name, bridge in BRIDGES.items()],
        "srs": [{"name": f"local-{host.name}", "type": "ext", "location": "/srv/local"}],
        "nbdkit_plugin": f"{LIBRARIES}/{MODULES[0]}",
    }


def _put_changed(host, source, path, mode):
    """True when the host had something else there."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if digest in host.run(f"sha256sum {path} 2>/dev/null", check=False):
        return False
    host.put(source, path, mode)
    return True


def _built(name):
    found = sorted(shell.BUILD.rglob(name))
    if not found:
        raise LabError(f"{shell.BUILD} has no {name}")
    return found[0]


def install(host):
    """True when the agent or its configuration changed."""
    host.run(f"mkdir -p /etc/crosspool {LIBRARIES} /var/lib/crosspool /run/crosspool")
    file = host.folder / "agent.json"
    file.write_text(json.dumps(configuration(host), indent=2))
    changed = [_put_changed(host, _built("crosspool-agent"), PROGRAM, "0755"),
               *(_put_changed(host, _built(name), f"{LIBRARIES}/{name}", "0644")
                 for name in MODULES),
               _put_changed(host, pathlib.Path(centre.told()["ca"]), CA, "0644"),
               _put_changed(host, file, CONFIGURATION, "0644")]
    return any(changed)


def enrol(host, api):
    """Nothing to do when this coordinator's CA is the one that the host is enrolled with."""
    check = f"cmp -s {CA} /var/lib/crosspool/ca.pem && test -s /var/lib/crosspool/host.pem"
    if host.run(f"{check} && echo enrolled", check=False):
        return
    pool = pool_of(host)
    if pool not in [item["name"] for item in api.get("/v1/pools")["items"]]:
        api.post("/v1/pools", {"name": pool})
    token = api.post("/v1/enrolments", {"pool": pool, "name": host.name})["token"]
    host.run(f"{PROGRAM} enrol --token-file - --config {CONFIGURATION}", input=token)


def is_running(host):
    return host.run("pidof crosspool-agent", check=False).strip() != ""


def start(host):
    host.run(f"mkdir -p {FAILPOINTS}; CROSSPOOL_FAILPOINTS={FAILPOINTS} setsid {PROGRAM} run "
             f"--config {CONFIGURATION} </dev/null >>{LOG} 2>&1 &")


def stop(host):
    """SIGKILL, which an agent must stand."""
    host.run("while pkill -9 -x crosspool-agent; do sleep 0.05; done", check=False)


def last_words(host):
    return host.run(f"tail -n 1 {LOG}", check=False).strip()


def provide(host):
    """The agent of this tree runs in the host and belongs to its pool. A LabError holds the agent's
    last words when it ended at once."""
    changed = install(host)
    enrol(host, centre.api())
    if is_running(host):
        if not changed:
            return
        stop(host)
    start(host)
    host.run("sleep 1")
    if not is_running(host):
        raise LabError(f"the agent of {host.name} ended: {last_words(host)}")
