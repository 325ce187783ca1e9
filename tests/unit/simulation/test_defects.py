"""Seeded defects: each must be found, or the simulation proves nothing."""

from contextlib import suppress
from dataclasses import replace

import pytest

from penstock.dispatch import schedule, settle
from penstock.dispatch.care import Care
from penstock.dispatch.loop import Dispatcher
from penstock.engines.base import Life
from penstock.errors import Conflict
from penstock.job import events, life
from penstock.job.life import ALONE
from penstock.runner.journal import Journal
from penstock.runner.outbox import Outbox
from penstock.testing.fake_engine import FakeEngine
from penstock.testing.simulation import draw, run, shrink
from penstock.testing.simulation import server as simulated_server
from penstock.testing.simulation.servers import MemoryServers
from penstock.testing.simulation.store import MemoryStore

#: Within so many seeds each defect is found.
SEEDS = 6000


def starts_before_the_intent_is_stored(patch):
    class Hasty(Dispatcher):
        def _prepare(self, part, job, at, notes):
            hosts = super()._prepare(part, job, at, notes)
            for host in hosts:
                self._care.start(self._engine, host, ALONE)
            return hosts

    patch.setattr(simulated_server, "Dispatcher", Hasty)


def ignores_sequence_numbers(patch):
    def apply(host, event):
        return events.apply(replace(host, sequence=event.sequence - 1), event)

    patch.setattr("penstock.testing.simulation.store.apply", apply)


def takes_news_after_the_end(patch):
    def apply(host, event):
        return events.apply(replace(host, outcome=None), event)

    patch.setattr("penstock.testing.simulation.store.apply", apply)


def starts_two_runners_to_save_outputs(patch):
    class Twice(Care):
        def start(self, engine, host, by):
            super().start(engine, host, by)
            if host.phase is life.Phase.RUNNING:
                super().start(engine, host, by)

    def start(self, handle):  # an engine that does not mind
        found = self.runs[handle]
        found.life = Life.ALIVE
        self.on_start(found)

    patch.setattr("penstock.dispatch.loop.Care", Twice)
    patch.setattr(FakeEngine, "start", start)


def runs_again_what_the_machine_lost(patch):
    class Again(Care):
        def look_after(self, engine, job, host, by):
            if engine.probe(host.handle) is Life.NEVER_STARTED:
                self.start(engine, host, by)
                return True
            return super().look_after(engine, job, host, by)

    patch.setattr("penstock.dispatch.loop.Care", Again)


def loses_a_guarded_write(patch):
    def guard(self, job, version):
        if job.name not in self._jobs:
            raise Conflict(job.name)

    patch.setattr(MemoryStore, "_guard", guard)


def forgets_before_the_end_is_stored(patch):
    class Forgetful(Dispatcher):
        def _carry(self, job, hosts, by):
            if hosts and all(host.ended for host in hosts):
                for host in hosts:
                    self._forget(self._engine, host.handle)
            return super()._carry(job, hosts, by)

        def _forget(self, engine, handle):
            engine.runs.pop(handle, None)

    patch.setattr(simulated_server, "Dispatcher", Forgetful)


def sweeps_only_at_the_start(patch):
    class Lazy(Dispatcher):
        def _sweep(self, active):
            if self._swept_at is None:
                super()._sweep(active)

    patch.setattr(simulated_server, "Dispatcher", Lazy)


def takes_a_report_before_it_is_stored(patch):
    real = simulated_server.take_events

    def take_events(context, host, body):
        with suppress(Exception):
            return real(context, host, body)
        return {"sequence": 1_000_000}

    patch.setattr(simulated_server, "take_events", take_events)


def is_content_with_one_success(patch):
    real = settle.verdict

    def verdict(job, hosts):
        return real(job, [host for host in hosts if host.phase is not life.Phase.FAILED] or hosts)

    patch.setattr("penstock.dispatch.loop.verdict", verdict)


def believes_every_clock(patch):
    patch.setattr("penstock.dispatch.loop.moment", lambda job, hosts, event, now: now)
    patch.setattr(
        "penstock.dispatch.loop.catch_up",
        lambda job, hosts, now: replace(job, phases={**hosts[0].phases, **job.phases}),
    )


def tells_the_end_before_the_log(patch):
    real = Outbox.posts

    def posts(self):
        log, self._log = self._log, type(self._log)()
        yield from real(self)
        self._log = log
        yield from real(self)

    patch.setattr(Outbox, "posts", posts)


def numbers_on_after_a_loss_of_power(patch):
    patch.setattr(Journal, "skip", lambda self: None)


def takes_a_stopped_jobs_place_for_free(patch):
    class Generous(Dispatcher):
        def _carry(self, job, hosts, by):
            try:
                return super()._carry(job, hosts, by)
            except Conflict:
                return True

    patch.setattr(simulated_server, "Dispatcher", Generous)


