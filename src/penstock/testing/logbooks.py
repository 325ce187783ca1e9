"""The conformance suite of logbooks: subclass `LogbookSuite`, give it a logbook, and pytest does the rest."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from penstock.store.logbook import PAGE_BYTES, Logbook
from penstock.testing.stores import in_threads

_LINES = b"".join(b"%d line %d\n" % (100 + n // 3, n) for n in range(1000))


class LogbookSuite:
    """What every logbook must do.

    Fixtures that a subclass gives:
        book: an empty one.
    """

    def test_bytes_that_come_twice_count_once_and_a_gap_is_not_taken(self, book: Logbook) -> None:
        """Whatever a report is cut into."""
        assert book.append("j", "h", 0, b"1 a\n") == 4
        assert book.append("j", "h", 0, b"1 a\n2 b\n") == 8
        assert book.append("j", "h", 2, b"a\n") == 8
        assert book.append("j", "h", 100, b"x") == 8
        assert book.append("j", "h", 8, b"") == 8
        assert book.size("j", "h") == 8
        assert [(e.at, e.message) for e in book.forward("j", "h", 0)] == [(1, "a"), (2, "b")]

    def test_reports_that_come_at_once_leave_no_gap_and_nothing_twice(self, book: Logbook) -> None:
        """As those of a runner that turns from one server to the next."""
        whole = b"".join(b"%d line\n" % n for n in range(200))

        def report(number: int) -> None:
            sent = 0
            while sent < len(whole):
                sent = book.append("j", "h", sent, whole[sent : sent + 50 + 7 * number])

        in_threads(report)
        assert book.size("j", "h") == len(whole)
        assert book.read("j", "h", 0, 2 * len(whole)) == whole

    def test_any_part_is_read(self, book: Logbook) -> None:
        """From any place on, over the borders of what came at a time."""
        for number in range(10):
            book.append("j", "h", 7 * number, b"%07d" % number)
        whole = b"".join(b"%07d" % number for number in range(10))
        for begin in range(75):
            for size in (1, 6, 7, 8, 100):
                assert book.read("j", "h", begin, size) == whole[begin : begin + size]

    def test_logs_do_not_mix(self, book: Logbook) -> None:
        """Of other hosts or jobs, whose names begin with the same letters."""
        for number, where in enumerate((("j", "h"), ("j", "h2"), ("j2", "h"))):
            book.append(*where, 0, b"%d x\n" % number)
        assert [e.at for e in book.forward("j", "h", 0)] == [0]
        assert [e.at for e in book.forward("j", "h2", 0)] == [1]
        assert [e.at for e in book.forward("j2", "h", 0)] == [2]

    def test_half_a_line_is_no_event_yet(self, book: Logbook) -> None:
        """Until the rest of it has come."""
        book.append("j", "h", 0, b"1 a\n2 hal")
        assert [e.message for e in book.forward("j", "h", 0)] == ["a"]
        book.append("j", "h", 9, b"f\n")
        assert [e.message for e in book.forward("j", "h", 0)] == ["a", "half"]

    def test_reading_goes_on_where_it_ended(self, book: Logbook) -> None:
        """By byte positions."""
        book.append("j", "h", 0, _LINES)
        events = list(book.forward("j", "h", 0))
        assert len(events) == 1000
        assert next(e.message for e in book.forward("j", "h", events[499].end)) == "line 500"

    def test_a_time_is_found_by_halving(self, book: Logbook) -> None:
        """Of several events of one time the first; the end for a time that is still to come."""
        book.append("j", "h", 0, _LINES)
        events = list(book.forward("j", "h", 0))
        for at in (90, 100, 101, 250, 432, 433, 450):
            expected = next((e.start for e in events if e.at >= at), len(_LINES))
            assert book.position_of_time("j", "h", at) == expected

    @pytest.mark.parametrize("seed", range(20))
    def test_any_messages_come_back_and_every_time_is_found(self, book: Logbook, seed: int) -> None:
        """However they are cut into reports."""
        chance = random.Random(seed)  # noqa: S311 - no secret
        at, data, messages = 0, b"", []
        for _ in range(chance.randrange(60)):
            at += chance.choice((0, 0, 1, 3))
            message = "".join(chance.choices("aé水🐟\r \t\0\x85\u2028", k=chance.randrange(30)))
            data += b"%d " % at + message.encode() + b"\n"
            messages.append((at, message))
        sent = 0
        while sent < len(data):
            sent = book.append("j", "h", sent, data[sent : sent + chance.randint(1, 200)])
        events = list(book.forward("j", "h", 0))
        assert [(e.at, e.message) for e in events] == messages
        for wanted in range(at + 2):
            expected = next((e.start for e in events if e.at >= wanted), len(data))
            assert book.position_of_time("j", "h", wanted) == expected

    @pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
    def test_events_are_the_same_whatever_is_read_at_once(
        self, book: Logbook, monkeypatch: pytest.MonkeyPatch, block: int
    ) -> None:
        """From any place on, forwards and backwards."""
        monkeypatch.setattr(type(book), "block", block)
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
    def test_the_tail_is_read_backwards(self, book: Logbook, limit: int) -> None:
        """As many events as are asked for, or all."""
        book.append("j", "h", 0, _LINES)
        tail = book.before("j", "h", len(_LINES), limit)
        assert [e.message for e in tail] == [f"line {n}" for n in range(1000)][-limit:]

    @pytest.mark.parametrize(
        ("line", "end", "limit"), [(b"1 a\n", 4000, 10), (b"1 " + b"a" * 99_997 + b"\n", 5_000_000, 10_000)]
    )
    def test_a_page_backwards_reads_no_more_than_it_needs(
        self, book: Logbook, monkeypatch: pytest.MonkeyPatch, line: bytes, end: int, limit: int
    ) -> None:
        """Neither what follows it, up to the log's end, nor more lines than a page holds."""
        counts: list[int] = []
        real = type(book).read

        def read(self: Logbook, job_uid: str, host: str, position: int, size: int) -> bytes:
            block = real(self, job_uid, host, position, size)
            counts.append(len(block))
            return block

        monkeypatch.setattr(type(book), "read", read)
        piece = line * (1_000_000 // len(line))
        for number in range(20):
            book.append("j", "h", number * len(piece), piece)
        events = book.before("j", "h", end, limit)
        assert events[-1].end == end
        assert len(events) == min(limit, PAGE_BYTES // len(line))
        assert sum(counts) < 12 * PAGE_BYTES

    def test_a_log_that_is_not_there_is_empty(self, book: Logbook) -> None:
        """And nothing fails."""
        assert book.size("j", "h") == 0
        assert list(book.forward("j", "h", 0)) == []
        assert book.before("j", "h", 0, 5) == []
        assert book.position_of_time("j", "h", 5) == 0

    def test_what_logs_take_is_known(self, book: Logbook) -> None:
        """Of each job, and of all together."""
        assert (list(book.uids()), book.bytes_of("j"), book.total()) == ([], 0, 0)
        for where in (("j", "h"), ("j", "h2"), ("k", "h")):
            book.append(*where, 0, b"1 x\n")
        book.append("j", "h", 4, b"2 yy\n")
        assert sorted(book.uids()) == ["j", "k"]
        assert (book.bytes_of("j"), book.bytes_of("k"), book.bytes_of("l"), book.total()) == (13, 4, 0, 17)

    def test_a_jobs_logs_are_deleted(self, book: Logbook) -> None:
        """Of all its hosts, and of no other job; it may be done twice."""
        for where in (("j", "h"), ("j", "h2"), ("k", "h")):
            book.append(*where, 0, b"1 x\n")
        book.delete("j")
        book.delete("j")
        assert (book.size("j", "h"), book.size("j", "h2"), book.size("k", "h")) == (0, 0, 4)
