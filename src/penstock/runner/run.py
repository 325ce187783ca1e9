"""One instance's work, from its environment to its last output. Read `conduct` downwards.

Whatever happens, the journal gets exactly one ``ended`` event, and outputs that the program has written are
uploaded whether it succeeded, failed or was stopped: nothing is lost.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from penstock import disk
from penstock.clock import now
from penstock.data import continuous, inputs, local, outputs, pipe
from penstock.data.cache import Cache
from penstock.data.uri import S3Uri
from penstock.environments import Cancelled, Uses
from penstock.errors import AlgorithmFailure, InternalFailure, JobFailure, PenstockError
from penstock.job.life import Phase
from penstock.job.local_inputs import is_local
from penstock.job.run import Run
from penstock.runner import contract, ending, helpers, metrics, mounts, scarcity
from penstock.runner.ending import Ending
from penstock.runner.folder import RunFolder
from penstock.runner.ground import prepare
from penstock.runner.limits import allotted
from penstock.runner.logs import LogWriter
from penstock.runner.records import Records
from penstock.runner.stop import Stop
from penstock.runner.volume import Volume, size_of
from penstock.runtimes.base import Running
from penstock.runtimes.limits import sweep


class _Halted(Exception):
    """The run must end before its program was started."""


@dataclass(frozen=True)
class _Ended:
    """How the program ended. `halted`: by a stop or the time limit."""

    exit_code: int | None
    """None: it was stopped before the program was started."""
    halted: bool
    failure: JobFailure | None = None
    """Why Penstock ended it."""
    hint: str = ""
    """What to add when it failed."""
    sent: outputs.Sent = field(default_factory=dict)
    """What was uploaded while it ran."""
    remarked: bool = False
    """Whether it met a limit, and went on."""


def conduct(run: Run, folder: RunFolder, records: Records, stop: Stop, cache: Cache | None = None) -> bool:
    """Do the run's work and write its end into the journal.

    `cache` is the node's, of inputs; the program may have them mounted, so it is to be closed after this.

    Returns:
        Whether it has succeeded, and its program has met no limit.
    """
    ended: _Ended | None = None
    message: str | None = None
    reasons: list[str] = []
    for line in run.notes:
        records.log.note(line)
    try:
        with Uses() as uses:
            ended = _run_program(run, folder, records, stop, cache, uses)
        if ended.failure is not None:
            reasons.append(ended.failure.reason)
        elif ended.exit_code != 0 and not ended.halted:
            # AWS's wording, with the empty text before the comma.
            reasons.append(f"AlgorithmError: , exit code: {ended.exit_code}{ended.hint}")
        if stop.failure is not None:
            reasons.append(stop.failure.reason)
        if records.log.failure is not None:
            reasons.append(
                InternalFailure(
                    f"The log could not be kept on disk: {records.log.failure}. {disk.remedy(folder.path)}"
                ).reason
            )
        known = Ending(ended.exit_code, ended.halted, reasons, _is_lost(stop, reasons))
        message = _hand_over(run, folder, records, reasons, known, ended.sent)
    except (_Halted, Cancelled):
        records.log.note(
            "Stopped before the program was started" + ("." if stop.asked else f": {_over(run)}")
        )
        ended = _Ended(None, halted=True)
        if stop.failure is not None:
            reasons.append(stop.failure.reason)
    except Exception as error:  # noqa: BLE001 - the last resort: a job never hangs on an error of ours
        reasons.append(_reason(error, folder, records))
        if isinstance(error, AlgorithmFailure):
            ended = _Ended(error.exit_code, halted=False)
    exit_code, halted = (ended.exit_code, ended.halted) if ended is not None else (None, False)
    _end(folder, records, Ending(exit_code, halted, reasons, _is_lost(stop, reasons)), message)
    return ended is not None and not (reasons or halted or ended.remarked)


def salvage(run: Run, folder: RunFolder, records: Records) -> None:
    """Conclude for a runner that died: upload what its program had written, and end as it would have.

    A program that had not ended died with its runner.
    """
    known = ending.found(records.journal)
    if known is None:
        words = (
            f"The runner of {run.host} ended without a report; it was killed or it crashed, and its program with "
            "it. What the program had written by then was uploaded."
        )
        told = Ending(None, False, [InternalFailure(words).reason], lost=True)
    else:
        told = known
        records.log.note(
            "The runner was killed or it crashed when its program had ended. Another one uploads the outputs."
        )
    sweep()
    message = _hand_over(run, folder, records, told.reasons, known)
    _end(folder, records, told, message)


def _hand_over(
    run: Run,
    folder: RunFolder,
    records: Records,
    reasons: list[str],
    known: Ending | None,
    sent: outputs.Sent | None = None,
) -> str | None:
    """Upload what the program has left, and return its message, which may not be whole where its end is not `known`.

    What goes wrong is added to `reasons`.
    """
    message = None
    try:
        if known is None:
            records.journal.phase(Phase.UPLOADING)
        else:
            ending.keep(records.journal, known)
        scarcity.give_back(folder, (folder.scratch, folder.layer, folder.uppers), records.log.note)
        metrics.read_outputs_of(run, folder.ml, records.journal, now, records.log.note)
        try:
            message = contract.exit_message(folder.ml) if known is not None else None
        finally:
            _upload(run, folder, records, sent)
    except Exception as error:  # noqa: BLE001 - the last resort, as in `conduct`
        reasons.append(_reason(error, folder, records))
    return message


def _is_lost(stop: Stop, reasons: list[str]) -> bool:
    return stop.failure is not None and reasons == [stop.failure.reason]


def _end(folder: RunFolder, records: Records, ending: Ending, message: str | None) -> None:
    for one in ending.reasons:
        records.log.note(one)
    scarcity.give_back(folder, (folder.ml,), records.log.note)
    outcome = "failed" if ending.reasons else "halted" if ending.halted else "succeeded"
    reason = "; ".join(ending.reasons)[:1024] or None
    records.journal.ended(outcome, reason, ending.exit_code, message, lost=ending.lost)


def _reason(error: Exception, folder: RunFolder, records: Records) -> str:
    """The FailureReason of whatever was raised."""
    if isinstance(error, JobFailure):
        return error.reason
    if isinstance(error, PenstockError):
        return InternalFailure(str(error)).reason
    if isinstance(error, OSError) and disk.is_full(error):
        return scarcity.explained(error, records.journal.current, folder.path).reason
    traceback.print_exc()
    return f"InternalServerError: {type(error).__name__}: {error}"


def _run_program(
    run: Run, folder: RunFolder, records: Records, stop: Stop, cache: Cache | None, uses: Uses
) -> _Ended:
    """Everything up to the program's end."""
    records.journal.phase(Phase.PREPARING)
    ground = prepare(run, folder, records, stop.due, uses)
    _leave_if_due(stop)
    records.journal.phase(Phase.DOWNLOADING)
    stop.deadline = time.monotonic() + run.request["StoppingCondition"]["MaxRuntimeInSeconds"] - run.spent
    with records.meter.moving("download"):
        fetched, streams = _fetch(run, folder, records, stop, cache)
    ground.install()
    _leave_if_due(stop)
    with (
        allotted(run, folder, records) as share,
        continuous.uploading(**_destination(run, folder, records)) as sent,
    ):
        program = ground.program(share.variables, share.limits)
        hint = ground.check(program, fetched)
        volume = Volume(size_of(run.request), folder, fetched)
        records.journal.phase(Phase.RUNNING)
        with pipe.Feed(streams, root=folder.ml, meter=records.meter) as feed:
            reading, writing = os.pipe2(os.O_CLOEXEC)
            try:
                running, mounted = mounts.start(
                    ground.runtime, program, fetched, folder, writing, records.log.note
                )
            finally:
                os.close(writing)
            for text in running.notes:
                records.log.note(text)
            if cache is not None:
                cache.settle()
            volume.leave_out(mounted)
            code, halted = _follow(run, running, records, stop, feed, volume, reading)
        if streams:
            records.journal.note(streams=[asdict(one) for one in feed.streamed(records.log.note)])
    failure: JobFailure | None = volume.failure
    if failure is None and not halted:
        failure = feed.failure or (share.failure(running.exceeded(), code) if code else None)
    remarks = share.remarks(running.exceeded()) if code == 0 or halted else []
    for line in remarks:
        records.log.note(line)
    hints = (hint, scarcity.hint(volume.least_free, folder.path))
    hint = "".join(f". {one}".removesuffix(".") for one in hints if one)
    return _Ended(code, halted, failure, hint, sent, bool(remarks))


