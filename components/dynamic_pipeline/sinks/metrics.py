"""What a run is like as Prometheus metrics, and the file that a node exporter reads them from."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from time import monotonic, time

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.parser import text_string_to_metric_families

from dynamic_pipeline.errors import OutputError
from dynamic_pipeline.events import Event, JobFailed, JobRetrying, JobSucceeded, JobUnfinished, LimitChanged
from dynamic_pipeline.scaling import Load
from dynamic_pipeline.sinks.files import CompleteFile
from dynamic_pipeline.stats import Stats

EVERY_S = 5.0
_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_P = "dynamic_pipeline_"
_LAST_SUCCESS = f"{_P}run_last_success_timestamp_seconds"


class Metrics:
    """A sink that counts; `text` is called by any thread, and may be late. *bounds*: fewest and most workers."""

    def __init__(self, version: str, bounds: tuple[int, int], now: Callable[[], float] = time) -> None:
        self.load: Callable[[], Load | None] = lambda: None  # of the run, once it has begun
        self.exit_code: int | None = None  # once it has ended
        self.last_success_s: float | None = None  # since the epoch, of this run or one before
        self._version, self._bounds, self._now = version, bounds, now
        self._begun_s = monotonic()
        self._ended_s: float | None = None
        self._jobs: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        self._retries = 0
        self._took = [0] * (len(_BUCKETS_S) + 1)  # attempts, by the bucket of their seconds
        self._took_s = 0.0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)  # it has `collect`, which is all that is asked of it

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        for event in events:
            match event:
                case JobSucceeded(_, outcome):
                    self._jobs["succeeded"] += 1
                    self._note("succeeded", outcome.elapsed_s)
                case JobFailed(_, outcome):
                    self._jobs["failed"] += 1
                    self._note("failed", outcome.elapsed_s)
                case JobRetrying(_, outcome):
                    self._retries += 1
                    self._note("failed", outcome.elapsed_s)
                case JobUnfinished():
                    self._jobs["unfinished"] += 1
                case LimitChanged(old, new):
                    self._changes["up" if new > old else "down"] += 1
                case _:
                    pass

    def _note(self, outcome: str, seconds: float) -> None:
        self._attempts[outcome] += 1
        self._took[bisect_left(_BUCKETS_S, seconds)] += 1
        self._took_s += seconds

    def close(self) -> None:
        pass

    def end(self, exit_code: int) -> None:
        """The run has ended."""
        self.exit_code, self._ended_s = exit_code, self._now()
        if exit_code == 0:
            self.last_success_s = self._ended_s

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield _counter(
            "jobs",
            "Jobs that are over, by how they ended.",
            "outcome",
            self._jobs,
            ("succeeded", "failed", "unfinished"),
        )
        yield _counter(
            "attempts", "Attempts that are over.", "outcome", self._attempts, ("succeeded", "failed")
        )
        yield CounterMetricFamily(
            f"{_P}retries", "Attempts that were followed by another one.", value=self._retries
        )
        yield _counter(
            "scale_events", "Changes of the number of workers.", "direction", self._changes, ("up", "down")
        )
        sums = list(accumulate(self._took))
        buckets = [(str(most), count) for most, count in zip((*_BUCKETS_S, "+Inf"), sums, strict=True)]
        help_text = "Seconds that attempts took."
        yield HistogramMetricFamily(f"{_P}attempt_duration_seconds", help_text, buckets, self._took_s)
        if (load := self.load()) is not None:
            yield _gauge("workers", "Workers allowed.", load.limit)
            states = {
                "queued": load.queued + load.in_flight - load.running,
                "running": load.running,
                "waiting": load.waiting,
            }
            yield _gauges("backlog_jobs", "Accepted jobs that are not over.", "state", states)
        yield _gauges(
            "workers_limit",
            "Bounds of the number of workers.",
            "bound",
            dict(zip(("min", "max"), self._bounds, strict=True)),
        )
        yield _gauge(
            "run_duration_seconds", "Seconds since the run began, or that it took.", self._duration_s()
        )
        if self.exit_code is not None and self._ended_s is not None:
            yield _gauge("run_exit_code", "What the run left with.", self.exit_code)
            yield _gauge("run_last_completion_timestamp_seconds", "When the run ended.", self._ended_s)
        if self.last_success_s is not None:
            yield _gauge(
                "run_last_success_timestamp_seconds", "When a run last ended with 0.", self.last_success_s
            )
        yield InfoMetricFamily(f"{_P}build", "The program.", {"version": self._version})

    def _duration_s(self) -> float:
        return monotonic() - self._begun_s


class MetricsFile:
    """A sink that writes *metrics* to the file at *path* every few seconds, and when the run has ended.

    It takes the time of the last success over from what stands there. A file that cannot be written later is given up, in `problem`.

    Raises:
        OutputError: nothing can be written there.
    """

    def __init__(self, path: str, metrics: Metrics) -> None:
        self._path, self._metrics = path, metrics
        self.problem = ""
        self._written_s = monotonic()
        metrics.last_success_s = _last_success_s(path)
        self._write()

    def emit(self, events: Sequence[Event], stats: Stats) -> None:  # noqa: ARG002 - a sink's signature
        if monotonic() - self._written_s >= EVERY_S:
            self.update()

    def update(self) -> None:
        """Write them as they are now."""
        self._written_s = monotonic()
        if not self.problem:
            try:
                self._write()
            except OutputError as error:
                self.problem = f"warning: {error}; it is not written any more"

    def close(self) -> None:
        pass

    def _write(self) -> None:
        file = CompleteFile(f"--metrics-file {self._path}", self._path)
        file.write(self._metrics.text())
        file.complete()


def _last_success_s(path: str) -> float | None:
    with suppress(OSError, ValueError):
        for family in text_string_to_metric_families(Path(path).read_text(encoding="utf-8")):
            for sample in family.samples:
                if sample.name == _LAST_SUCCESS:
                    return float(sample.value)
    return None


def _counter(name: str, help_text: str, label: str, counts: Counter[str], values: Sequence[str]) -> Metric:
    family = CounterMetricFamily(f"{_P}{name}", help_text, labels=[label])
    for value in values:
        family.add_metric([value], counts[value])
    return family


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_P}{name}", help_text, value=value)


def _gauges(name: str, help_text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"{_P}{name}", help_text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
