"""The seed's producer: a stream of jobs at a rate that changes."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from dynamic_pipeline import run
from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.handover import Bell
from dynamic_pipeline.pacing import PROFILES, Profile
from dynamic_pipeline.sources.synthetic import SyntheticSource
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.views.log_line import log_lines

from tests.doubles import FakeClock, RecordingSink, Spawned, wait_until

SEED = PROFILES["seed"]
HOURLY = Profile(((3600.0, 1e6),), (0.0, 0.0))


class ClockBell(Bell):
    """A bell that waits on a fake clock; *meanwhile* is what other threads do during the first wait."""

    def __init__(self, clock: FakeClock, meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._clock = clock
        self._meanwhile = meanwhile

    def wait(self, is_ready: Callable[[], object], timeout_s: float | None = None) -> None:
        assert timeout_s is not None
        assert timeout_s > 0, "a wait for nothing is a busy loop"
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()
        if not is_ready():
            self._clock.advance(timeout_s)


class Bench:
    """A source on a clock of ours."""

    def __init__(
        self,
        profile: Profile = SEED,
        *,
        meanwhile: Callable[[SyntheticSource, Stop, FakeClock], object] = lambda *_: None,
        **limits: Any,
    ) -> None:
        self.clock = FakeClock(1000.0)
        self.stop = Stop()
        self.source = SyntheticSource(profile, self.stop, now=self.clock, **limits)
        self.source._bell = ClockBell(self.clock, lambda: meanwhile(self.source, self.stop, self.clock))
        self._drawing = iter(self.source)

    def next(self) -> float | None:
        """When the next job came, in seconds since the start; None at the end."""
        return None if next(self._drawing, self) is self else round(self.clock.now_s - 1000.0, 6)

    def times(self, count: int) -> list[float | None]:
        return [self.next() for _ in range(count)]


def test_one_job_per_interval() -> None:
    """The first at once, the others 20 ms apart."""
    assert [0.0, 0.02, 0.04, 0.06] == Bench().times(4)


def test_the_rate_changes_with_the_phase() -> None:
    """20 ms apart for half a minute, 600 ms for the next, then 20 ms again."""
    bench = Bench(duration_s=61.0)
    times = [time for time in iter(bench.next, None) if time is not None]

    def gaps(since_s: float, until_s: float) -> set[float]:
        within = [time for time in times if since_s <= time < until_s]
        return {round(after - before, 6) for before, after in itertools.pairwise(within)}

    assert ({0.02}, {0.6}, {0.02}) == (gaps(0, 30), gaps(30, 60), gaps(60, 61))
    assert 60.98 <= times[-1] <= 61


def test_a_job_that_waits_for_the_slow_phase_comes_when_the_fast_one_begins() -> None:
    """A phase that begins during a wait holds for the job that waits."""
    bench = Bench(Profile(((10.0, 12.0), (1.0, 30.0)), (0.0, 0.0)))

    assert [0.0, 10.0, 12.0, 13.0] == bench.times(4)


def test_no_burst_makes_up_for_a_full_queue() -> None:
    """The producer was held for five seconds: the next job comes one interval after that one was accepted."""
    bench = Bench()
    bench.times(2)
    bench.clock.advance(5.0)

    assert [5.04, 5.06] == bench.times(2)


def test_a_number_of_jobs_is_kept_exactly() -> None:
    """After the last one the source has ended, without another wait."""
    bench = Bench(jobs=3)

    assert [0.0, 0.02, 0.04, None] == bench.times(4)
    assert 1000.04 == pytest.approx(bench.clock.now_s)


def test_no_jobs_are_no_jobs() -> None:
    """`--jobs 0` ends at once."""
    assert [None] == Bench(jobs=0).times(1)


@pytest.mark.parametrize(("duration_s", "expected"), [(0.05, [0.0, 0.02, 0.04, None]), (0.0, [None])])
def test_a_duration_ends_the_source_when_it_is_over(duration_s: float, expected: list[float | None]) -> None:
    """No job comes at its end or later, and the source ends then, not one interval later."""
    bench = Bench(duration_s=duration_s)

    assert expected == bench.times(len(expected))
    assert 1000.0 + duration_s == pytest.approx(bench.clock.now_s)


def test_a_duration_counts_the_time_in_a_full_queue() -> None:
    """A producer that was held beyond the end draws nothing more."""
    bench = Bench(duration_s=2.0)
    bench.next()
    bench.clock.advance(3.0)

    assert bench.next() is None


@pytest.mark.parametrize(
    ("limits", "is_endless"), [({}, True), ({"jobs": 5}, False), ({"duration_s": 1.0}, False)]
)
def test_a_source_without_limit_is_endless(limits: dict[str, Any], is_endless: bool) -> None:
    """To be stopped is the way an endless source ends, so it is not incomplete then."""
    assert is_endless is Bench(**limits).source.is_endless


@pytest.mark.parametrize(("interval_s", "expected"), [(0.5, 0.5), (7.0, 7.0), (0.0, 0.25)])
def test_a_change_takes_effect_while_the_source_waits(interval_s: float, expected: float) -> None:
    """A quarter of a second into an hour's wait the interval changes: the next job comes by the new one."""

    def change(source: SyntheticSource, _: Stop, clock: FakeClock) -> None:
        clock.advance(0.25)
        source.set_interval(interval_s)

    bench = Bench(HOURLY, meanwhile=change)

    assert [0.0, expected] == bench.times(2)