def _fetch(
    run: Run, folder: RunFolder, records: Records, stop: Stop, cache: Cache | None
) -> tuple[list[inputs.Fetched], list[pipe.Stream]]:
    """Bring the inputs, but for those that will be streamed."""
    contract.write_config(run, folder.ml)
    wanted = run.request.get("ProcessingInputs") or []
    closed = [Path(place) for place in (run.home, run.environments, str(folder.path)) if place]
    found = local.find(wanted, run.local_inputs, closed)
    source: dict[str, Any] = {
        "inputs": [one for one in wanted if not is_local(one)],
        "index": run.index,
        "count": len(run.hosts),
        "access": run.s3,
        "progress": records.log.note,
        "check": lambda: _leave_if_due(stop),
    }
    fetched = inputs.fetch(
        **source,
        root=folder.ml,
        meter=records.meter,
        cache=cache,
        own=(mounts.CODE,),
        volume=size_of(run.request),
    )
    streams = pipe.find_streams(**source)
    config = run.request.get("ProcessingOutputConfig")
    outputs.prepare(config, folder.ml)
    outputs.check_buckets(config, folder.ml, run.s3, {S3Uri.parse(one.uri).bucket for one in fetched})
    for one in found:
        records.log.note(f"Input {one.name!r}: {one.mount} -> {one.local_path}, where it lies.")
    fetched += found
    # The folder that is mounted is of no use to anybody else.
    records.journal.note(inputs=[asdict(replace(one, mount=None)) for one in fetched])
    return fetched, streams


