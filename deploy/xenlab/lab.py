"""The commands of deploy/lab."""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time

from . import accelerator, agents, centre, images, network
from .host import Host, write_ssh_config
from .network import MOST_HOSTS
from .place import LabError, RUN, check_length, say


def known_hosts():
    numbers = sorted(int(path.name[2:]) for path in RUN.glob("xh[1-9]") if path.is_dir())
    return [Host(number) for number in numbers]


def find_host(name):
    for host in known_hosts():
        if host.name == name:
            return host
    raise LabError(f"no host {name}; there are: "
                   f"{', '.join(host.name for host in known_hosts()) or 'none'}")


def each(function, hosts):
    """Calls it for all hosts at the same time; the first error comes out when all have ended."""
    with concurrent.futures.ThreadPoolExecutor(MOST_HOSTS) as pool:
        return list(pool.map(function, hosts))


# ---- up
def parse_features(words, hosts):
    """{"xh2": "-cx16,-sse3"} from ["xh2=-cx16,-sse3"]."""
    features = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in [host.name for host in hosts] or \
                not re.fullmatch(r"[+-][a-z0-9._-]+(,[+-][a-z0-9._-]+)*", value):
            raise LabError(f"--cpu {word}: expected HOST=-FEATURE[,+FEATURE...] of a host that "
                           "comes up, such as xh2=-cx16,-sse3")
        features[name] = value
    return features


def start_missing(hosts, built, features, shares):
    choice = accelerator.choose(built)
    for host in hosts:
        if host.pid() is None:
            host.start(built, choice, features.get(host.name, ""),
                       serves_storage=shares and host.number == 1)
            continue
        has = host.settings()["features"]
        if features.get(host.name, has) != has:
            raise LabError(f"{host.name} runs with another CPU ({has or 'the plain one'}); "
                           "deploy/lab down first")
    return choice


def join_storage(host):
    host.run("until [ -e /run/lab-storage ]; do sleep 0.2; done")
    server = network.address("lan", 1)
    host.run(f"/lab/storage join {server}")


def provide_agent(host):
    """The agent's last words when it does not run, else None: hosts without it are of use too."""
    try:
        agents.provide(host)
    except LabError as error:
        return str(error)
    return None


def up(options):
    started = time.monotonic()
    hosts = [Host(number + 1) for number in range(options.hosts)]
    features = parse_features(options.cpu, hosts)
    check_length()
    built = images.build()
    RUN.mkdir(parents=True, exist_ok=True)
    network.up()
    write_ssh_config(images.keys(), range(1, MOST_HOSTS + 1))
    choice = start_missing(hosts, built, features, options.shared)
    say(f"== {len(hosts)} host(s) with {choice.name}: {', '.join(host.name for host in hosts)}")
    each(Host.wait_ready, hosts)
    say(f"   in after {time.monotonic() - started:.1f} s")
    if options.shared:
        each(join_storage, hosts)
    if not options.bare:
        centre.start()
        say(f"== coordinator at {centre.told()['api']} in the lab's network")
        for failure in filter(None, each(provide_agent, hosts)):
            say(f"   {failure}")
    say(f"   up after {time.monotonic() - started:.1f} s; deploy/lab shell {hosts[0].name}")


# ---- the others
def down(_options):
    each(Host.stop, known_hosts())
    centre.stop()
    network.down()
    shutil.rmtree(RUN, ignore_errors=True)


def shell(options):
    host = find_host(options.host)
    if host.pid() is None:
        raise LabError(f"{host.name} is down (deploy/lab up)")
    terminal = ["-t"] if sys.stdin.isatty() else []
    command = host.ssh(*terminal) + options.command
    os.execvp(command[0], command)


def describe(host):
    pid = host.pid()
    if pid is None:
        return [f"{host.name}  down"]
    try:
        said = host.run("xl info; free -m; pidof crosspool-agent && echo agent runs; echo; xl list",
                        check=False, timeout=60)
    except (LabError, subprocess.TimeoutExpired) as error:
        return [f"{host.name}  up  pid {pid}  does not answer: {error}"]
    version = re.search(r"^xen_version\s*: (\S+)", said, re.M)
    memory = re.search(r"^Mem:\s+(\d+)\s+\d+\s+(\d+)", said, re.M)
    settings = host.settings()
    head = (f"{host.name}  up  pid {pid}  {settings['accelerator']}"
            f"{' ' + settings['features'] if settings['features'] else ''}  "
            f"xen {version[1] if version else '?'}  "
            f"dom0 {memory[1] if memory else '?'} MiB, {memory[2] if memory else '?'} free  "
            f"agent {'up' if 'agent runs' in said else 'down'}")
    return [head, *(f"     {line}" for line in said.split("\n\n")[-1].splitlines())]


def status(_options):
    hosts = known_hosts()
    for lines in each(describe, hosts):
        print("\n".join(lines))
    answer = centre.told()
    print(f"coordinator  {answer['api']}  pid {answer['pid']}" if answer else "coordinator  down")


def parse(words):
    parser = argparse.ArgumentParser(prog="deploy/lab", description="Emulated Xen hosts.")
    commands = parser.add_subparsers(required=True, metavar="up|down|shell|status")
    one = commands.add_parser("up", help="boots what does not run yet, and installs the agent")
    one.add_argument("hosts", nargs="?", type=int, default=2, choices=range(1, MOST_HOSTS + 1),
                     metavar="HOSTS", help="how many (2)")
    one.add_argument("--cpu", action="append", default=[], metavar="HOST=FEATURES",
                     help="changes to a host's CPU: xh2=-cx16,-sse3")
    one.add_argument("--shared", action="store_true",
                     help="xh1 serves NFS (/srv/nfs) and iSCSI (/dev/sda) to all")
    one.add_argument("--bare", action="store_true", help="no coordinator, no agents")
    one.set_defaults(run=up)
    commands.add_parser("down", help="ends everything").set_defaults(run=down)
    one = commands.add_parser("shell", help="a shell or a command in a host's dom0")
    one.add_argument("host")
    one.add_argument("command", nargs=argparse.REMAINDER)
    one.set_defaults(run=shell)
    commands.add_parser("status", help="what runs").set_defaults(run=status)
    return parser.parse_args(words)


def main():
    options = parse(sys.argv[1:])
    try:
        options.run(options)
    except (LabError, AssertionError, OSError) as error:
        say(f"deploy/lab: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
