"""The live view of a run: whether there is one, and the thread that draws it."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from dynamic_pipeline.cli.console import STDERR, STDOUT
from dynamic_pipeline.owned_thread import OwnedThread
from dynamic_pipeline.views.escape import escape

if TYPE_CHECKING:
    from pipeline_config import Settings

    from dynamic_pipeline.attempts import Attempt
    from dynamic_pipeline.cli.request import Request
    from dynamic_pipeline.cli.task import Task
    from dynamic_pipeline.collector import Sink
    from dynamic_pipeline.views.live import RunningJob, Snapshot
    from dynamic_pipeline.wiring import Run

_EVERY_S = 0.25
_JOIN_S = 0.5
_SAMPLES = 60
_MOST_COUNTED = 256 << 20  # bytes of input whose records are counted beforehand
_CHUNK = 1 << 20
_LONGEST_RECORD = 200  # characters
_LONGEST_BEGUN = 1 << 16  # characters of a line without an end


def has_view(request: Request, settings: Settings, *, fd: int) -> bool:
    """Somebody looks at *fd*, where the log goes, and has not asked for quiet or for lines that a program reads."""
    if request.is_quiet or settings.log.format == "json" or settings.log.view == "plain":
        return False
    if not os.isatty(fd) or os.environ.get("TERM") in {None, "", "dumb"} or os.environ.get("CI"):
        return False
    kind = os.fstat(STDOUT).st_mode
    return not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind))  # its reader may be a pager on this very terminal


class LiveView:
    """Draws what is known of a run four times a second, from `begin` until `close`."""

    def __init__(self, request: Request, settings: Settings, task: Task, log_path: str) -> None:
        from dynamic_pipeline.sinks.live import LiveAgain, LiveFacts  # noqa: PLC0415 - only where somebody looks
        from dynamic_pipeline.sinks.screen import Screen, colors_of  # noqa: PLC0415 - same

        fd = STDERR if task.is_real else STDOUT
        self.screen = Screen(fd, colors=colors_of(dict(os.environ)))
        self._facts, self._again = LiveFacts(self.screen), LiveAgain(self.screen)
        self._request, self._task, self._log = request, task, log_path
        self._tries = settings.pipeline.max_retries + 1
        fixed = settings.scaling.policy == "fixed"
        most = settings.pipeline.max_workers
        self._bounds = (most if fixed else settings.pipeline.min_workers, most)
        self._is_utf8 = (
            "utf" in (getattr(sys.stderr if task.is_real else sys.stdout, "encoding", "") or "").lower()
        )
        self._begun_s = monotonic()
        self._total: int | None = None
        self._seen: dict[int, tuple[Attempt, float]] = {}  # running jobs, and since when they were seen to
        self._backlogs: deque[float] = deque(maxlen=_SAMPLES)
        self._rates: deque[float] = deque(maxlen=_SAMPLES)
        self._sampled_s = 0.0
        self._ends = threading.Event()
        self._thread = OwnedThread("view", self._run, self._crashed)
        self._started: Run | None = None

    def around(self, sinks: Sequence[Sink]) -> list[Sink]:
        """*sinks* with one before them that takes the turn on the screen, and one behind that gives it back."""
        return [self._facts, *sinks, self._again]

    def above(self, sinks: Iterable[Any]) -> None:
        """Let what these write to the terminal go above the view."""
        for sink in sinks:
            if hasattr(sink, "away"):
                sink.away = self.screen.away

    def begin(self, run: Run) -> None:
        self._started = run
        if self._request.call is not None:  # what calls print goes above the lines too
            sys.stdout = _Held(sys.stdout, self.screen.away)
            sys.stderr = _Held(sys.stderr, self.screen.away)
        self._thread.start()

    def close(self) -> None:
        """Draw no more, and take the lines away. A terminal that has stalled is not waited for."""
        self._ends.set()
        self._thread.join(_JOIN_S)
        self.screen.close()
        for name in ("stdout", "stderr"):
            if isinstance(held := getattr(sys, name), _Held):
                setattr(sys, name, held.finish())

    def _crashed(self, thread: str, error: BaseException) -> None:
        """A view that fails costs the run nothing but the view."""
        self.screen.close()
        from dynamic_pipeline.cli.console import write_stderr  # noqa: PLC0415 - never needed, one hopes

        write_stderr(f"pipeline: the {thread} ends here: {error!r}")

    def _run(self) -> None:
        from dynamic_pipeline.views.live import ASCII, UNICODE, render  # noqa: PLC0415 - only where somebody looks

        marks = UNICODE if self._is_utf8 else ASCII
        self._total = _count(self._request)
        while not self._ends.is_set():
            size = self.screen.size()
            self.screen.show(render(self._look(), size.columns, size.lines - 1, marks))
            self._ends.wait(_EVERY_S)

    def _look(self) -> Snapshot:
        from dynamic_pipeline.views.live import Snapshot  # noqa: PLC0415 - only where somebody looks

        run, facts, now_s = self._started, self._facts, monotonic()
        assert run is not None, "the thread is started by `begin`"
        load, stats = run.load, facts.stats
        rate = stats.rate_per_s(now_s)
        if now_s - self._sampled_s >= 1:
            self._sampled_s = now_s
            self._backlogs.append(load.backlog)
            self._rates.append(rate)
        earlier = sum(self._task.journal.source.earlier().values()) if self._task.journal is not None else 0
        accepted = run.accepted_at_end
        return Snapshot(
            run=self._task.run_id,
            elapsed_s=now_s - self._begun_s,
            done=stats.finished + earlier,
            total=self._total if accepted is None else accepted + earlier,
            ok=stats.succeeded,
            failed=stats.failed,
            retries=stats.retries,
            flaky=facts.flaky,
            queued=load.queued + load.in_flight - load.running,
            running=load.running,
            waiting=load.waiting,
            limit=load.limit,
            least=self._bounds[0],
            most=self._bounds[1],
            decision=facts.decision if self._is_utf8 else facts.decision.replace("→", "->"),
            decision_ago_s=now_s - facts.decided_s,
            backlogs=tuple(self._backlogs),
            rates=tuple(self._rates),
            rate_per_s=rate,
            p50_s=facts.quantile_s(0.50),
            p95_s=facts.quantile_s(0.95),
            tries=self._tries,
            jobs=self._longest(run.running, now_s),
            stopping=facts.stopping,
            log=self._log,
        )

    def _longest(self, running: Sequence[Attempt], now_s: float) -> list[RunningJob]:
        """They begin in this order, so the first run longest; since when is known as well as we have looked."""
        from dynamic_pipeline.views.live import RunningJob  # noqa: PLC0415 - only where somebody looks

        seen = {id(attempt): self._seen.get(id(attempt), (attempt, now_s)) for attempt in running}
        self._seen = seen
        return [
            RunningJob(attempt.job.id, _text(attempt.job.payload), attempt.number, now_s - since_s)
            for attempt, since_s in seen.values()
        ]


def _text(payload: Any) -> str:
    return "" if payload is None else escape(str(payload)[:_LONGEST_RECORD])


def _count(request: Request) -> int | None:
    """About how many records the input has, where that can be told in no time: of files, by what ends a record."""
    paths = request.inputs
    try:
        if not paths or any(not stat.S_ISREG(os.stat(path).st_mode) for path in paths):  # noqa: PTH116 - text
            return request.jobs if request.is_simulation else None
        if sum(os.stat(path).st_size for path in paths) > _MOST_COUNTED:  # noqa: PTH116 - text
            return None
        separator = b"\0" if request.is_null_separated else b"\n"
        return sum(_count_in(path, separator) for path in paths) or None
    except OSError:
        return None


def _count_in(path: str, separator: bytes) -> int:
    count, last = 0, separator
    with open(path, "rb") as file:  # noqa: PTH123 - text
        while chunk := file.read(_CHUNK):
            count, last = count + chunk.count(separator), chunk[-1:]
    return count + (last != separator) - path.endswith((".csv", ".tsv"))


class _Held:
    """A stream whose lines are written while the view is away: whole ones, as `print` gives them in parts."""

    def __init__(self, stream: TextIO, away: Callable[[], Any]) -> None:
        self.stream = stream
        self._away = away
        self._is_over = False
        self._begun: dict[int, str] = {}  # lines without an end, by thread; each has its own

    def write(self, text: str) -> int:
        if self._is_over:
            return self.stream.write(text)
        thread = threading.get_ident()
        whole, end, begun = (self._begun.pop(thread, "") + text).rpartition("\n")
        if len(begun) > _LONGEST_BEGUN:
            whole, end, begun = whole + end + begun, "\n", ""
        if begun:
            self._begun[thread] = begun
        if end:
            self._put(whole + end)
        return len(text)

    def flush(self) -> None:
        """Write what the thread has begun, too."""
        if begun := self._begun.pop(threading.get_ident(), ""):
            self._put(begun)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def finish(self) -> TextIO:
        """Write what all have begun; the stream itself."""
        self._is_over = True
        for thread in tuple(self._begun):
            self._put(self._begun.pop(thread, ""))
        return self.stream

    def _put(self, text: str) -> None:
        with self._away():
            self.stream.write(text)
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
