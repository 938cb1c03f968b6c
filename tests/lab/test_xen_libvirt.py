"""Guests that libvirt's libxl driver made: adopted, moved, and left alone by libvirt afterwards."""
import pytest

from test_xen_move import LIMIT_S, assert_moved, summary

SOURCE, DESTINATION = "xh2", "xh1"


def listed(cluster, name):
    """Names of libvirt's running domains at the host."""
    return cluster.agents[name].host.run("/lab/guest/virsh list --name").split()


@pytest.mark.full
def test_a_guest_of_libvirt_moves(cluster, own_name, note):
    guest = cluster.boot(SOURCE, own_name, start="/lab/guest/virsh create-xl")
    assert own_name in listed(cluster, SOURCE)
    source = cluster.agents[SOURCE]
    source.host.run(f"/lab/guest/virsh dumpxml {own_name} >/run/{own_name}.xml && "
                    f"/lab/guest/virsh define /run/{own_name}.xml && "
                    f"/lab/guest/virsh autostart {own_name}")
    link = f"/etc/libvirt/libxl/autostart/{own_name}.xml"
    source.host.run(f"test -L {link}")
    source.set_failpoint("handoff.before-released", "error not this time")
    migration = cluster.migrate(own_name, SOURCE, DESTINATION)
    source.wait_failpoint("handoff.before-released", LIMIT_S)
    ended = cluster.wait_end(migration, LIMIT_S)
    source.clear_failpoints()
    assert ended["state"] == "failed" and "not this time" in ended["error"]["message"], ended
    assert cluster.wait_one_home(guest) == SOURCE
    assert own_name in listed(cluster, SOURCE)
    guest.assert_writes()
    ended = cluster.wait_end(cluster.migrate(own_name, SOURCE, DESTINATION), LIMIT_S)
    assert_moved(cluster, guest, DESTINATION, ended)
    assert own_name not in listed(cluster, SOURCE)
    source.host.run(f"! test -e {link} && test -L {link.replace('autostart/', 'autostart-moved/')}")
    note(summary(ended))
