from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.store.logbook import PAGE_BYTES, Logbook

LINES = b"".join(b"%d line %d\n" % (100 + n // 3, n) for n in range(1000))


@pytest.fixture
def book(tmp_path):
    made = Logbook(tmp_path)
    made.append("j", "algo-1", 0, LINES)
    return made


def test_bytes_that_come_twice_count_once_and_a_gap_is_not_taken(tmp_path):
    book = Logbook(tmp_path)
    assert book.append("j", "h", 0, b"1 a\n") == 4
    assert book.append("j", "h", 0, b"1 a\n2 b\n") == 8
    assert book.append("j", "h", 2, b"a\n") == 8
    assert book.append("j", "h", 100, b"x") == 8
    assert [(e.at, e.message) for e in book.forward("j", "h", 0)] == [(1, "a"), (2, "b")]


def test_half_a_line_is_no_event_yet(tmp_path):
    book = Logbook(tmp_path)
    book.append("j", "h", 0, b"1 a\n2 hal")
    assert [e.message for e in book.forward("j", "h", 0)] == ["a"]


def test_reading_goes_on_where_it_ended(book):
    events = list(book.forward("j", "algo-1", 0))
    assert len(events) == 1000
    assert next(e.message for e in book.forward("j", "algo-1", events[499].end)) == "line 500"


@given(st.integers(90, 450))
def test_a_time_is_found_by_halving(tmp_path_factory, at):
    book = Logbook(tmp_path_factory.getbasetemp() / "halving")
    book.append("j", "algo-1", 0, LINES)
    events = list(book.forward("j", "algo-1", 0))
    expected = next((e.start for e in events if e.at >= at), len(LINES))
    assert book.position_of_time("j", "algo-1", at) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.text(st.characters(exclude_characters="\n"), max_size=30)),
        max_size=60,
    )
)
def test_any_messages_come_back_and_every_time_is_found(tmp_path_factory, steps):
    book = Logbook(tmp_path_factory.mktemp("any"))
    at, data, messages = 0, b"", []
    for step, message in steps:
        at += step
        encoded = message.encode("utf-8", "replace")
        data += b"%d " % at + encoded + b"\n"
        messages.append((at, encoded.decode()))
    book.append("j", "h", 0, data)
    events = list(book.forward("j", "h", 0))
    assert [(e.at, e.message) for e in events] == messages
    for wanted in range(at + 2):
        expected = next((e.start for e in events if e.at >= wanted), len(data))
        assert book.position_of_time("j", "h", wanted) == expected


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_events_are_the_same_whatever_is_read_at_once(tmp_path, monkeypatch, block):
    monkeypatch.setattr("penstock.store.logbook._BLOCK", block)
    book = Logbook(tmp_path)
    messages = ["", "a", "\r", "x" * 63, "ü" * 40, "", "y" * 64, "z" * 500, "end"]
    data = b"".join(b"%d %s\n" % (n, text.encode()) for n, text in enumerate(messages)) + b"9 half"
    book.append("j", "h", 0, data)
    events = list(book.forward("j", "h", 0))
    assert [(e.at, e.message) for e in events] == list(enumerate(messages))
    assert b"".join(data[e.start : e.end] for e in events) == data.removesuffix(b"9 half")
    for event, following in pairwise(events):
        assert event.end == following.start
        assert next(book.forward("j", "h", event.start + 1)) == following
        assert book.position_of_time("j", "h", following.at) == following.start
        assert book.before("j", "h", following.end, 1) == [following]
    assert list(book.forward("j", "h", events[-1].end)) == []


@pytest.mark.parametrize("limit", [1, 7, 5000])
def test_the_tail_is_read_backwards(book, limit):
    tail = book.before("j", "algo-1", len(LINES), limit)
    assert [e.message for e in tail] == [f"line {n}" for n in range(1000)][-limit:]


@pytest.mark.parametrize(
    ("line", "end", "limit"), [(b"1 a\n", 4000, 10), (b"1 " + b"a" * 99_997 + b"\n", 5_000_000, 10_000)]
)
def test_a_page_backwards_reads_no_more_than_it_needs(tmp_path, line, end, limit):
    """Neither what follows it, up to the log's end, nor more lines than a page holds."""

    class Counting(Logbook):
        count = 0

        def _read(self, *where):
            block = super()._read(*where)
            self.count += len(block)
            return block

    book = Counting(tmp_path)
    book.append("j", "h", 0, line * (20_000_000 // len(line)))
    events = book.before("j", "h", end, limit)
    assert events[-1].end == end
    assert len(events) == min(limit, PAGE_BYTES // len(line))
    assert book.count < 12 * PAGE_BYTES


def test_a_log_that_is_not_there_is_empty(tmp_path):
    book = Logbook(tmp_path)
    assert book.size("j", "h") == 0
    assert list(book.forward("j", "h", 0)) == []
    assert book.before("j", "h", 0, 5) == []
    assert book.position_of_time("j", "h", 5) == 0


def test_a_jobs_logs_are_deleted(book):
    book.delete("j")
    book.delete("j")
    assert book.size("j", "algo-1") == 0


@pytest.mark.parametrize("name", ["../x", "a/b", ".x"])
def test_a_name_never_leads_out_of_the_folder(book, name):
    with pytest.raises(ValueError, match="not the name"):
        book.append(name, "h", 0, b"")
