"""All that the page tells of one run, read from the journal in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal.reader import RunLine
from dynamic_pipeline.journal.report_reader import ReportReader, Span
from dynamic_pipeline.report.fold import US_PER_S, Fold, Kept
from dynamic_pipeline.report.timeline import PoolLine
from dynamic_pipeline.report.words import Verdict, again_command, verdict
from dynamic_pipeline.views.endings import shortened, tail_lines

_MOST_CAUSES = 20
_WITH_TWO_OUTPUTS = 10  # causes; the others show one
_OUTPUT_LINES = 12
_RECORD_BYTES = 804  # as many as 200 characters may need, and a sign that there were more
_ERROR_CHARS = 160
_SOURCE_CHARS = 100
_LONGEST_COMMAND = 8000
MOST_RUNS = 20


class JobLine(NamedTuple):
    """A job in a table."""

    seq: int
    where: str
    record: str
    number: int  # of the attempt
    outcome: str
    run_s: float
    error: str
    output: list[str]


class Cause(NamedTuple):
    """Jobs that failed for the same reason, the first of them with their output."""

    name: str
    size: int  # how many jobs
    jobs: list[JobLine]


class PastRun(NamedTuple):
    """One of the latest runs."""

    line: RunLine
    state: str
    elapsed_s: float | None
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Story:
    """What the page shows, still without its drawings."""

    run: RunLine
    state: str  # running, killed or ended
    start_us: int
    end_us: int  # of what is known: a killed run's last sign of life
    verdict: Verdict
    counts: Mapping[str, int]  # succeeded, failed, held, unfinished
    parts: Mapping[str, str]
    config: Mapping[str, tuple[str, str]]
    again: str  # the command for what failed; empty where there is none, or where it is too long to show
    again_is_long: bool
    fold: Fold
    pool: PoolLine
    causes: list[Cause]
    more_causes: int
    slowest: list[JobLine]
    flaky: list[JobLine]
    past: list[PastRun]

    @property
    def span_s(self) -> float:
        return (self.end_us - self.start_us) / US_PER_S


def read_story(
    reader: ReportReader,
    run: RunLine,
    state: str,
    past: Sequence[tuple[RunLine, str]],
    program: Sequence[str],
    kept: Sequence[str],
    now_us: int,
) -> Story:
    """Read all of *run*, which is running, killed or ended as *state* says; *past* are the latest runs with theirs.

    *program* is how this program is called, *kept* the files that hold the records that failed.
    """
    span = reader.span(run)
    end_us = _end(run, state, span, now_us, reader)
    fold = Fold(run.started_us, end_us, span.tries, is_running=state == "running")
    for one in reader.tries(run):
        fold.add(one)
    fold.close()
    pool = PoolLine((end_us - run.started_us) / US_PER_S)
    for look in reader.all_decisions(run):
        backlog = look.queued + look.in_flight + look.waiting
        at_s = (min(look.at_us, end_us) - run.started_us) / US_PER_S
        pool.add(at_s, backlog, look.allowed, look.workers, look.reason)
    counts = _counts(reader, run, state, fold)
    parts, config = reader.settings(run)
    lost = counts["failed"] + counts["held"]
    again = again_command(program, parts, config, run.input, kept) if lost else ""
    shown = fold.causes.most_common(_MOST_CAUSES)
    return Story(
        run=run,
        state=state,
        start_us=run.started_us,
        end_us=end_us,
        verdict=verdict(state, run.exit_code, counts["succeeded"], lost, counts["unfinished"]),
        counts=counts,
        parts=parts,
        config=config,
        again="" if len(again) > _LONGEST_COMMAND else again,
        again_is_long=len(again) > _LONGEST_COMMAND,
        fold=fold,
        pool=pool,
        causes=[
            Cause(name, count, _jobs(reader, run, fold.failed_jobs[name], 1 + (place < _WITH_TWO_OUTPUTS)))
            for place, (name, count) in enumerate(shown)
        ],
        more_causes=len(fold.causes) - len(shown),
        slowest=_jobs(reader, run, fold.slowest),
        flaky=_jobs(reader, run, fold.flaky_jobs),
        past=[_past(reader, line, its_state, now_us) for line, its_state in past],
    )


def _end(run: RunLine, state: str, span: Span, now_us: int, reader: ReportReader) -> int:
    if state == "running":
        return max(now_us, run.started_us)
    if state == "ended" and run.ended_us is not None:
        return max(run.ended_us, run.started_us)
    # When a killed one ended nobody knows; this is the last that is on record of it.
    known = (span.last_started_us, span.last_ended_us, *(look.at_us for look in reader.all_decisions(run)))
    return max(us for us in (run.started_us, *known) if us is not None)


def _counts(reader: ReportReader, run: RunLine, state: str, fold: Fold) -> dict[str, int]:
    if state == "ended":
        return {
            "succeeded": run.succeeded or 0,
            "failed": run.failed or 0,
            "held": run.held or 0,
            "unfinished": run.unfinished or 0,
        }
    latest = reader.runs(1)
    is_latest = bool(latest) and latest[0].run == run.run
    over = fold.fates["succeeded"] + fold.fates["failed"] + fold.fates["held"]
    unfinished = sum(fold.fates.values()) - over
    if is_latest:  # jobs that were never begun are known only while no later run has taken them on
        states = reader.counts(run.work)
        unfinished = sum(states[each] for each in (JobState.QUEUED, JobState.RUNNING, JobState.RETRYING))
    return {
        "succeeded": fold.fates["succeeded"],
        "failed": fold.fates["failed"],
        "held": fold.fates["held"],
        "unfinished": unfinished,
    }


def _jobs(reader: ReportReader, run: RunLine, kept: Sequence[Kept], with_output: int = 0) -> list[JobLine]:
    lines = []
    for number, one in enumerate(kept):
        record = reader.record(run, one.seq, _RECORD_BYTES)
        text = record.start.decode("utf-8", "surrogateescape")
        output = reader.output(run, one.seq, one.number) if number < with_output else b""
        lines.append(
            JobLine(
                one.seq,
                f"{shortened(record.source, _SOURCE_CHARS)}:{record.line}",
                shortened(text),
                one.number,
                one.outcome,
                one.run_us / US_PER_S,
                shortened(one.error, _ERROR_CHARS),
                tail_lines(output, _OUTPUT_LINES) if output else [],
            )
        )
    return lines


def _past(reader: ReportReader, run: RunLine, state: str, now_us: int) -> PastRun:
    end_us = now_us if state == "running" else run.ended_us if state == "ended" else None
    elapsed_s = None if end_us is None else (end_us - run.started_us) / US_PER_S
    return PastRun(run, state, elapsed_s, reader.counts_of_run(run))