def test_a_change_can_be_taken_back() -> None:
    """None goes back to the profile, from the next job on."""
    bench = Bench()
    bench.source.set_interval(2.0)
    slow = bench.times(3)
    bench.source.set_interval(None)

    assert ([0.0, 2.0, 4.0], 4.02) == (slow, bench.next())


@pytest.mark.parametrize("interval_s", [-0.001, -math.inf, math.nan])
def test_an_interval_that_is_none_is_refused(interval_s: float) -> None:
    """Nothing comes before the one before it."""
    with pytest.raises(ValueError, match=f"interval_s is {interval_s}; it must be at least 0 seconds"):
        Bench().source.set_interval(interval_s)


def test_a_stop_ends_the_wait() -> None:
    """Whoever waits for the next job hears of the stop then, not when the job is due."""
    bench = Bench(HOURLY, meanwhile=lambda _, stop, __: stop.set())
    bench.next()

    with pytest.raises(SourceStopped):
        bench.next()
    assert 1000.0 == bench.clock.now_s


def waiting(source: SyntheticSource) -> Spawned[int]:
    """Draws two jobs of *source* on a thread of its own, which waits for the second when this returns."""
    drawing = Spawned(lambda: sum(1 for _ in itertools.islice(source, 2)))
    wait_until(lambda: source._bell.parked)
    return drawing


def test_a_change_wakes_a_real_thread() -> None:
    """The producer's thread sleeps for an hour, and draws when the interval is taken away."""
    source = SyntheticSource(HOURLY, Stop())
    drawing = waiting(source)
    source.set_interval(0.0)

    assert 2 == drawing.result()


def test_a_stop_wakes_a_real_thread() -> None:
    """The producer's thread sleeps for an hour, and ends when the run is stopped."""
    stop = Stop()
    drawing = waiting(SyntheticSource(HOURLY, stop))
    stop.set()

    with pytest.raises(SourceStopped):
        drawing.result()


def test_the_rate_is_that_of_now() -> None:
    """50 a second in the first phase, less in the second, what was set from outside before both."""
    bench = Bench()
    rates = [bench.source.rate_per_s]
    bench.next()
    bench.clock.advance(30.0)
    rates.append(bench.source.rate_per_s)
    bench.source.set_interval(0.25)
    rates.append(bench.source.rate_per_s)
    bench.source.set_interval(0.0)

    assert [50.0, 1 / 0.6, 4.0, None] == [*rates, bench.source.rate_per_s]


def test_a_source_that_waits_for_nothing_misses_no_rate() -> None:
    """`--time-scale 0` fills the queue at once; every event of such a run can be told."""
    sink = RecordingSink()
    source = SyntheticSource(SEED.scaled(0), Stop(), jobs=500)
    run(lambda _: None, source, queue_capacity=1, sinks=[sink])

    assert 500 == sum("✓" in line.text for event in sink.events for line in log_lines(event, Stats(), 0.0))
