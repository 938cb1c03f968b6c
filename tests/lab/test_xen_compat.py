"""What operators of Xen have: files of xl, and the folder of what the host starts at its boot."""
import itertools
import json
import shlex

import pytest

from crosspool_test import shell
from xenlab import agents
from xenlab.place import LabError
from xenlab.xen_agent import IMAGES

SOURCE, DESTINATION = "xh2", "xh1"
LIMIT_S = 400
BOOT = f"{agents.PROGRAM} boot --config {agents.CONFIGURATION}"
AUTO, MOVED = "/etc/xen/auto", "/etc/xen/auto-moved"
WAITING, RESTARTS = "/var/lib/crosspool/autostart", "/var/lib/crosspool/restarts"
BOOT_FAILPOINTS = "/run/boot-failpoints"  # of the command alone, not of the agent
full = pytest.mark.full
names = itertools.count(1)


def clear(cluster):
    cluster.remove_guests()
    for agent in cluster.agents.values():
        agent.host.run(f"rm -rf {AUTO} {MOVED} {BOOT_FAILPOINTS}")


@pytest.fixture
def boot(cluster):
    """Boots a guest of the test's own at SOURCE, and removes all guests in the end."""
    clear(cluster)
    yield lambda **options: cluster.boot(SOURCE, f"c{next(names)}",
                                         **{"disks": (("raw", 8), ("qcow2", 8)), **options})
    clear(cluster)


def file_of(guest):
    return f"/run/xen/{guest.name}.cfg"


def move(cluster, guest, source, destination):
    ended = cluster.wait_end(cluster.migrate(guest.name, source, destination), LIMIT_S)
    assert ended["state"] == "succeeded", ended
    assert cluster.wait_one_home(guest) == destination
    cluster.follow(guest, destination)
    cluster.wait_no_leftovers()
    return ended


def content(agent, folder):
    """Names in a folder of dom0."""
    return agent.host.run(f"ls -A {folder} 2>/dev/null", check=False).split()


# ---- boot FILE.cfg
def refusal(host, text):
    """What the command says of a file with this text."""
    with pytest.raises(LabError) as refused:
        host.run(f"cat >/run/xen/refused.cfg; {BOOT} /run/xen/refused.cfg", input=text)
    return str(refused.value)


@full
def test_a_file_that_cannot_be_started_says_why_and_leaves_nothing(cluster, boot):
    guest = boot(start=BOOT)
    host = guest.host
    file = host.run(f"cat {file_of(guest)}")
    with pytest.raises(LabError, match="nothing.cfg: No such file"):
        host.run(f"{BOOT} /run/xen/nothing.cfg")
    assert "config parsing error" in refusal(host, "name = \n")
    assert f"has its name, {guest.name}" in refusal(host, file)
    same = f'{file}\nname = "other"\nuuid = "{guest.domain}"\n'
    assert "is on this host already" in refusal(host, same)
    other = f'{file}\nname = "other"\n'
    assert "no bridge nowhere" in refusal(host, f'{other}vif = ["bridge=nowhere"]\n')
    gone = f'{other}disk = ["format=raw,vdev=xvda,access=rw,backendtype=qdisk,target=/srv/gone"]\n'
    assert "image /srv/gone of disk xvda" in refusal(host, gone)
    assert "libxl's create: " in refusal(host, f'{other}kernel = "/nonexistent"\n')
    assert list(cluster.agents[SOURCE].numbers()) == [guest.domain]
    assert content(cluster.agents[SOURCE], RESTARTS) == []
    guest.assert_writes()


@full
@pytest.mark.parametrize("failpoint", ["guard.recorded", "guard.created", "guard.started"])
def test_a_start_whose_command_is_killed_is_finished_by_the_agent(cluster, boot, failpoint):
    script = (f"#!/bin/sh\nCROSSPOOL_FAILPOINTS={BOOT_FAILPOINTS} {BOOT} $1\n"
              f"test -e {BOOT_FAILPOINTS}/{failpoint}.hit\n")
    host = cluster.agents[SOURCE].host
    host.run(f"mkdir -p {BOOT_FAILPOINTS}; printf kill >{BOOT_FAILPOINTS}/{failpoint}; "
             f"cat >/run/boot-killed; chmod 755 /run/boot-killed", input=script)
    guest = boot(start="/run/boot-killed")
    guest.assert_writes()
    agent = cluster.agents[SOURCE]
    assert list(agent.numbers()) == [guest.domain]
    shell.wait_for("no record of a start",
                   lambda: content(agent, RESTARTS) == [], 60, 1)


# ---- what starts at the host's boot
def put_entry(agent, guest):
    """As an operator does."""
    agent.host.run(f"mkdir -p {AUTO}; ln -s {file_of(guest)} {AUTO}/10-{guest.name}")


