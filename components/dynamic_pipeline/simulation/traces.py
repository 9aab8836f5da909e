"""What a simulated run is fed: jobs with the times at which they come, and how long each attempt at them takes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, overload

from dynamic_pipeline.pacing import PROFILES

_SECONDS = 600.0  # of a named trace
_SEED = PROFILES["seed"]  # whose jobs they all have
_FAILING = 0.1
_MOST_ATTEMPTS = 10
_LONGEST_TIME_S = (
    1e6  # in a file: eleven days, which a policy that looks each second is asked a million times
)


class TraceJob(NamedTuple):
    """A job that comes at *at_s*. With a last attempt that fails it has failed for good."""

    at_s: float  # since the start
    attempts: tuple[tuple[float, bool], ...]  # seconds, and whether it goes well
    gap_s: float | None = None  # since the queue had taken the job before; None: nobody has noted it

    def work_s(self, max_retries: int) -> float:
        """Seconds that all attempts at it take."""
        tried = self.attempts[: max_retries + 1]
        tries = next((at for at, (_, is_ok) in enumerate(tried, 1) if is_ok), len(tried))
        return sum(seconds for seconds, _ in tried[:tries])


class Trace(NamedTuple):
    """A load. An open one comes at its times, whatever becomes of it.

    A closed one comes from a producer that makes its next job when the queue has taken the last one: *gap_s* gives the
    seconds in between, by the job's place and the time of that; infinite after the last.
    """

    jobs: Sequence[TraceJob]  # by time
    gap_s: Callable[[int, float], float] | None = None

    @property
    def is_closed(self) -> bool:
        return self.gap_s is not None


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
CYCLE = "cycle"
NAMES = (*_RATES, CYCLE)
_SPIKE = [10.0 + number / 120 for number in range(120)]  # 120 jobs within a second


def named(name: str, seed: int) -> Trace:
    """Ten minutes of steady, square, spike, ramp, or the seed's own cycle, which is closed; the same for the same *seed*.

    Lengths and outcomes depend on seed, job and attempt only, so that policies are compared on the same work.

    Raises:
        ValueError: there is no such trace.
    """
    if name == CYCLE:
        return Trace(_Drawn(seed), _seeds_gap_s)
    if name not in _RATES:
        raise ValueError(f"there is no trace {name}; there are {', '.join(NAMES)}, and files")
    rate, highest = _RATES[name]
    luck = random.Random(f"{seed}/{name}")  # noqa: S311 - not a secret
    times = sorted([*_thinned(luck, rate, highest), *(_SPIKE if name == "spike" else ())])
    return Trace([TraceJob(at_s, tuple(_attempts(seed, number))) for number, at_s in enumerate(times)])


def _seeds_gap_s(_: int, at_s: float) -> float:
    gap_s = _SEED.interval_s(at_s)
    return gap_s if at_s + gap_s < _SECONDS else inf


class _Drawn(Sequence[TraceJob]):
    """Jobs that are made when they are asked for: how many there will be depends on the policy."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made: list[TraceJob] = []

    def __len__(self) -> int:
        return int(_SECONDS / min(interval_s for interval_s, _ in _SEED.phases))  # more never come

    @overload
    def __getitem__(self, at: int) -> TraceJob: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[TraceJob]: ...
    def __getitem__(self, at: int | slice) -> TraceJob | Sequence[TraceJob]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        while len(self._made) <= at:
            self._made.append(TraceJob(0.0, tuple(_attempts(self._seed, len(self._made)))))
        return self._made[at]


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
        yield luck.uniform(*_SEED.job_s), luck.random() >= _FAILING


def read(path: Path) -> Trace:
    """A file of JSON lines, ``{"t": 12.34, "svc": [2.1, 1.4], "ok": [false, true]}``; *ok* may be left out.

    With ``"gap": 0.5`` in every line, as a run records it, the load is a closed one: seconds since the job before was accepted.

    Raises:
        ValueError: a line is no such object; it is named. OSError: the file cannot be read.
    """
    jobs = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if line.strip():
            try:
                jobs.append(_job(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                shape = '{"t": seconds, "svc": [seconds, …], "ok": [true, …]}'
                raise ValueError(f"line {number}: it must be {shape} ({error})") from None
    jobs.sort(key=lambda job: job.at_s)
    gaps_s = [job.gap_s for job in jobs if job.gap_s is not None]
    if not jobs or len(gaps_s) < len(jobs):
        return Trace(jobs)
    return Trace(jobs, lambda at, _: gaps_s[at])


def _job(row: dict[str, Any]) -> TraceJob:
    at_s, service = float(row["t"]), [float(seconds) for seconds in row["svc"]]
    ok = row.get("ok", [False] * (len(service) - 1) + [True])
    if not service or len(ok) != len(service) or not all(isinstance(one, bool) for one in ok):
        raise ValueError("svc and ok must be as long, and not empty")
    gap_s = None if row.get("gap") is None else float(row["gap"])
    if not all(0 <= seconds <= _LONGEST_TIME_S for seconds in (at_s, gap_s or 0.0, *service)):
        raise ValueError(f"times must be 0 to {_LONGEST_TIME_S:g}")
    return TraceJob(at_s, tuple(zip(service, ok, strict=True)), gap_s)
