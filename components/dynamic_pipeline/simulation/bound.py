"""What a schedule that knows the future would cost: the yardstick of the simulated policies. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import inf
from typing import Any, NamedTuple

WAITING_WEIGHT, CHANGE_WEIGHT = (
    0.25,
    0.5,
)  # worker-seconds: a job that waits for a second, a worker more or less
MOST_COLUMNS = 2_000_000  # a few seconds; ten minutes of an ordinary load take a tenth of that
MOST_INTERVALS = 3600  # an hour of looks once a second; the time it takes grows with them
_ROUNDING = 1e-9
_CELLS = 2  # unfinished work is counted in halves of what a worker does in an interval


class Bound(NamedTuple):
    """The cheapest schedule."""

    cost: float  # in worker-seconds, as J is
    limits: list[int]  # workers, by interval


class _Row(NamedTuple):
    """All that is known of one number of workers; the columns are cells of unfinished work, from the lowest of the stage on."""

    costs: list[float]  # so far, the least; infinite: it cannot be reached
    paths: list[Any]  # the workers of the intervals so far, the latest first: (7, (7, None))


def clairvoyant(
    arrivals: Sequence[tuple[float, float]], least: int, most: int, interval_s: float
) -> Bound | None:
    """About the least J of *least* to *most* workers, changed once per interval, for work that is known beforehand.

    A dynamic programme over (unfinished work v, workers w). Work is a fluid: any number of workers may share it, from the
    beginning of the interval in which it comes, so the bound is optimistic. An interval of length d goes

        v' = max(0, v + work - w d),   cost = w d + 0.25 d max(0, v / mean work of a job - w) + 0.5 |change of w|

    An estimate: jobs that wait are counted as v / mean, which is too many where short ones go before long ones. The start is free, and the last interval is as long as its work. Right-sizing with switching costs is Lin, Wierman, Andrew
    and Thereska's (2011), whose online rule costs no more than three times the least.

    Args:
        arrivals: of each job the time at which it comes, and the worker-seconds that it takes, retries included.

    Returns:
        None where there is no work, or the search would take too long.
    """
    work = _by_interval(arrivals, interval_s)
    if not sum(work) or len(work) + sum(work) / (_CELLS * most) > MOST_INTERVALS:
        return None
    jobs_per_cell = len(arrivals) * interval_s / (_CELLS * sum(seconds for _, seconds in arrivals))
    search = _Search(least, most, interval_s, jobs_per_cell)
    for come in work[:-1]:
        search.step(come, is_end=False)
        if search.columns > MOST_COLUMNS:
            return None
    search.step(work[-1], is_end=True)
    while search.is_open and search.columns <= MOST_COLUMNS:
        search.step(0, is_end=True)
    if search.columns > MOST_COLUMNS:
        return None
    return Bound(search.best, _unwound(search.best_path))


def _by_interval(arrivals: Sequence[tuple[float, float]], interval_s: float) -> list[int]:
    """Cells of work that come in each interval; rounded down, and what is left of one counts in the next."""
    come = [0.0] * (int(max((at_s for at_s, _ in arrivals), default=0.0) / interval_s) + 1)
    for at_s, seconds in arrivals:
        come[int(at_s / interval_s)] += seconds
    sums = [int(seconds * _CELLS / interval_s + _ROUNDING) for seconds in accumulate(come)]
    return [after - before for before, after in zip([0, *sums], sums, strict=False)]


def _unwound(path: Any) -> list[int]:
    limits = []
    while path is not None:
        workers, path = path
        limits.append(workers)
    return limits[::-1]


class _Search:
    """Goes forward through the intervals with all that may still turn out to be the cheapest."""

    def __init__(self, least: int, most: int, interval_s: float, jobs_per_cell: float) -> None:
        self._workers = range(least, most + 1)
        self._interval_s = interval_s
        self._jobs_per_cell = jobs_per_cell
        self._prices: list[list[float]] = [[] for _ in self._workers]  # of an interval, by unfinished work
        self._lowest = 0  # unfinished work of the first column
        self._rows = [_Row([0.0], [None]) for _ in self._workers]
        self.columns = 0  # that were looked at: what the search has taken
        self.best = inf
        self.best_path: Any = None

    @property
    def is_open(self) -> bool:
        """Some way on has cost less than the best one to the end."""
        return min(min(costs) for costs, _ in self._rows) < self.best

    def step(self, come: int, *, is_end: bool) -> None:
        """One interval, in which *come* cells of work come; with *is_end* none come later."""
        self._change()
        self.columns += len(self._rows) * len(self._rows[0].costs)
        width, lowest = self._worth(), self._lowest
        self._lowest = max(0, lowest + come - _CELLS * self._workers[-1])
        highest = max(0, lowest + width - 1 + come - _CELLS * self._workers[0])
        for at, workers in enumerate(self._workers):
            costs, paths = self._rows[at].costs[:width], self._rows[at].paths[:width]
            prices = self._priced(at, lowest + width)[lowest : lowest + width]
            done = max(0, min(width, _CELLS * workers - come - lowest + 1))  # columns without work at the end
            if is_end:
                for column in range(done):
                    share = (lowest + column + come) / (_CELLS * workers)  # of the interval
                    if (cost := costs[column] + prices[column] * share) < self.best:
                        self.best, self.best_path = cost, (workers, paths[column])
            paid = [cost + price for cost, price in zip(costs, prices, strict=True)]
            emptied = min(range(done), key=paid.__getitem__) if done and not is_end else None
            left = width - done  # columns with work at the end, of which the first stands for so much
            start = lowest + done + come - _CELLS * workers if left else highest + 1
            before, behind = start - self._lowest, highest + 1 - start - left
            row = _Row(
                [inf] * before + paid[done:] + [inf] * behind,
                [None] * before + [(workers, path) for path in paths[done:]] + [None] * behind,
            )
            if emptied is not None:
                row.costs[0], row.paths[0] = paid[emptied], (workers, paths[emptied])
            self._rows[at] = row

    def _change(self) -> None:
        """Let each number of workers be come to from the others."""
        for order in (range(1, len(self._rows)), range(len(self._rows) - 2, -1, -1)):
            for at in order:
                mine, its = self._rows[at], self._rows[at - order.step]
                its_costs = [cost + CHANGE_WEIGHT for cost in its.costs]
                self._rows[at] = _Row(
                    list(map(min, mine.costs, its_costs)),
                    [
                        path if cost <= other else its_path
                        for cost, other, path, its_path in zip(
                            mine.costs, its_costs, mine.paths, its.paths, strict=True
                        )
                    ],
                )

    def _worth(self) -> int:
        """Columns to go on from: those beyond them have more work left and have cost no less."""
        width = 0
        for costs, _ in self._rows:
            least = list(accumulate(costs, min))
            width = max(width, least.index(least[-1]) + 1)
        return width

    def _priced(self, at: int, upto: int) -> list[float]:
        prices, workers = self._prices[at], self._workers[at]
        for unfinished in range(len(prices), upto):
            waiting = max(0.0, unfinished * self._jobs_per_cell - workers)
            prices.append(self._interval_s * (workers + WAITING_WEIGHT * waiting))
        return prices
