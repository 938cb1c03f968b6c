"""Seeded inventories and requests of varied shape for the planner."""
import random

MIB, GIB, MBIT = 1 << 20, 1 << 30, 125_000
NICS = [500 * MBIT, 1000 * MBIT, 10_000 * MBIT]


def host(name, pool, nic, memory_free, slots):
    return {"name": name, "pool": pool, "send_bytes_per_s": nic, "receive_bytes_per_s": nic,
            "memory_free_bytes": int(memory_free), "slots": slots, "networks": ["lan"]}


def local_sr(name, free=64 << 40, bytes_per_s=0, thin=True):
    return {"name": f"sr-{name}", "label": "local", "hosts": [name], "free_bytes": int(free),
            "bytes_per_s": bytes_per_s, "thin": thin}


def vm(rng, name, where, memory=None, disks=None, busy=0.04):
    """A guest whose memory and disks are written at up to `busy` of the slowest NIC's rate."""
    memory = memory or rng.choice([2, 4, 4, 8, 8, 16]) * GIB
    if disks is None:
        disks = rng.choice([[], [20], [20], [40], [20, 100], [10, 40, 80]])
    return {"name": name, "host": where, "memory_bytes": memory,
            "dirty_bytes_per_s": int(rng.uniform(0, busy) * NICS[0]),
            "write_bytes_per_s": int(rng.uniform(0, busy / 4) * NICS[0]) if disks else 0,
            "networks": ["lan"],
            "disks": [{"sr": f"sr-{where}", "size_bytes": size * GIB,
                       "allocated_bytes": int(size * rng.uniform(0.2, 1) * GIB)}
                      for size in disks]}


def whole(hosts, vms, links=(), srs=None, pools=("A", "B")):
    return {"pools": [{"name": p} for p in pools], "hosts": hosts, "links": list(links),
            "srs": srs or [local_sr(h["name"]) for h in hosts], "vms": vms}


def request(moves, **more):
    """`moves`: (vm, destination or None)"""
    return {"vms": [{"vm": v, **({"host": h} if h else {})} for v, h in moves],
            "mapping": {"networks": {"lan": "lan"}, "srs": {"local": "local"}}, **more}


def link(rng, rate=None):
    return [{"from": "A", "to": "B", "bytes_per_s": rate or rng.choice([1, 2, 4, 10, 40]) * NICS[1]}]


def slots_of(nic):
    """As many as fill the NIC with the slowest of peers, within reason."""
    return {NICS[0]: 4, NICS[1]: 4, NICS[2]: 16}[nic]


def pair_of_pools(rng, sources, destinations, nics):
    hosts = []
    for pool, count in (("A", sources), ("B", destinations)):
        for i in range(count):
            nic = rng.choice(nics)
            hosts.append(host(f"{pool.lower()}{i}", pool, nic, 4 << 40, slots_of(nic)))
    return hosts


def fan(rng, sources, destinations, nics):
    """VMs of some hosts to some others, which the request names or leaves open."""
    hosts = pair_of_pools(rng, sources, destinations, nics)
    vms, moves = [], []
    fixed = rng.random() < 0.7
    for source in hosts[:sources]:
        for i in range(rng.randint(2, 12)):
            vms.append(vm(rng, f"{source['name']}-{i}", source["name"]))
            to = rng.choice(hosts[sources:])["name"] if fixed else None
            moves.append((vms[-1]["name"], to))
    inventory = whole(hosts, vms, link(rng) if rng.random() < 0.5 else ())
    return inventory, request(moves, destination_pools=["B"], at_once=rng.choice([0, 0, 0, 16]))


def fan_in(rng):
    return fan(rng, rng.randint(3, 16), rng.randint(1, 3), NICS[:2] if rng.random() < 0.5 else NICS)


def fan_out(rng):
    return fan(rng, rng.randint(1, 3), rng.randint(3, 16), NICS[:2] if rng.random() < 0.5 else NICS)


def mixed(rng):
    return fan(rng, rng.randint(2, 12), rng.randint(2, 12), NICS)


def storage(rng):
    """Shared SRs of limited bandwidth; thin and thick."""
    inventory, wanted = fan(rng, rng.randint(2, 8), rng.randint(2, 8), NICS)
    targets = [h["name"] for h in inventory["hosts"] if h["pool"] == "B"]
    inventory["srs"] = [s for s in inventory["srs"] if s["hosts"][0] not in targets]
    for s in inventory["srs"]:
        s["bytes_per_s"] = rng.choice([0, 200 * MIB, 500 * MIB])
    for i in range(2):
        inventory["srs"].append({"name": f"array{i}", "label": "local" if i == 0 else "spare",
                                 "hosts": targets, "free_bytes": 1 << 48, "thin": i == 0,
                                 "bytes_per_s": rng.choice([300 * MIB, 1 * GIB, 2 * GIB])})
    return inventory, wanted


