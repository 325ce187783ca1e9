import pytest

from penstock.store.local_ports import local_ports


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        (None, ()),
        ("postgresql://u:p@localhost/d", (5432,)),
        ("postgresql://u:p@127.0.0.1:6000/d", (6000,)),
        ("postgresql://[::1]:6001/d", (6001,)),
        ("postgresql:///d", (5432,)),
        ("postgresql:///d?host=/var/run/postgresql&port=5433", (5433,)),
        ("postgresql:///d?host=elsewhere&host=localhost&port=1&port=2", (1, 2)),
        ("postgresql://u@db.example.com/d", ()),
        ("postgresql://10.0.0.1:5432/d", ()),
        ("postgresql://u:p@localhost:no/d", ()),
    ],
)
def test_ports_of_this_machine(url, ports):
    assert local_ports(url) == ports
