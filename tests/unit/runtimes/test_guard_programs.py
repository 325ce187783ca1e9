"""The guard's eBPF programs, run by a small interpreter: what they let through and what not."""

import socket
import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtimes.base import Closed
from penstock.runtimes.guard import METADATA, assemble, firewall_rule

PORTS = (11000, 65535)
CLOSED = Closed(METADATA, PORTS)


def lets_through(closed, address, port):
    """What the hook of the address's own family answers."""
    peer = ip_address(address)
    six = peer.version == 6
    ip4, ip6 = (bytes(4), peer.packed) if six else (peer.packed, bytes(16))
    context = struct.pack("=I", socket.AF_INET6 if six else socket.AF_INET) + ip4 + ip6
    context += struct.pack("!H", port) + bytes(2)
    code = assemble(closed, six=six)
    registers, place = [0] * 11, 0
    while True:
        what, both, offset, number = struct.unpack_from("<BBhI", code, place * 8)
        target, source = both & 15, both >> 4
        place += 1
        match what:
            case 0xBF | 0xBC:
                registers[target] = registers[source]
            case 0x61:
                (registers[target],) = struct.unpack_from("=I", context, offset)
            case 0xDC:
                size = number // 8
                kept = registers[target].to_bytes(8, "little")[:size]
                registers[target] = int.from_bytes(kept, "big")
            case 0x74:
                registers[target] >>= number
            case 0x16:
                place += offset if registers[target] == number else 0
            case 0x56:
                place += offset if registers[target] != number else 0
            case 0x05:
                place += offset
            case 0xB7:
                registers[target] = number
            case 0x95:
                return bool(registers[0])


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "169.254.0.0", "169.254.255.255", "::ffff:169.254.169.254"),
        *("fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe"),
    ],
)
def test_metadata_is_closed_but_for_names(address):
    assert [lets_through(CLOSED, address, port) for port in (80, 443, 11001, 53)] == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.1.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"],
)
def test_inner_ports_are_closed_on_loopback(address):
    assert [lets_through(CLOSED, address, port) for port in (*PORTS, 10999, 9550, 53)] == [
        False,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    "address",
    [
        *("169.253.255.255", "169.255.0.0", "128.0.0.1", "126.255.255.255", "1.0.0.127", "254.169.254.169"),
        *(
            "::2",
            "fd00:ec2::253",
            "fd00:ec2:1::254",
            "fe80::a9fe:a9ff",
            "::fffe:127.0.0.1",
            "2001:db8::127.0.0.1",
        ),
    ],
)
def test_everything_else_is_open(address):
    assert all(lets_through(CLOSED, address, port) for port in (1, 53, 80, *PORTS))


def test_nothing_is_closed_unless_said():
    assert lets_through(Closed(), "169.254.169.254", 80)
    assert lets_through(Closed(), "127.0.0.1", 11000)


NETWORKS = st.ip_addresses().flatmap(
    lambda one: st.integers(1, one.max_prefixlen).map(lambda bits: ip_network((one, bits), strict=False))
)


@given(st.lists(NETWORKS, max_size=4), st.ip_addresses(), st.integers(0, 65535), st.data())
def test_networks_of_any_size(networks, address, port, data):
    if networks:
        chosen = data.draw(st.sampled_from(networks))
        address = data.draw(
            st.one_of(st.just(address), st.integers(0, chosen.num_addresses - 1).map(lambda n: chosen[n]))
        )
    mapped = getattr(address, "ipv4_mapped", None)
    within = any(
        (mapped or address) in network
        for network in networks
        if network.version == (mapped or address).version
    )
    if int(address) > 1 or address.version == 4:  # :: and ::1 are loopback
        assert lets_through(Closed(tuple(map(str, networks))), address, port) == (not within or port == 53)


def test_the_firewall_rule_names_the_user_and_all_addresses():
    rule = firewall_rule("somebody")
    assert rule.count("skuid somebody") == 2
    assert all(network in rule for network in METADATA)
