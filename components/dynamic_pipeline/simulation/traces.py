"""What a simulated run is fed: jobs with the times at which they come, and how long each attempt at them takes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

_SECONDS = 600.0  # of a named trace
_SHORTEST_S, _LONGEST_S, _FAILING = 1.0, 5.0, 0.1  # its jobs are the seed's
_MOST_ATTEMPTS = 10
_LONGEST_TIME_S = (
    1e6  # in a file: eleven days, which a policy that looks each second is asked a million times
)


class TraceJob(NamedTuple):
    """A job that comes at *at_s*; the last of its attempts stands for all that follow."""

    at_s: float  # since the start
    attempts: tuple[tuple[float, bool], ...]  # seconds, and whether it goes well

    def attempt(self, number: int) -> tuple[float, bool]:
        return self.attempts[min(number, len(self.attempts)) - 1]


Trace = list[TraceJob]  # by time


def _square(at_s: float) -> float:
    return 5.0 if at_s % 60 < 10 else 0.3  # noqa: PLR2004 - a burst of ten seconds a minute


def _ramp(at_s: float) -> float:
    return 0.2 + 1.8 * (1 - abs(at_s - _SECONDS / 2) / (_SECONDS / 2))


# Jobs per second over time, and the highest of it; a Poisson stream.
_RATES: dict[str, tuple[Callable[[float], float], float]] = {
    "steady": (lambda _: 1.0, 1.0),
    "square": (_square, 5.0),
    "spike": (lambda _: 0.2, 0.2),
    "ramp": (_ramp, 2.0),
}
NAMES = tuple(_RATES)
_SPIKE = [10.0 + number / 120 for number in range(120)]  # 120 jobs within a second


def named(name: str, seed: int) -> Trace:
    """Ten minutes of steady, square, spike or ramp; the same for the same *seed*.

    Lengths and outcomes depend on seed, job and attempt only, so that policies are compared on the same work.

    Raises:
        ValueError: there is no such trace.
    """
    if name not in _RATES:
        raise ValueError(f"there is no trace {name}; there are {', '.join(NAMES)}, and files")
    rate, highest = _RATES[name]
    luck = random.Random(f"{seed}/{name}")  # noqa: S311 - not a secret
    times = sorted([*_thinned(luck, rate, highest), *(_SPIKE if name == "spike" else ())])
    return [TraceJob(at_s, tuple(_attempts(seed, number))) for number, at_s in enumerate(times)]


def _thinned(luck: random.Random, rate: Callable[[float], float], highest: float) -> Iterator[float]:
    """Times of a Poisson stream whose rate changes: Lewis and Shedler (1979)."""
    at_s = luck.expovariate(highest)
    while at_s < _SECONDS:
        if luck.random() * highest < rate(at_s):
            yield at_s
        at_s += luck.expovariate(highest)


def _attempts(seed: int, number: int) -> Iterator[tuple[float, bool]]:
    luck = random.Random(f"{seed}/{number}")  # noqa: S311 - not a secret
    for _ in range(_MOST_ATTEMPTS):
        yield luck.uniform(_SHORTEST_S, _LONGEST_S), luck.random() >= _FAILING


def read(path: Path) -> Trace:
    """A file of JSON lines, ``{"t": 12.34, "svc": [2.1, 1.4], "ok": [false, true]}``; *ok* may be left out.

    Raises:
        ValueError: a line is no such object; it is named. OSError: the file cannot be read.
    """
    jobs = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if line.strip():
            try:
                jobs.append(_job(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                shape = '{"t": seconds, "svc": [seconds, …], "ok": [true, …]}'
                raise ValueError(f"line {number}: it must be {shape} ({error})") from None
    return sorted(jobs, key=lambda job: job.at_s)


def _job(row: dict[str, Any]) -> TraceJob:
    at_s, service = float(row["t"]), [float(seconds) for seconds in row["svc"]]
    ok = row.get("ok", [False] * (len(service) - 1) + [True])
    if not service or len(ok) != len(service) or not all(isinstance(one, bool) for one in ok):
        raise ValueError("svc and ok must be as long, and not empty")
    if not all(0 <= seconds <= _LONGEST_TIME_S for seconds in (at_s, *service)):
        raise ValueError(f"times must be 0 to {_LONGEST_TIME_S:g}")
    return TraceJob(at_s, tuple(zip(service, ok, strict=True)))
