"""The page: a story, drawn and filled into the template. The only door to Jinja."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dynamic_pipeline import __version__
from dynamic_pipeline.report import charts
from dynamic_pipeline.report.fold import US_PER_S
from dynamic_pipeline.report.spread import Spread
from dynamic_pipeline.report.story import Story
from dynamic_pipeline.report.words import duration_text, time_text
from dynamic_pipeline.views.endings import shortened
from dynamic_pipeline.views.escape import escape

_PIECE = 1000  # characters that `escape` takes without cutting them
_IN_SCRIPT = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_ROWS = 200  # of a long table


def render(story: Story, now_us: int) -> Iterator[bytes]:
    """The page in pieces, as UTF-8."""
    style = Markup(_asset("vendor/uPlot.min.css") + _asset("page.css"))  # noqa: S704 - ours
    licence = _asset("vendor/uPlot-LICENSE").replace("*/", "")
    scripts = [
        Markup(f"/*\n{licence}*/\n{_asset('vendor/uPlot.iife.min.js')}"),  # noqa: S704 - ours
        Markup(_asset("page.js")),  # noqa: S704 - ours
    ]
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts))}; img-src data:"
    page = _environment().from_string(_asset("page.html"))
    values = {
        "story": story,
        "policy": f"{policy}; base-uri 'none'; form-action 'none'",
        "style": style,
        "scripts": scripts,
        "data": script_json(_series(story)),
        "made": time_text(now_us),
        "version": __version__,
        "rows": _ROWS,
        "drawings": _drawings(story),
        "spreads": _spreads(story),
        "busy": _busy(story),
    }
    for piece in page.generate(values):
        yield piece.encode()


def script_json(value: object) -> Markup:
    """*value* as JSON in which nothing can end a script, or begin a comment in it."""
    return Markup(json.dumps(value, separators=(",", ":")).translate(_IN_SCRIPT))  # noqa: S704 - made safe here


def shown(value: object) -> object:
    """What the template prints: text without anything that does not print, whoever wrote it."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(escape(value[at : at + _PIECE]) for at in range(0, len(value), _PIECE))


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=shown
    )
    environment.filters.update(duration=duration_text, time=time_text, cut=shortened)
    return environment


def _drawings(story: Story) -> dict[str, charts.Drawing]:
    span_s, fold = story.span_s, story.fold
    return {
        "pool": charts.pool_drawing(story.pool.points(span_s), story.pool.changes, span_s),
        "rate": charts.rate_drawing(fold.intervals, span_s),
        "latency": charts.latency_drawing(fold.intervals, span_s),
        "run_times": charts.histogram_drawing(fold.run_times.bars()),
        "waits": charts.histogram_drawing(fold.waits.bars()),
        "gantt": charts.gantt_drawing(fold.gantt, span_s),
    }


def _spreads(story: Story) -> list[tuple[str, Spread, list[float | None]]]:
    """What there is to say of run time and of queue wait, in seconds."""
    named = [("Run time", story.fold.run_times), ("Queue wait", story.fold.waits)]
    return [
        (name, spread, [_s(spread.at(share)) for share in (0.5, 0.95, 0.99, 1)]) for name, spread in named
    ]


def _busy(story: Story) -> float | None:
    allowed_s = story.pool.allowed_s(story.span_s)
    return min(100 * story.fold.busy_us / US_PER_S / allowed_s, 100) if allowed_s > 0 else None


def _s(us: float | None) -> float | None:
    return None if us is None else us / US_PER_S


def _series(story: Story) -> dict[str, Any]:
    """What the script draws once more, with a cursor that tells the values."""
    points = story.pool.points(story.span_s)
    intervals = story.fold.intervals
    starts_s, each = intervals.starts_s, intervals.all
    return {
        "pool": {
            "x": [round(point.at_s, 3) for point in points],
            "backlog": [point.backlog for point in points],
            "workers": [point.workers for point in points],
            "marks": [[round(one.at_s, 3), one.before, one.workers] for one in story.pool.changes],
        },
        "rate": {
            "x": starts_s,
            "ok": [one.succeeded for one in each],
            "failed": [one.failed for one in each],
            "width": intervals.width_s,
        },
        "latency": {
            "x": [round(start_s + intervals.width_s / 2, 4) for start_s in starts_s],
            "p50": [_s(one.run_times.at(0.5)) for one in each],
            "p95": [_s(one.run_times.at(0.95)) for one in each],
        },
    }