def _follow(
    run: Run, running: Running, records: Records, stop: Stop, feed: pipe.Feed, volume: Volume, reading: int
) -> tuple[int, bool]:
    """Feed the program, keep its output, and end it when a stop is asked for or its time is over.

    Returns:
        Its exit code, and whether it was ended so.
    """
    feed.start(running)
    log = records.log
    found = metrics.of_log(run, records.journal, now, log.note)
    looked = (reading,) if found is None else (reading, found.look)
    pump = helpers.start(lambda: log.follow(*looked))
    halting = threading.Event()
    helpers.start(lambda: _halt(run, running, log, stop, halting))
    code = running.wait(volume.pause)
    if code is None:  # before that its files can't be too many
        helpers.start(lambda: volume.watch(running))
        code = running.wait()
    assert code is not None  # without a timeout it waits for the end
    stop.rest()
    pump.join()
    os.close(reading)
    volume.look()
    return code, halting.is_set()


def _halt(run: Run, running: Running, log: LogWriter, stop: Stop, halting: threading.Event) -> None:
    """SIGTERM, a time of grace, then the end of the whole tree; on a stop as on the time limit."""
    if not stop.wait() or running.wait(0) is not None:
        return
    halting.set()
    if not stop.asked:
        log.note(f"{_over(run)} The program is asked to end.")
    try:
        running.terminate()
        grace = stop.grace(run.stop_grace)
        if running.wait(grace) is None:
            log.note(f"The program did not end within {grace:.0f} s of SIGTERM: it is killed.")
    finally:
        running.kill()  # whatever came between: a program that must end does


def _upload(run: Run, folder: RunFolder, records: Records, sent: outputs.Sent | None = None) -> None:
    with records.meter.moving("upload"):
        try:
            uploaded = outputs.upload(**_destination(run, folder, records), meter=records.meter, sent=sent)
        except JobFailure as failure:
            raise scarcity.uploading(failure, run.s3, folder) from failure
    records.manifest.check()
    records.journal.note(outputs=[asdict(one) for one in uploaded])


def _destination(run: Run, folder: RunFolder, records: Records) -> dict[str, Any]:
    """What both ways of uploading need to know."""
    config = run.request.get("ProcessingOutputConfig") or {}
    return {
        "outputs": config.get("Outputs") or [],
        "kms_key": config.get("KmsKeyId"),
        "root": folder.ml,
        "access": run.s3,
        "progress": records.log.note,
        "record": records.manifest.add,
    }


def _over(run: Run) -> str:
    limit = run.request["StoppingCondition"]["MaxRuntimeInSeconds"]
    return f"The time limit of {limit} s (MaxRuntimeInSeconds) is reached."


def _leave_if_due(stop: Stop) -> None:
    if stop.due():
        raise _Halted