def loses_outputs_manifest(patch):
    patch.setattr("penstock.testing.simulation.store.MemoryUploads.add", lambda *_: None)


def starts_whoever_came_first(patch):
    def plan(capacity, holding, waiting, now, patience):
        return schedule.plan(
            capacity, holding, [replace(one, priority=0) for one in waiting], now, patience=patience
        )

    patch.setattr("penstock.dispatch.loop.plan", plan)


def gives_out_processors_twice(patch):
    def plan(capacity, holding, waiting, now, patience):
        return schedule.plan(
            replace(capacity, cpus=2 * capacity.cpus), holding, waiting, now, patience=patience
        )

    patch.setattr("penstock.dispatch.loop.plan", plan)


def lets_small_jobs_pass_for_ever(patch):
    def plan(capacity, holding, waiting, now, patience):
        return schedule.plan(capacity, holding, waiting, now, patience=1 << 60)

    patch.setattr("penstock.dispatch.loop.plan", plan)


def lets_a_server_write_to_what_was_taken_over(patch):
    patch.setattr(MemoryStore, "_check_carrier", lambda self, uid, by: None)


def lets_a_server_begin_jobs_without_a_lease(patch):
    patch.setattr(MemoryServers, "may_begin", lambda self, by: True)


def carries_what_others_carry(patch):
    class Greedy(Dispatcher):
        def step(self):
            by = self._right.held()
            with patch.context() as meanwhile:
                real = type(self._right).gather
                meanwhile.setattr(
                    type(self._right), "gather",
                    lambda right, begun, _: [replace(job, carrier=by) for job in real(right, begun, by)],
                )  # fmt: skip
                super().step()

    patch.setattr(simulated_server, "Dispatcher", Greedy)
    lets_a_server_write_to_what_was_taken_over(patch)


def lets_runners_go_on_for_longer_than_is_on_record(patch):
    real = MemoryServers.renew_runner

    def renew_runner(self, uid, host, lease_ms):
        told = real(self, uid, host, lease_ms)
        return told and 3 * told

    patch.setattr(MemoryServers, "renew_runner", renew_runner)


def begins_anew_while_a_store_still_works(patch):
    patch.setattr(Dispatcher, "_quiet", 0)


def begins_anew_whatever_has_failed(patch):
    def again(job, hosts, event, retries, now):
        failed = (
            isinstance(event, life.Failed) and job.attempt <= retries and job.phase != life.Phase.STOPPING
        )
        return life.Retried(event.reason) if failed else event

    patch.setattr("penstock.dispatch.loop.again", again)


def fails_who_is_stopped_between_two_attempts(patch):
    real = settle.again

    def again(job, hosts, event, retries, now):
        return event if job.phase is life.Phase.STOPPING else real(job, hosts, event, retries, now)

    patch.setattr("penstock.dispatch.loop.again", again)


DEFECTS = {
    lets_runners_go_on_for_longer_than_is_on_record: None,
    begins_anew_while_a_store_still_works: "nothing of an earlier attempt",
    begins_anew_whatever_has_failed: "attempts follow losses",
    fails_who_is_stopped_between_two_attempts: "a stop is the end of what was lost before",
    starts_whoever_came_first: "a turn for each",
    gives_out_processors_twice: "no more than the machine has",
    lets_small_jobs_pass_for_ever: "no job is starved",
    starts_before_the_intent_is_stored: "intent before start",
    ignores_sequence_numbers: "reports are idempotent",
    takes_news_after_the_end: "reports are idempotent",
    starts_two_runners_to_save_outputs: "no double run",
    runs_again_what_the_machine_lost: "no double run",
    loses_a_guarded_write: "the end is final",
    forgets_before_the_end_is_stored: None,
    sweeps_only_at_the_start: "nothing is left behind",
    takes_a_report_before_it_is_stored: None,
    is_content_with_one_success: None,
    believes_every_clock: "times are monotone",
    tells_the_end_before_the_log: "the log is whole at the end",
    numbers_on_after_a_loss_of_power: "ends are told",
    takes_a_stopped_jobs_place_for_free: "no more than the machine has",
    lets_a_server_write_to_what_was_taken_over: "only who carries a job writes",
    lets_a_server_begin_jobs_without_a_lease: "only who holds a lease begins",
    carries_what_others_carry: "only who carries a job writes",
    loses_outputs_manifest: "the manifest is whole at the end",
}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_defect_is_found_and_its_run_made_small(defect, monkeypatch):
    defect(monkeypatch)
    outcomes = (o for o in map(run, map(draw, range(SEEDS))) if o.violation)
    found = next((o for o in outcomes if o.violation.startswith(DEFECTS[defect] or "")), None)
    assert found is not None
    small = shrink(found)
    assert len(small.plan.wishes) <= 10
    assert run(small.plan).trace == small.trace
