"""Where lines, bars and marks stand in a drawing. Pure: numbers in, numbers and SVG path data out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dynamic_pipeline.report.gantt import Gantt
from dynamic_pipeline.report.spread import Bar
from dynamic_pipeline.report.timeline import Change, Intervals, Point, round_step
from dynamic_pipeline.report.words import clock_text, duration_text
from dynamic_pipeline.views.endings import shortened

WIDTH = 900
_HEIGHT = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 56, 14, 26
_ROW = 20
_LETTERED = 26  # pixels that a bar needs to hold its letter
_X_TICKS, _Y_TICKS = 8, 5
_LETTERS = {"succeeded": "✓", "failed": "✗", "timeout": "T", "interrupted": "!", "running": "…"}
_US_PER_S = 1e6
_LONG_COUNT = 10_000
_NAME_CHARS = 14


class Tick(NamedTuple):
    """A mark on an axis, at *at* pixels."""

    at: float
    text: str


class Shape(NamedTuple):
    """A path of the class *kind*."""

    kind: str
    path: str


class Box(NamedTuple):
    """A rectangle that says what it is."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    letter: str
    title: str


class Mark(NamedTuple):
    """An arrow."""

    x: float
    letter: str
    title: str


class Drawing(NamedTuple):
    """All that a template needs to draw a chart."""

    height: float
    bottom: float  # of the plot
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    right_ticks: list[Tick]
    shapes: list[Shape]
    boxes: list[Box]
    marks: list[Mark]


class Axis(NamedTuple):
    """Maps 0 … *high* to *begin* … *end* pixels."""

    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        return round(self.begin + (self.end - self.begin) * value / self.high, 1)


