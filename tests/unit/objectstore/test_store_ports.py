"""The embedded store's ports: free, low, and the same again."""

import contextlib
import dataclasses
import socket

import pytest

from penstock.errors import ConfigurationError
from penstock.objectstore.ports import EPHEMERAL, Ports


def everything(ports):
    return [*dataclasses.asdict(ports).values(), ports.admin_grpc]


def test_all_are_different_and_below_the_ephemeral_range(tmp_path):
    ports = everything(Ports.choose(tmp_path, 9700))
    assert len(set(ports)) == 10
    assert all(0 < port < EPHEMERAL for port in ports)


def test_s3_gets_the_preferred_port_or_the_next_free_one(tmp_path):
    preferred = Ports.choose(tmp_path, 9700).s3
    assert preferred >= 9700
    with socket.create_server(("127.0.0.1", preferred)):
        assert Ports.choose(tmp_path, preferred).s3 > preferred


def test_those_from_before_are_kept_where_they_are_free(tmp_path):
    before = Ports.choose(tmp_path, 9700)
    assert Ports.choose(tmp_path, 9800, before) == before
    with contextlib.ExitStack() as squatters:
        for port in (before.master, before.admin_grpc):
            squatters.enter_context(socket.create_server(("127.0.0.1", port)))
        after = Ports.choose(tmp_path, 9800, before)
    changed = {name for name, port in dataclasses.asdict(after).items() if port != getattr(before, name)}
    assert changed == {"master", "admin"}
    assert len(set(everything(after))) == 10


def test_a_port_taken_at_another_address_of_the_machine_is_not_free(tmp_path):
    preferred = Ports.choose(tmp_path, 9700).s3
    with socket.create_server(("127.0.0.2", preferred)):
        assert Ports.choose(tmp_path, preferred).s3 != preferred


def test_homes_keep_out_of_each_others_way(tmp_path):
    one, other = (everything(Ports.choose(tmp_path / name, 9700))[1:] for name in ("one", "other"))
    assert not set(one) & set(other)


def test_without_a_free_port_the_message_names_the_range(tmp_path):
    last = EPHEMERAL - 1
    with contextlib.ExitStack() as squatters:
        with contextlib.suppress(OSError):
            squatters.enter_context(socket.create_server(("127.0.0.1", last)))
        with pytest.raises(ConfigurationError, match=rf"no free port from {last} to {last}.*PENSTOCK_PORT"):
            Ports.choose(tmp_path, last)


def test_they_are_remembered(tmp_path):
    ports = Ports.choose(tmp_path, 9700)
    file = tmp_path / "ports.json"
    ports.remember(file)
    assert Ports.remembered(file) == ports
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"s3": "x"}', "null"])
def test_what_cant_be_read_is_not_remembered(tmp_path, text):
    file = tmp_path / "ports.json"
    file.write_text(text)
    assert Ports.remembered(file) is None
    assert Ports.remembered(tmp_path / "absent") is None