def assert_starts_there(cluster, guest, name, ended):
    """The host's entry is one that xl accepts, of this guest, with the disks and bridges it has
    there; nothing waits any more."""
    agent = cluster.agents[name]
    assert content(agent, AUTO) == [f"{guest.name}.cfg"]
    assert content(agent, WAITING) == []
    entry = shlex.quote(f"{AUTO}/{guest.name}.cfg")
    found = json.loads(agent.host.run(f"xl create -q -n {entry}"))
    assert found["c_info"]["uuid"] == guest.domain
    assert found["c_info"]["name"] == guest.name
    formats = {"xvda": "raw", "xvdb": "qcow2"}
    expected = {disk["device"]: f"{IMAGES}/{disk['destination_vdi']}.{formats[disk['device']]}"
                for disk in ended["disks"]}
    assert {disk["vdev"]: disk["pdev_path"] for disk in found["disks"]} == expected
    assert [nic["bridge"] for nic in found["nics"]] == list(agents.BRIDGES.values())
    macs = {vif["mac"] for vif in cluster.vm(guest.name, agent.pool, state="running")["vifs"]}
    assert {nic["mac"] for nic in found["nics"]} == macs
    return agent.host.run(f"cat {entry}")


@full
@pytest.mark.parametrize("is_back", [False, True], ids=["there", "and-back"])
def test_a_guest_from_a_file_of_xl_moves_with_what_starts_it_at_boot(cluster, boot, is_back):
    guest = boot(start=BOOT)
    here, there = cluster.agents[SOURCE], cluster.agents[DESTINATION]
    assert here.host.run("pidof xl", check=False).strip() == "", "a daemon of xl"
    assert content(here, RESTARTS) == []
    number = cluster.number_of(guest, SOURCE)
    guest.tell("reboot")
    cluster.wait_again(guest, SOURCE, number)
    original = here.host.run(f"cat {file_of(guest)}")
    put_entry(here, guest)
    ended = move(cluster, guest, SOURCE, DESTINATION)
    assert assert_starts_there(cluster, guest, DESTINATION, ended).startswith(original)
    assert content(here, AUTO) == [] and content(here, MOVED) == [f"10-{guest.name}"]
    if is_back:
        ended = move(cluster, guest, DESTINATION, SOURCE)
        assert assert_starts_there(cluster, guest, SOURCE, ended).startswith(original)
        assert content(there, AUTO) == [] and content(there, MOVED) == [f"{guest.name}.cfg"]
        assert content(here, MOVED) == [f"10-{guest.name}"]
    guest.assert_writes()
    assert guest.verify().ok


@full
def test_a_guest_that_nothing_starts_at_boot_stays_so(cluster, boot):
    guest = boot()
    move(cluster, guest, SOURCE, DESTINATION)
    assert content(cluster.agents[DESTINATION], AUTO) == []
    assert content(cluster.agents[DESTINATION], WAITING) == []


@full
def test_an_entry_that_xl_cannot_read_stays_behind_and_the_guest_moves(cluster, boot):
    guest = boot()
    here = cluster.agents[SOURCE]
    here.host.run(f"mkdir -p {AUTO}; cat >{AUTO}/{guest.name}.cfg",
                  input=f'name = "{guest.name}"\nmemory = = 1\n')
    move(cluster, guest, SOURCE, DESTINATION)
    assert here.has_said("xl cannot read it, line 2")
    assert content(cluster.agents[DESTINATION], AUTO) == []
    assert content(here, AUTO) == [] and content(here, MOVED) == [f"{guest.name}.cfg"]


@full
@pytest.mark.parametrize("failpoint", ["handoff.owned", "handoff.unpaused"])
def test_an_agent_that_dies_after_it_owns_the_guest_makes_its_entry_later(cluster, boot, failpoint):
    guest = boot()
    there = cluster.agents[DESTINATION]
    put_entry(cluster.agents[SOURCE], guest)
    there.set_failpoint(failpoint, "kill")
    migration = cluster.migrate(guest.name, SOURCE, DESTINATION)
    shell.wait_for("the agent dead", lambda: not there.is_running(), LIMIT_S, 0.5)
    there.clear_failpoints()
    there.start()
    ended = cluster.wait_end(migration, LIMIT_S)
    assert ended["state"] == "succeeded", ended
    assert cluster.wait_one_home(guest) == DESTINATION
    assert_starts_there(cluster, guest, DESTINATION, ended)


@full
def test_a_handoff_that_is_given_up_leaves_no_entry(cluster, boot):
    guest = boot()
    here, there = cluster.agents[SOURCE], cluster.agents[DESTINATION]
    put_entry(here, guest)
    here.set_failpoint("handoff.before-released", "error not this time")
    migration = cluster.migrate(guest.name, SOURCE, DESTINATION)
    here.wait_failpoint("handoff.before-released", LIMIT_S)
    ended = cluster.wait_end(migration, LIMIT_S)
    here.clear_failpoints()
    assert ended["state"] == "failed", ended
    cluster.wait_no_leftovers(120)
    assert content(there, AUTO) == [] and content(there, WAITING) == []
    assert content(here, AUTO) == [f"10-{guest.name}"]
    guest.assert_writes()
