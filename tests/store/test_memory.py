"""The coordinator's memory does not grow with what it manages: it keeps nothing of it."""
import pathlib
import re

import pytest

from crosspool_test.fake_host import FakeHost

HOSTS, VMS = 10, 1000
LIMIT_MIB = 100


def peak_mib(pid):
    """VmHWM."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1024


@pytest.mark.long
def test_ten_thousand_vms_fit_into_100_mib(coordinator, admin, tmp_path):
    admin.post("/v1/pools", {"name": "A"})
    for number in range(HOSTS):
        host = FakeHost(coordinator, admin, tmp_path / f"h{number}", "A", f"h{number}")
        for vm in range(VMS):
            host.add_vm(f"vm-{number}-{vm}")
        host.report()
    seen, cursor = 0, ""
    while cursor is not None:
        page = admin.get(f"/v1/vms?limit=500{'&cursor=' + cursor if cursor else ''}")
        seen += len(page["items"])
        cursor = page["next"]
    assert seen == HOSTS * VMS
    peak = peak_mib(coordinator.process.pid)
    print(f"peak memory {peak:.0f} MiB")
    assert peak <= LIMIT_MIB
