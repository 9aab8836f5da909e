"""What happened over the time of a run: intervals, and the line of backlog and workers. Pure; seconds since its start."""

from __future__ import annotations

from typing import NamedTuple

from dynamic_pipeline.report.spread import Spread

_ROUND_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_INTERVALS = 60
_POINTS = 600
_MARKS = 200


def round_step(span: float, most: int) -> float:
    """The smallest round step of which *most* cover *span*: 1, 2, 5 × 10^n below a second, then as clocks have them."""
    step = 0.001
    while step < 1:
        for factor in (1, 2, 5):
            if span <= step * factor * most:
                return step * factor
        step = round(step * 10, 6)
    for whole in _ROUND_S:
        if span <= whole * most:
            return float(whole)
    days = 1
    while span > days * 86400 * most:
        days *= 2
    return float(days * 86400)


class Interval:
    """What ended within one interval."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0  # attempts: what is tried again has failed first
        self.run_times = Spread()


class Intervals:
    """Equal parts of *span_s*, about sixty of them."""

    def __init__(self, span_s: float) -> None:
        self.width_s = round_step(max(span_s, 0.05), _INTERVALS)
        self.all = [Interval() for _ in range(int(span_s / self.width_s) + 1)]

    def add(self, at_s: float, run_us: int, *, has_failed: bool) -> None:
        """An attempt that ended at *at_s*."""
        interval = self.all[min(max(int(at_s / self.width_s), 0), len(self.all) - 1)]
        interval.run_times.add(run_us)
        if has_failed:
            interval.failed += 1
        else:
            interval.succeeded += 1

    @property
    def starts_s(self) -> list[float]:
        return [round(number * self.width_s, 3) for number in range(len(self.all))]


class Point(NamedTuple):
    """From *at_s* on; where several looks make one point, the highest backlog and the last number of workers."""

    at_s: float
    backlog: int | None  # None: not known before the first look
    workers: int


class Change(NamedTuple):
    """The policy gave the pool another size."""

    at_s: float
    before: int
    workers: int
    backlog: int
    reason: str


class PoolLine:
    """Backlog and workers over time, of at most some hundred points however long the run was."""

    def __init__(self, span_s: float) -> None:
        self.changes: list[Change] = []  # the first of them
        self.change_count = 0
        self.looks = 0
        self.worker_s = 0.0  # that were allowed, until the last look
        self._width_s = max(span_s, 0.001) / _POINTS
        self._points: list[Point] = []
        self._places: list[int] = []
        self._last: tuple[float, int] | None = None

    def add(self, at_s: float, backlog: int, before: int, workers: int, reason: str) -> None:
        """A look that saw *before* workers allowed and decided for *workers*."""
        at_s = max(at_s, 0.0)
        if self._last is None:
            self._put(0.0, None, before)
            self._last = (0.0, before)
        self.worker_s += (at_s - self._last[0]) * self._last[1]
        self._last = (at_s, workers)
        self.looks += 1
        self._put(at_s, backlog, workers)
        if workers != before:
            self.change_count += 1
            if len(self.changes) < _MARKS:
                self.changes.append(Change(at_s, before, workers, backlog, reason))

    def _put(self, at_s: float, backlog: int | None, workers: int) -> None:
        place = int(at_s / self._width_s)
        if self._places and self._places[-1] == place:
            last = self._points[-1]
            self._points[-1] = Point(last.at_s, max(last.backlog or 0, backlog or 0), workers)
        else:
            self._places.append(place)
            self._points.append(Point(at_s, backlog, workers))

    @property
    def is_thinned(self) -> bool:
        return self.looks + 1 > len(self._points)

    def points(self, end_s: float) -> list[Point]:
        """In order; the last one is at *end_s*, since a look stands until the next."""
        if not self._points:
            return []
        last = self._points[-1]
        return [*self._points, last._replace(at_s=end_s)] if end_s > last.at_s else list(self._points)

    def allowed_s(self, end_s: float) -> float:
        """Seconds of work that the pool could have done until *end_s*."""
        if self._last is None:
            return 0.0
        return self.worker_s + max(end_s - self._last[0], 0.0) * self._last[1]
