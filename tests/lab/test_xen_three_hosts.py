"""Three hosts, two migrations at once that cross each other."""
import pytest

from test_xen_move import LIMIT_S, assert_moved, other, summary

WEAK = "xh2"  # what moves both ways begins where the CPU can less


@pytest.mark.full
def test_two_migrations_cross_each_other(cluster, own_name, note):
    """One guest leaves xh2 for xh3 while another one comes from xh1 to xh2."""
    leaving, coming = (cluster.boot(WEAK, f"{own_name}{side}", disks=(("raw", 8), ("qcow2", 8)),
                                    is_full=True, memory_mib=96) for side in ("l", "c"))
    first = other(cluster, coming)
    moved = cluster.wait_end(cluster.migrate(coming.name, WEAK, first), LIMIT_S)
    assert_moved(cluster, coming, first, moved)
    with cluster.one_more_host() as third:
        migrations = [cluster.migrate(leaving.name, WEAK, third),
                      cluster.migrate(coming.name, first, WEAK)]
        ends = [cluster.wait_end(migration, 2 * LIMIT_S) for migration in migrations]
        assert max(end["started_at"] for end in ends) < min(end["ended_at"] for end in ends)
        for guest, destination in ((leaving, third), (coming, WEAK)):
            cluster.follow(guest, cluster.wait_one_home(guest))
            assert guest.host.name == destination
        for guest, end in zip((leaving, coming), ends):
            assert_moved(cluster, guest, guest.host.name, end)
            note(f"{guest.name}: {summary(end)}")
        back = cluster.wait_end(cluster.migrate(leaving.name, third, first), LIMIT_S)
        assert_moved(cluster, leaving, first, back)