def cycle(rng):
    """Hosts that are nearly full exchange VMs in circles; a spare host may help."""
    count, nic = rng.randint(3, 8), rng.choice(NICS[1:])
    per_host = rng.randint(3, 8)
    size = rng.choice([2, 4, 8]) * GIB
    free = rng.choice([1, 1, 1, 2, 2, 3]) * size
    hosts = [host(f"a{i}", "A", nic, free, 4) for i in range(count)]
    vms, moves = [], []
    step = rng.choice([1, 1, 2])
    for i, source in enumerate(hosts):
        for v in range(per_host):
            memory = size if rng.random() < 0.7 else size // 2
            vms.append(vm(rng, f"{source['name']}-{v}", source["name"], memory,
                          rng.choice([[], [], [20]])))
            moves.append((vms[-1]["name"], hosts[(i + step) % count]["name"]))
    # room at the end for all that comes
    for i, target in enumerate(hosts):
        leaves = sum(v["memory_bytes"] for v in vms if v["host"] == target["name"])
        comes = sum(v["memory_bytes"] for v, m in zip(vms, moves) if m[1] == target["name"])
        target["memory_free_bytes"] = max(target["memory_free_bytes"], comes - leaves)
    if rng.random() < 0.25:
        # one host is full to the last byte, and so are those that it exchanges with
        for target in hosts[:2]:
            leaves = sum(v["memory_bytes"] for v in vms if v["host"] == target["name"])
            comes = sum(v["memory_bytes"] for v, m in zip(vms, moves) if m[1] == target["name"])
            target["memory_free_bytes"] = max(0, comes - leaves)
    hosts.append(host("spare", "A", nic, 2 * size, 4))
    return whole(hosts, vms, pools=("A",)), request(moves)


def full_cycle(seed):
    """(inventory, request): hosts that are full to the last byte exchange VMs in a circle, which only
    a spare host can break."""
    rng = random.Random(seed)
    inventory, wanted = cycle(rng)
    size = max(v["memory_bytes"] for v in inventory["vms"])
    for v in inventory["vms"]:
        v["memory_bytes"] = size
    for h in inventory["hosts"]:
        h["memory_free_bytes"] = 2 * size if h["name"] == "spare" else 0
    return inventory, wanted


SHAPES = [fan_in, fan_out, mixed, storage, cycle]


def instance(seed):
    """(shape, inventory, request)"""
    rng = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    inventory, wanted = shape(rng)
    wanted["seed"] = seed
    return shape.__name__, inventory, wanted


def relocation(seed=1):
    """96 VMs of 24 of 72 servers, 4 each, move to the other 48: the maintenance of UCC'15, with
    1 Gbit/s NICs and a 10 Gbit/s core between the racks."""
    rng = random.Random(seed)
    hosts = [host(f"s{i}", "A", NICS[1], 0, 4) for i in range(24)]
    hosts += [host(f"d{i}", "B", NICS[1], 64 * GIB, 4) for i in range(48)]
    vms = [vm(rng, f"s{i // 4}-{i % 4}", f"s{i // 4}", 2 * GIB * rng.choice([1, 2]), []) for i in range(96)]
    links = [{"from": "A", "to": "B", "bytes_per_s": 10 * NICS[1]}]
    return whole(hosts, vms, links), request([(v["name"], None) for v in vms],
                                             destination_pools=["B"])


def large(moves=10_000, hosts=1_000, seed=1):
    rng = random.Random(seed)
    half = hosts // 2
    all_hosts = [host(f"a{i}", "A", NICS[2], 0, 4) for i in range(half)]
    all_hosts += [host(f"b{i}", "B", NICS[2], 1 << 40, 4) for i in range(hosts - half)]
    vms = [vm(rng, f"v{i}", f"a{i % half}") for i in range(moves)]
    return (whole(all_hosts, vms, [{"from": "A", "to": "B", "bytes_per_s": 400 * NICS[1]}]),
            {"evacuate_pools": ["A"], "mapping": {"networks": {"lan": "lan"},
                                                  "srs": {"local": "local"}}})


def in_the_middle(inventory, request, plan):
    """Every 20th move runs and is half done; the others keep their destination."""
    vms = {v["name"]: v for v in inventory["vms"]}
    hosts = {h["name"]: h for h in inventory["hosts"]}
    running = plan["moves"][::20]
    names = {m["vm"] for m in running}
    for move in running:
        hosts[move["to"]]["memory_free_bytes"] -= vms[move["vm"]]["memory_bytes"]
    return inventory, {
        "mapping": request["mapping"],
        "vms": [{"vm": m["vm"], "host": m["to"]} for m in plan["moves"] if m["vm"] not in names],
        "running": [{"vm": m["vm"], "host": m["to"], "measured_bytes_per_s": 0,
                     "memory_left_bytes": vms[m["vm"]]["memory_bytes"],
                     "disks": [{"left_bytes": d["allocated_bytes"] // 2}
                               for d in vms[m["vm"]]["disks"]]} for m in running]}
