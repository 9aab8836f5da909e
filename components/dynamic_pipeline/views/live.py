"""The live view of a run, as text: a pure function of what is known and of the room that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.text import Text

from dynamic_pipeline.views.summary import duration

_NARROW = 60  # columns; below there is room for the counts only
_MOST_DOTS = 16
_TOO_LONG_S = 100 * 86400.0  # what has hardly begun is not foretold
_SPARKS = 24  # columns of a sparkline
_LABEL = 10


class RunningJob(NamedTuple):
    """A job that a worker has."""

    job: int
    text: str  # its record, escaped
    number: int  # of the attempt
    elapsed_s: float


class Snapshot(NamedTuple):
    """What is known of a run at one moment."""

    run: str
    elapsed_s: float
    done: int  # jobs that are over, those of earlier runs included
    total: int | None  # None: nobody knows
    ok: int
    failed: int
    retries: int
    flaky: int  # those that are ok after a retry
    queued: int
    running: int
    waiting: int  # to be tried again
    limit: int
    least: int
    most: int
    decision: str  # the last one that changed the limit; empty: none yet
    decision_ago_s: float
    backlogs: Sequence[float]  # a second each, the latest last
    rates: Sequence[float]
    rate_per_s: float
    p50_s: float | None  # of what attempts took lately
    p95_s: float | None
    tries: int  # that a job has
    jobs: Sequence[RunningJob]  # the longest running first
    stopping: str  # running, draining or ending
    log: str  # its path


class Marks(NamedTuple):
    """The characters that the view is made of."""

    full: str
    empty: str
    worker: str
    idle: str
    sparks: str
    dash: str
    dot: str
    cut: str


UNICODE = Marks("█", "·", "●", "○", "▁▂▃▄▅▆▇█", "–", "·", "…")
ASCII = Marks("#", ".", "*", "o", "_.-:=+*#", "-", "|", "...")


def render(now: Snapshot, width: int, height: int, marks: Marks = UNICODE) -> list[Text]:
    """Lines of less than *width* columns, *height* at the most: the most important ones."""
    width -= 1  # a terminal may wrap behind its last column
    lines = _narrow(now, marks) if width < _NARROW - 1 else _wide(now, width, marks)
    last = _stopping(now, width, marks)
    room = max(0, height - len(lines) - 1)
    lines += [_job(job, now, width, marks) for job in now.jobs[: min(room, _most_jobs(height))]] * (
        width >= _NARROW - 1
    )
    lines = [*lines[: max(0, height - 1)], last][-height:] if height > 0 else []
    for line in lines:
        _cut(line, width, marks)
    return lines


def _most_jobs(height: int) -> int:
    """A third of the screen: log lines scroll above."""
    return max(0, height // 3 - 4)


def _cut(line: Text, width: int, marks: Marks) -> None:
    if line.cell_len > width:
        line.truncate(max(0, width - len(marks.cut)))
        line.append(marks.cut)


def _wide(now: Snapshot, width: int, marks: Marks) -> list[Text]:
    left = _left(now)
    lines = [
        _ends(Text(f"run {now.run}", "bold"), Text(f"elapsed {clock(now.elapsed_s)}{left}"), width),
        _progress(now, width, marks),
        _workers(now, width, marks),
        _row(
            "backlog", str(now.queued + now.running + now.waiting), now.backlogs, _backlog(now, marks), marks
        ),
        _row("rate", f"{now.rate_per_s:.1f}/s", now.rates, _latency(now, marks), marks),
    ]
    if now.retries or now.waiting:
        flaky = f"{now.flaky} ok after a retry" if now.flaky else ""
        waiting = f"{now.waiting} waiting" if now.waiting else ""
        rest = f" {marks.dot} ".join(part for part in (waiting, flaky) if part)
        lines.append(Text.assemble("retries".ljust(_LABEL), (f"{now.retries:<13}", "yellow"), rest))
    return lines


def _narrow(now: Snapshot, marks: Marks) -> list[Text]:
    share = f" {_percent(now)}" if now.total else ""
    counts = Text.assemble(f"{clock(now.elapsed_s)} {_of_total(now)}{share}  ", *_counts(now))
    load = f"{now.running} of {now.limit} work {marks.dot} backlog {now.queued + now.running + now.waiting}"
    return [counts, Text(f"{load} {marks.dot} {now.rate_per_s:.1f}/s")]


def _progress(now: Snapshot, width: int, marks: Marks) -> Text:
    counts = Text.assemble(f"{_of_total(now)}   ", *_counts(now))
    if not now.total:
        return counts
    columns = max(10, width - counts.cell_len - 9)
    full = min(columns, columns * now.done // now.total)
    bar = Text.assemble((marks.full * full, "green"), (marks.empty * (columns - full), "dim"))
    return Text.assemble(bar, f" {_percent(now):>4}   ", counts)


def _percent(now: Snapshot) -> str:
    return f"{min(100, 100 * now.done // now.total)}%" if now.total else ""


def _of_total(now: Snapshot) -> str:
    return f"{now.done}/{now.total}" if now.total else f"{now.done} done"


def _counts(now: Snapshot) -> list[tuple[str, str]]:
    return [
        (f"ok {now.ok}", "green"),
        ("   ", ""),
        (f"failed {now.failed}", "bold red" if now.failed else ""),
    ]


def _left(now: Snapshot) -> str:
    if not now.total or not now.rate_per_s or now.total <= now.done:
        return ""
    left_s = (now.total - now.done) / now.rate_per_s
    return f"   about {clock(left_s)} left" if left_s < _TOO_LONG_S else ""


def _workers(now: Snapshot, width: int, marks: Marks) -> Text:
    busy = min(now.running, now.limit)
    shown = min(now.limit, _MOST_DOTS)
    working = busy if now.limit <= _MOST_DOTS else busy * _MOST_DOTS // now.limit
    dots = Text.assemble((marks.worker * working, "cyan"), (marks.idle * (shown - working), "dim"))
    bounds = f"{now.limit}" if now.least == now.most else f"{now.limit} in {now.least}{marks.dash}{now.most}"
    line = Text.assemble("workers".ljust(_LABEL), f"{bounds:<13}", dots)
    if now.decision:
        why = Text(f"{ago(now.decision_ago_s)} ago: {now.decision}", "dim")
        room = width - line.cell_len - 3
        if room >= 20:  # noqa: PLR2004 - less would tell nothing
            _cut(why, room, marks)
            line = _ends(line, why, width)
    return line


def _row(label: str, value: str, values: Sequence[float], rest: str, marks: Marks) -> Text:
    return Text.assemble(
        label.ljust(_LABEL), f"{value:<13}", (sparkline(values, marks), "cyan"), "   ", (rest, "")
    )


def sparkline(values: Sequence[float], marks: Marks = UNICODE) -> str:
    """The latest of *values*, from nothing to the highest of them, in a fixed number of columns."""
    values = values[-_SPARKS:]
    highest = max(values, default=0)
    steps = len(marks.sparks) - 1
    text = "".join(marks.sparks[round(steps * value / highest) if highest else 0] for value in values)
    return text.rjust(_SPARKS)


def _backlog(now: Snapshot, marks: Marks) -> str:
    return f"{now.queued} queued {marks.dot} {now.running} running"


def _latency(now: Snapshot, marks: Marks) -> str:
    if now.p50_s is None or now.p95_s is None:
        return ""
    return f"p50 {duration(now.p50_s)} {marks.dot} p95 {duration(now.p95_s)}"


def _job(job: RunningJob, now: Snapshot, width: int, marks: Marks) -> Text:
    tried = f"  try {job.number} of {now.tries}" if job.number > 1 else ""
    end = Text(f"{tried}  {ago(job.elapsed_s):>5}")
    line = Text(f" job {job.job:<7} {job.text}")
    _cut(line, max(0, width - end.cell_len - 1), marks)
    return _ends(line, end, width)


def _stopping(now: Snapshot, width: int, marks: Marks) -> Text:
    backlog = now.queued + now.running + now.waiting
    texts: dict[str, tuple[str, ...]] = {
        "running": (
            f"Ctrl+C: finish accepted work, then stop {marks.dot} twice: stop now {marks.dot} {now.log}",
            f"Ctrl+C: finish accepted work, then stop {marks.dot} twice: stop now",
            "Ctrl+C: finish and stop, twice: now",
        ),
        "draining": (
            f"draining backlog={backlog} {marks.cut} Ctrl+C again to stop now",
            f"draining {backlog}, Ctrl+C: stop now",
        ),
        "ending": (f"ending what runs, {backlog} in hand",),
    }
    style = "dim" if now.stopping == "running" else "bold yellow"
    found = texts[now.stopping]
    text = next((text for text in found if Text(text).cell_len <= width), found[-1])
    return Text(text, style)


def _ends(left: Text, right: Text, width: int) -> Text:
    """*left* and *right*, at the two ends of a line where both fit."""
    gap = max(3, width - left.cell_len - right.cell_len)
    return Text.assemble(left, " " * gap, right)


def clock(seconds: float) -> str:
    """`02:14`, or `1:02:14`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def ago(seconds: float) -> str:
    """`0.4s`, `17s`, `3m`, `2h`."""
    steps: Sequence[tuple[float, Callable[[float], str]]] = (
        (10, lambda s: f"{s:.1f}s"),
        (100, lambda s: f"{s:.0f}s"),
        (6000, lambda s: f"{s / 60:.0f}m"),
    )
    return next((text(seconds) for below, text in steps if seconds < below), f"{seconds / 3600:.0f}h")