def counts_axis(most: float, begin: float = _HEIGHT - _BOTTOM, end: float = _TOP) -> tuple[Axis, list[Tick]]:
    """For whole numbers from 0 to *most*, up to the next round one."""
    step = next(
        factor * 10**power
        for power in range(20)
        for factor in (1, 2, 5)
        if factor * 10**power * _Y_TICKS >= most
    )
    high = step * max(1, -(-int(most) // step))
    axis = Axis(high, begin, end)
    return axis, [Tick(axis.at(value), _count_text(value)) for value in range(0, high + 1, step)]


def time_axis(span_s: float, begin: float = _LEFT, end: float = WIDTH - _RIGHT) -> tuple[Axis, list[Tick]]:
    """From the start of a run to its end."""
    span_s = max(span_s, 0.001)
    axis, step = Axis(span_s, begin, end), round_step(span_s, _X_TICKS)
    values = [round(number * step, 3) for number in range(int(span_s / step + 1e-9) + 1)]
    return axis, [Tick(axis.at(value), clock_text(value, step)) for value in values]


def duration_axis(most_us: float) -> tuple[Axis, list[Tick]]:
    """For microseconds from 0 on."""
    step_us = round_step(max(most_us, 1.0) / _US_PER_S, _Y_TICKS) * _US_PER_S
    high = step_us * max(1, -(-most_us // step_us))
    axis = Axis(high, _HEIGHT - _BOTTOM, _TOP)
    values = [step_us * number for number in range(int(high / step_us) + 1)]
    return axis, [Tick(axis.at(value), duration_text(value / _US_PER_S)) for value in values]


def steps(points: Iterable[tuple[float, float]]) -> str:
    """A line that keeps its height until the next point."""
    path = ""
    for x, y in points:
        path += f"H{x:g}V{y:g}" if path else f"M{x:g} {y:g}"
    return path


def lines(points: Iterable[tuple[float, float] | None]) -> str:
    """A line through the points; None is a gap. A point alone is a short dash."""
    path, is_open = "", False
    for point in points:
        if point is None:
            is_open = False
            continue
        path += f"L{point[0]:g} {point[1]:g}" if is_open else f"M{point[0]:g} {point[1]:g}h2"
        is_open = True
    return path


def pool_drawing(points: Sequence[Point], changes: Sequence[Change], span_s: float) -> Drawing:
    """Backlog as an area, workers as a line with a scale of their own on the right."""
    x, x_ticks = time_axis(span_s)
    seen = [(point.at_s, point.backlog) for point in points if point.backlog is not None]
    left, left_ticks = counts_axis(max((backlog for _, backlog in seen), default=0))
    right, right_ticks = counts_axis(max((point.workers for point in points), default=0))
    backlog = steps((x.at(at_s), left.at(count)) for at_s, count in seen)
    workers = steps((x.at(point.at_s), right.at(point.workers)) for point in points)
    area = f"{backlog}V{left.begin:g}H{x.at(seen[0][0]):g}Z" if seen else ""
    marks = [
        Mark(
            x.at(change.at_s),
            "▲" if change.workers > change.before else "▼",
            f"{clock_text(change.at_s, 1)}: {change.before} → {change.workers}, {shortened(change.reason)}",
        )
        for change in changes
    ]
    shapes = [Shape("backlog-area", area), Shape("backlog", backlog), Shape("workers", workers)]
    return Drawing(_HEIGHT, left.begin, x_ticks, left_ticks, right_ticks, shapes, [], marks)


def rate_drawing(intervals: Intervals, span_s: float) -> Drawing:
    """A column for each interval: what succeeded, and above it the attempts that failed."""
    x, x_ticks = time_axis(max(span_s, len(intervals.all) * intervals.width_s))
    y, y_ticks = counts_axis(max(one.succeeded + one.failed for one in intervals.all))
    width = max(x.at(intervals.width_s) - x.begin - 1, 0.5)
    good, bad = "", ""
    for start_s, one in zip(intervals.starts_s, intervals.all, strict=True):
        good += _column(x.at(start_s), width, y.begin, y.at(one.succeeded))
        bad += _column(x.at(start_s), width, y.at(one.succeeded), y.at(one.succeeded + one.failed))
    shapes = [Shape("good", good), Shape("bad", bad)]
    return Drawing(_HEIGHT, y.begin, x_ticks, y_ticks, [], shapes, [], [])


def latency_drawing(intervals: Intervals, span_s: float) -> Drawing:
    """The median and the 95th percentile of what ended in each interval."""
    x, x_ticks = time_axis(max(span_s, len(intervals.all) * intervals.width_s))
    y, y_ticks = duration_axis(max(one.run_times.at(0.95) or 0.0 for one in intervals.all))

    def line(share: float) -> str:
        found = (one.run_times.at(share) for one in intervals.all)
        middles = (start_s + intervals.width_s / 2 for start_s in intervals.starts_s)
        return lines(
            None if us is None else (x.at(at_s), y.at(us)) for at_s, us in zip(middles, found, strict=True)
        )

    shapes = [Shape("p95", line(0.95)), Shape("p50", line(0.5))]
    return Drawing(_HEIGHT, y.begin, x_ticks, y_ticks, [], shapes, [], [])


def histogram_drawing(bars: Sequence[Bar]) -> Drawing:
    """Columns of one width, since their edges grow by a factor."""
    y, y_ticks = counts_axis(max((bar.size for bar in bars), default=0))
    width = (WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    boxes, ticks = [], []
    every = -(-len(bars) // _X_TICKS) or 1
    for number, bar in enumerate(bars):
        at = round(_LEFT + number * width, 1)
        if number % every == 0:
            ticks.append(Tick(at, duration_text(bar.low / _US_PER_S)))
        title = f"{duration_text(bar.low / _US_PER_S)} to {duration_text(bar.high / _US_PER_S)}: {bar.size}"
        top = y.at(bar.size)
        boxes.append(Box("count", at, top, round(max(width - 2, 1), 1), round(y.begin - top, 1), "", title))
    return Drawing(_HEIGHT + 16, y.begin, ticks, y_ticks, [], [], boxes, [])  # its letters are larger


def gantt_drawing(gantt: Gantt, span_s: float) -> Drawing:
    """A row for each worker, with boxes for attempts, or shades of how busy it was."""
    x, x_ticks = time_axis(span_s, 96, WIDTH - 10)
    boxes: list[Box] = []
    ticks: list[Tick] = []
    paths: dict[str, str] = {}
    for number, (name, row) in enumerate(gantt.named_rows()):
        top = 6 + number * _ROW
        ticks.append(Tick(top + _ROW / 2, shortened(name, _NAME_CHARS)))
        for bar in row.bars:
            at = x.at(bar.start_s)
            width = max(round(x.at(bar.end_s) - at, 1), 1.0)
            letter = f"{_LETTERS[bar.outcome]}{bar.number}" if width >= _LETTERED else ""
            took = duration_text(bar.end_s - bar.start_s)
            title = f"job {bar.seq}, try {bar.number}, {bar.outcome}, {took}"
            kind = f"{bar.outcome} again" if bar.number > 1 else bar.outcome
            boxes.append(Box(kind, at, top + 2, width, _ROW - 4, letter, title))
        for cell in row.cells(gantt.slot_s) if gantt.is_summed else ():
            at, end = x.at(cell.start_s), x.at(cell.end_s)
            if cell.shade:
                path = f"M{at:g} {top + 2}H{end:g}v{_ROW - 4}H{at:g}z"
                paths[f"busy{cell.shade}"] = paths.get(f"busy{cell.shade}", "") + path
            if cell.has_failure:
                paths["failure"] = paths.get("failure", "") + f"M{at:g} {top + _ROW - 5}H{end:g}v3H{at:g}z"
    bottom = 6 + len(ticks) * _ROW
    shapes = [Shape(kind, paths[kind]) for kind in sorted(paths)]
    return Drawing(bottom + _BOTTOM, bottom, x_ticks, ticks, [], shapes, boxes, [])


def _count_text(count: int) -> str:
    """`5000`, `10k`, `2000k`: ticks have little room, and are round."""
    return f"{count / 1000:g}k" if count >= _LONG_COUNT else str(count)


def _column(x: float, width: float, begin: float, end: float) -> str:
    return f"M{x:g} {begin:g}V{end:g}h{width:g}V{begin:g}z" if end < begin else ""
