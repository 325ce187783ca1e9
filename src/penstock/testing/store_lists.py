"""The conformance suite of the Store, third part: lists of jobs. See `stores`."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Select

from penstock.job.life import Job, Phase, StopAsked, advance
from penstock.store import listing, stretches, ways
from penstock.store.database import Store
from penstock.store.job_query import JobQuery, SortKey
from penstock.testing.stores import StoreBase, found, new_job

SORTS: tuple[SortKey, ...] = ("Name", "CreationTime", "Status")

#: Names that the rules of a language would put in another order than their code points.
_NAMES = (
    "a",
    "A",
    "ab",
    "a-b",
    "aB",
    "Ab",
    "a_c",
    "a%",
    "B-a",
    "b",
    "abc",
    "abcd",
    "xabc",
    "aBc",
    "AbC-",
    '"abc"',
    "é",
)
_PARTS = (None, None, None, "a", "B", "ab", "abc", "bc", "%", "_", "a-b", "ABC", '"ab', "abcde", "")
_PHASES = (Phase.QUEUED, Phase.RUNNING, Phase.STOPPING, Phase.COMPLETED, Phase.FAILED)


def fits(job: Job, q: JobQuery) -> bool:
    """Whether a job fulfils the conditions of a query."""
    return (
        (q.created_after is None or job.created_at >= q.created_after)
        and (q.created_before is None or job.created_at <= q.created_before)
        and (q.modified_after is None or job.modified_at >= q.modified_after)
        and (q.modified_before is None or job.modified_at <= q.modified_before)
        and (q.name_contains is None or q.name_contains in job.name)
        and (q.status is None or job.status == q.status)
    )


def place(job: Job, q: JobQuery) -> tuple[Any, str]:
    """Where a job stands in the order of a query."""
    return {"Name": job.name, "CreationTime": job.created_at, "Status": job.status}[q.sort_by], job.name


class ListSuite(StoreBase):
    """What `list_jobs` must do, whichever way it takes."""

    @pytest.fixture(params=["near", "skip", "pick", "on"], autouse=True)
    def way(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each test with jobs picked by their times; in small stretches; picked by their names; and walked on then."""
        monkeypatch.setattr(stretches, "FEW", 2)
        monkeypatch.setattr(stretches, "MOST", 4)
        monkeypatch.setattr(listing, "NEAR", 1000 if request.param == "near" else 0)
        monkeypatch.setattr(listing, "TRIED", 1 if request.param in {"pick", "on"} else 1000)
        monkeypatch.setattr(listing, "MANY", 1)
        monkeypatch.setattr(listing, "WALKED", 0)
        monkeypatch.setattr(listing, "FEW", 1000 if request.param == "pick" else 0)

    @pytest.mark.parametrize("sort_by", SORTS)
    @pytest.mark.parametrize("descending", [False, True])
    def test_pages_show_every_job_once_in_order_also_while_jobs_are_added(
        self, store: Store, sort_by: SortKey, descending: bool
    ) -> None:
        """What comes meanwhile is told at most once, in its place."""
        drawn = random.Random(7)  # noqa: S311 - draws cases
        for n in range(25):
            status = {"phase": Phase.COMPLETED} if n % 3 else {}
            store.add_job(new_job(f"j{n:02}", drawn.randrange(5), **status), {})
        query = JobQuery(sort_by=sort_by, descending=descending, name_contains="")
        seen: list[Job] = []
        page, after = store.list_jobs(query, 4)
        while True:
            seen += page
            if after is None:
                break
            store.add_job(new_job(f"new-{len(seen)}", 2), {})
            page, after = store.list_jobs(query, 4, after)
        old = [j.name for j in seen if j.name.startswith("j")]
        assert sorted(old) == [f"j{n:02}" for n in range(25)]
        order = [place(j, query) for j in seen]
        assert order == sorted(order, reverse=descending)

    def test_filters(self, store: Store) -> None:
        """Each by itself."""
        for n in range(6):
            store.add_job(replace(new_job(f"j{n}-name", n), modified_at=10 + n), {})
        store.save_job(advance(found(store, "j3-name"), StopAsked(), 99))

        def numbers(**query: Any) -> str:
            return "".join(j.name[1] for j in store.list_jobs(JobQuery(**query), 100)[0])

        for sort_by in SORTS:
            last = {"Status": "j3"}.get(sort_by)
            everything = "012453" if last else "012345"
            assert numbers(sort_by=sort_by) == numbers(sort_by=sort_by, name_contains="name") == everything
        assert numbers(created_after=2, created_before=4) == "234"
        assert numbers(modified_after=15) == "35"
        assert numbers(modified_after=100) == ""
        assert numbers(modified_before=11) == "01"
        assert numbers(name_contains="j4") == numbers(name_contains="j4-na") == "4"
        assert numbers(name_contains="J4") == numbers(name_contains="J4-NA") == ""
        assert numbers(name_contains="%") == numbers(name_contains="_") == numbers(name_contains="%-na") == ""
        assert numbers(status="Stopped") == "3"
        assert numbers(status="Completed") == ""

    def test_a_place_and_a_time_hold_both(self, store: Store) -> None:
        """Whichever of them is nearer, in either direction."""
        for n in range(6):
            store.add_job(new_job(f"j{n}", n, phase=Phase.COMPLETED), {})

        def numbers(place: int, **query: Any) -> str:
            return "".join(j.name[1] for j in store.list_jobs(JobQuery(**query), 9, [place, f"j{place}"])[0])

        for more in ({}, {"name_contains": "j"}, {"modified_after": 1}):
            assert numbers(1, created_after=3, **more) == numbers(2, created_after=3, **more) == "345"
            assert numbers(3, created_after=3, **more) == numbers(3, created_after=1, **more) == "45"
            back = {"descending": True, **more}
            assert numbers(5, created_before=2, created_after=1, **back) == "21"
            assert numbers(2, created_before=2, created_after=1, **back) == "1"
            assert numbers(2, created_before=4, created_after=1, **back) == "1"
            assert numbers(5, modified_before=3, created_after=1, **back) == "321"

    @pytest.mark.parametrize("descending", [False, True])
    def test_names_beside_each_other_are_found_at_times_far_apart(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, descending: bool
    ) -> None:
        """By their own order, where only there few stretches have them; those of jobs that run, too."""
        monkeypatch.setattr(listing, "NEAR", 1000)
        monkeypatch.setattr(listing, "TRIED", 1)
        monkeypatch.setattr(listing, "WALKED", 7)
        asked: list[ways.Shape] = []

        def names_of(shape: ways.Shape) -> Select[Any]:
            asked.append(shape)
            return ways.names_of(shape)

        monkeypatch.setattr(listing, "names_of", names_of)
        for n in range(100):
            name = f"b-here-{n:02}" if n % 10 == 3 else f"{'ac'[n % 2]}-{n:02}"
            store.add_job(new_job(name, n, phase=Phase.COMPLETED), {})
        store.add_job(new_job("a-here-50", 50), {})
        seen: list[int] = []
        query, after = JobQuery(name_contains="-here-", descending=descending), None
        while True:
            page, after = store.list_jobs(query, 4, after)
            seen += [j.created_at for j in page]
            if after is None:
                break
        assert seen == sorted([50, *range(3, 100, 10)], reverse=descending)
        assert asked

    def test_a_name_of_any_length_is_found_by_all_of_it(self, store: Store) -> None:
        """Of a long one more letters are asked for than of a short one."""
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
        for length in (1, 6, 7, 12, 20, 40, 63):
            store.add_job(new_job(letters[:length], length, phase=Phase.COMPLETED), {})
        for length in (1, 6, 7, 12, 20, 40, 63):
            by_it = store.list_jobs(JobQuery(name_contains=letters[:length]), 9)[0]
            assert [j.created_at for j in by_it] == [n for n in (1, 6, 7, 12, 20, 40, 63) if n >= length]
        assert store.list_jobs(JobQuery(name_contains=letters + letters), 9) == ([], None)

    def test_a_deleted_job_is_listed_no_more_and_its_name_may_come_again(self, store: Store) -> None:
        """Once, by a part of its name too."""
        for turn in range(3):
            store.add_job(new_job("abcde", turn, phase=Phase.COMPLETED), {})
            assert [j.created_at for j in store.list_jobs(JobQuery(name_contains="bcd"), 9)[0]] == [turn]
            store.delete_job(found(store, "abcde"))
            assert store.list_jobs(JobQuery(name_contains="bcd"), 9)[0] == []

    def test_a_part_of_a_name_is_found_however_long_ago_the_job_came(self, store: Store) -> None:
        """A store may look at the names of new jobs otherwise than at those of old ones, and move them at any time."""
        numbers = range(700)
        for first in range(0, 700, 70):
            store.add_jobs(
                [(new_job(f"part-{n:03}", n, phase=Phase.COMPLETED), {}) for n in range(first, first + 70)]
            )
            found_now = store.list_jobs(JobQuery(name_contains="art-"), 1000)[0]
            assert [j.created_at for j in found_now] == list(range(first + 70))
        for n in numbers[::7]:
            store.delete_job(found(store, f"part-{n:03}"))
        left = [n for n in numbers if n % 7]
        assert [j.created_at for j in store.list_jobs(JobQuery(name_contains="art-"), 1000)[0]] == left
        assert [j.created_at for j in store.list_jobs(JobQuery(name_contains="-699"), 9)[0]] == [699]

    def test_a_long_part_of_a_name_is_held_as_a_whole(self, store: Store) -> None:
        """Not by its two ends alone."""
        names = [f"alike-at-first-{n:02}-and-at-the-end" for n in range(12)]
        store.add_jobs([(new_job(name, n, phase=Phase.COMPLETED), {}) for n, name in enumerate(names)])
        assert [j.name for j in store.list_jobs(JobQuery(name_contains=names[7][1:-1]), 9)[0]] == [names[7]]
        assert store.list_jobs(JobQuery(name_contains="like-at-first-7-and-at-the-en"), 9)[0] == []

    @pytest.mark.parametrize("seed", range(4))
    def test_pages_are_those_of_a_plain_list(self, store: Store, seed: int) -> None:
        """Drawn jobs with many ties, and drawn queries of every kind."""
        drawn = random.Random(seed)  # noqa: S311 - draws cases
        jobs = [
            Job(
                name,
                f"{name}-u",
                f"arn:{name}",
                {},
                at,
                at + drawn.choice([0, 0, 1, 3]),
                drawn.choice(_PHASES),
            )
            for name, at in ((name, drawn.randrange(5)) for name in _NAMES)
        ]
        store.add_jobs([(job, {}) for job in jobs])

        def sometimes(*values: Any) -> Any:
            return drawn.choice([None, None, *values])

        for _ in range(60):
            query = JobQuery(
                created_after=sometimes(0, 2, 3),
                created_before=sometimes(2, 4),
                modified_after=sometimes(0, 3, 6),
                modified_before=sometimes(1, 4),
                name_contains=drawn.choice(_PARTS),
                status=sometimes("InProgress", "Stopping", "Completed", "Stopped"),
                sort_by=drawn.choice(SORTS),
                descending=drawn.choice([False, True]),
            )
            expected = sorted(
                (j for j in jobs if fits(j, query)), key=lambda j: place(j, query), reverse=query.descending
            )
            size = drawn.randrange(1, 5)
            seen, after = store.list_jobs(query, size)
            while after is not None:
                page, after = store.list_jobs(query, size, after)
                assert len(page) == size or after is None
                seen += page
            assert seen == expected, query
