"""A pool of three hosts is emptied into another one while its guests write and a coordinator and an
agent are killed; then all of them come back. Every guest is verified at both ends. With
CROSSPOOL_FULL=1 there are two guests on each host, otherwise one."""
import os
import time

from crosspool_test import images, shell

PER_HOST = 2 if os.environ.get("CROSSPOOL_FULL") == "1" else 1
GUESTS = {f"g{host}{number}": host for host in ("a1", "a2", "a3") for number in range(PER_HOST)}
DISKS = [("raw", 16), ("qcow2", 16)]
LIGHT = {"writers": 1, "rate": 50}  # emulated guests share the machine with all their moves
ENDED = ("succeeded", "succeeded-with-exceptions", "failed", "cancelled")


def show(site, evacuation):
    return site.api.get(f"/v1/evacuations/{evacuation}")


def places(shown):
    return {vm["name"]: vm["destination"]["host_name"] for vm in shown["vms"]}


def wait_counts(site, evacuation, what, reached, timeout=120):
    return shell.wait_for(what, lambda: reached(show(site, evacuation)["counts"]), timeout, 0.3)


def expect(site, guests, evacuation):
    """The guests may appear at their destinations from now on."""
    for name, host in places(show(site, evacuation)).items():
        site.expect(guests[name], host)


def progress(site):
    """Bytes that were copied; they tell a slow machine from a move that hangs."""
    return site.coordinator.query("SELECT md5(coalesce(string_agg(progress::text, ' ' ORDER BY"
                                  " migration_id), '')) FROM migration_progress")


def wait_end(site, evacuation, timeout=240, longest=900):
    """`timeout` is for one change; `longest` for all of them."""
    begun = changed = time.monotonic()
    before = None
    while True:
        shown = show(site, evacuation)
        if shown["state"] in ENDED:
            break
        now, after = time.monotonic(), (shown["counts"], progress(site))
        before, changed = after, changed if after == before else now
        assert now - changed < timeout and now - begun < longest, shown
        time.sleep(0.5)
    assert shown["state"] == "succeeded", shown
    assert shown["counts"]["moved"] == len(GUESTS) and shown["remaining"] == []
    return shown


def check_all(site, guests, shown, pool):
    """Each guest runs at its destination alone, with every write it was told was done."""
    for name, host in places(shown).items():
        guest = guests[name]
        site.follow(guest, host)
        guest.assert_writes(timeout=60)
        verdict = guest.verify()
        assert verdict.ok, (name, verdict)
        assert site.homes(guest) == [host]
    site.wait_no_leftovers()
    for host in site.hosts:
        here = [name for name, place in places(shown).items() if place == host]
        assert (site.pool_of(host) == pool) or not here
        found = images.vdis(site.agents[host].sr)
        assert len(found) == len(DISKS) * len(here), f"{host}: {found}, for {here}"
        site.wait_no_children(host)


def kill_the_coordinator(site):
    site.coordinator.kill()
    time.sleep(2)
    site.coordinator.start()
    site.wait_ready()


def kill_an_agent(site, host):
    site.agents[host].kill()
    time.sleep(1)
    site.agents[host].start()


def test_a_pool_is_emptied_and_filled_again(site):
    guests = {name: site.boot(host, name, DISKS, **LIGHT)
              for name, host in GUESTS.items()}
    request = {"pools": ["A"], "destination_pools": ["B"], "mapping": site.pool_mapping("A", "B"),
               "at_once": 1 + PER_HOST, "retries": 4}
    plan = site.api.post("/v1/evacuations?dry_run=true", request)
    assert plan["counts"]["waiting"] == len(GUESTS) and plan["plan"]["problems"] == []

    evacuation = site.api.post("/v1/evacuations", request, expect=202)["id"]
    expect(site, guests, evacuation)
    wait_counts(site, evacuation, "moves", lambda counts: counts["moving"] > 0)
    kill_the_coordinator(site)
    wait_counts(site, evacuation, "a move that is done", lambda counts: counts["moved"] > 0)
    moving = [vm for vm in show(site, evacuation)["vms"] if vm["state"] in ("moving", "waiting")]
    assert moving, "the evacuation was over before an agent could be killed"
    kill_an_agent(site, moving[0]["source"]["host_name"])
    shown = wait_end(site, evacuation)
    check_all(site, guests, shown, "B")
    assert site.api.get("/v1/pools/A")["in_maintenance"]

    for path in ("pools/A", "hosts/a1", "hosts/a2", "hosts/a3"):
        assert site.api.request("DELETE", f"/v1/{path}/maintenance").status == 200
    back = site.api.post(f"/v1/evacuations/{evacuation}/return", {}, expect=202)["id"]
    assert places(show(site, back)) == GUESTS
    expect(site, guests, back)
    check_all(site, guests, wait_end(site, back), "A")
