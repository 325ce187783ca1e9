"""The fault proxy itself: what it claims to do, it does. The server behind it is a scripted one."""

import http.client

import pytest

from penstock.testing.faults import FAULTS, Message, at_random, between, in_turn


@pytest.fixture
def ask(server):
    server.answers = [(200, b"a" * 1000)]

    def call(fault, method="GET", body=None):
        with between(("127.0.0.1", server.server_port), in_turn(iter([fault])), seed=1) as proxy:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
            try:
                connection.request(method, "/b/k", body)
                answer = connection.getresponse()
                return answer.status, answer.read(), dict(proxy.done)
            finally:
                connection.close()

    return call


def test_without_a_fault_all_passes(ask, server):
    assert ask(None, "PUT", b"body") == (200, b"a" * 1000, {})
    assert server.asked[0].method == "PUT"


def test_refusals_do_not_reach_the_store(ask, server):
    for fault, status, code in (("slow_down", 503, b"SlowDown"), ("server_error", 500, b"InternalError")):
        answer = ask(fault, "PUT", b"body")
        assert answer[0] == status
        assert code in answer[1]
        assert answer[2] == {fault: 1}
    assert server.asked == []


@pytest.mark.parametrize("fault", ["cut_before", "cut_request", "cut_answer"])
def test_a_cut_connection_gives_no_answer(ask, fault):
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(fault, "PUT", b"body")


def test_a_truncated_answer_ends_early(ask):
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask("truncate_answer")
    assert len(caught.value.partial) == 500


def test_a_flipped_answer_differs_in_one_bit(ask):
    _, body, done = ask("flip_answer")
    assert done == {"flip_answer": 1}
    different = [one ^ ord("a") for one in body if one != ord("a")]
    assert len(body) == 1000
    assert [one.bit_count() for one in different] == [1]


def test_a_seed_gives_the_same_mix():
    request = Message("GET / HTTP/1.1", b"", 0)
    rates = dict.fromkeys(FAULTS, 0.1)

    def drawn(seed):
        choose = at_random(seed, rates)
        return [choose(request) for _ in range(200)]

    assert drawn(3) == drawn(3)
    assert set(drawn(3)) == {None, *FAULTS}
    assert drawn(3) != drawn(4)
