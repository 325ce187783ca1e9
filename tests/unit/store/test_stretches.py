"""Stretches: they never say less than there is, are cut as they grow, and are given up when empty."""

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from penstock.job.life import Phase
from penstock.store import stretches
from penstock.store.database import open_sqlite
from penstock.store.tables import name_stretches, time_stretches
from penstock.testing.stores import new_job

NAMES = st.text("ab-é1", min_size=1, max_size=12)


@given(names=st.lists(NAMES, min_size=1, max_size=5), data=st.data())
def test_every_part_of_a_name_is_noted(names, data):
    bits = bytearray(stretches.LETTERS)
    stretches._set(bits, names)
    name = data.draw(st.sampled_from(names))
    begin = data.draw(st.integers(0, len(name) - 1))
    part = name[begin : data.draw(st.integers(begin + 1, len(name)))]
    wanted = stretches.letters(part)
    assert wanted
    assert all(bits[at] & some == some for at, some in wanted.items())


def test_letters_that_no_name_has_are_told():
    bits = bytearray(stretches.LETTERS)
    stretches._set(bits, [f"train-2026-03-01-{n:03}" for n in range(1000)])
    for part in ("zq", "prep", "2025-03", "none-such"):
        assert any(bits[at] & some != some for at, some in stretches.letters(part).items())


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(stretches, "FEW", 4)
    monkeypatch.setattr(stretches, "MOST", 8)
    with closing(open_sqlite(tmp_path / "p.db")) as opened:
        yield opened


def all_of(store, table):
    with store._engine.connect() as c:
        return c.execute(select(table).order_by(table.c.begins)).all()


def ended(numbers):
    return [(new_job(f"job-{n:03}", n, phase=Phase.COMPLETED), {}) for n in numbers]


@pytest.mark.parametrize("table", [name_stretches, time_stretches])
def test_they_are_cut_as_they_grow_and_hold_their_jobs_times(store, table):
    store.add_jobs(ended(range(40)))
    found = all_of(store, table)
    assert len(found) > 4
    assert all(row.jobs < 8 for row in found)
    assert [row.created_first for row in found] == sorted(row.created_first for row in found)
    covered = [n for row in found for n in range(row.created_first, row.created_last + 1)]
    assert covered == list(range(40))


def test_jobs_of_one_time_stay_in_one_stretch(store):
    store.add_jobs([(new_job(f"job-{n:03}", 5, phase=Phase.COMPLETED), {}) for n in range(40)])
    [row] = all_of(store, time_stretches)
    assert (row.jobs, row.created_first, row.created_last) == (40, 5, 5)


def test_those_without_a_job_are_given_up(store):
    store.add_jobs(ended(range(40)))
    for n in range(32):
        store.delete_job(store.job(f"job-{n:03}"))
    store.add_jobs(ended(range(40, 60)))
    for table in (name_stretches, time_stretches):
        assert all(row.created_last >= 32 for row in all_of(store, table)[1:])


def test_a_new_job_belongs_to_none(store):
    before = all_of(store, name_stretches)
    store.add_job(new_job("new", 7), {})
    assert all_of(store, name_stretches) == before
