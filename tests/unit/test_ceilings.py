"""Ceilings: what they measure, what they lower, and that they lower only."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from dynamic_pipeline.attempts import Failed
from dynamic_pipeline.ceilings import Ceiling, Efficiency, GuardedScaling, Overload, OverloadErrors
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.scaling import Decision, FixedScaling, Load, ThresholdScaling
from hypothesis import given
from hypothesis import strategies as st


class Service:
    """Work whose throughput has a ceiling of its own: *speed* gives jobs per second by workers. There is always more to do."""

    def __init__(self, policy: GuardedScaling, speeds: dict[int, float], default: float = 0.0) -> None:
        self._policy, self._speeds, self._default = policy, speeds, default
        self.limit, self.now_s, self.ended, self.overloads = policy.start(), 0.0, 0.0, 0
        self.limits = [self.limit]
        self.reasons: list[str] = []

    def look(self, times: int = 1, *, queued: int = 100) -> None:
        for _ in range(times):
            self.now_s += 1
            self.ended += self._speeds.get(self.limit, self._default)
            seen = Load(
                queued,
                min(self.limit, queued),
                0,
                self.limit,
                now_s=self.now_s,
                ended=int(self.ended),
                overloads=self.overloads,
            )
            decision = self._policy.decide(seen)
            self.limit = decision.limit
            self.limits.append(decision.limit)
            self.reasons.append(decision.reason)


def guarded(**others: float) -> GuardedScaling:
    return GuardedScaling(FixedScaling(8), [Efficiency(2, 8, **others)])  # type: ignore[arg-type]


def test_what_gains_nothing_goes_back_to_the_smaller_size() -> None:
    """Two workers do ten a second, and so do four: 40 jobs at each size, after which two are the ceiling for a minute."""
    service = Service(guarded(), {}, default=10.0)
    service.limit = 2
    service.look(80)

    # A look to know the size, four seconds to measure it.
    assert [2] * 4 + [4] * 5 + [2] * 60 == service.limits[1:70]
    assert "efficiency: from 2 to 4 workers gained 0.00 of the ideal" == service.reasons[9]
    assert "measuring what 2 workers do" == service.reasons[0]
    assert 4 in service.limits[70:]


def test_what_gains_grows_to_the_top() -> None:
    """Twice the workers do twice as much: past each size once it was measured, and then no ceiling is left."""
    service = Service(guarded(), {size: 10.0 * size for size in range(1, 9)})
    service.limit = 2
    service.look(20)

    assert [2, 4, 8] == list(dict.fromkeys(service.limits[1:]))
    assert [8] * 10 == service.limits[-10:]
    assert "fixed" == service.reasons[-1]


def test_the_gain_is_compared_with_its_ideal() -> None:
    """From two to four workers a quarter more is a gain of 0.25, and enough."""
    enough = Service(guarded(min_gain=0.25), {2: 40.0, 4: 50.0}, default=100.0)
    short = Service(guarded(min_gain=0.26), {2: 40.0, 4: 50.0}, default=100.0)
    for service in (enough, short):
        service.limit = 2
        service.look(10)

    assert (8, 2) == (enough.limit, short.limit)


def test_a_size_that_gained_nothing_is_left_alone_twice_as_long_each_time() -> None:
    """Up to ten minutes."""
    service = Service(guarded(ttl_s=100.0), {}, default=40.0)
    service.limit = 2
    service.look(3000)
    tried = [
        at
        for at, (one, other) in enumerate(zip(service.limits, service.limits[1:], strict=False))
        if one < other
    ]
    waits = [later - earlier for earlier, later in pairwise(tried)]

    assert all(
        abs(wait - expected) < 8 for wait, expected in zip(waits, (100, 200, 400, 600, 600), strict=False)
    )
    assert len(waits) >= 4


def test_a_ceiling_above_the_least_is_tried_again_too() -> None:
    """Four do twice as much as two, eight no more: after a minute eight are tried again, and now they do."""
    speeds = {2: 20.0, 4: 40.0, 8: 40.0}
    service = Service(guarded(), speeds)
    service.limit = 2
    service.look(60)
    before = service.limit
    speeds[8] = 80.0
    service.look(60)

    assert (4, 8) == (before, service.limit)


def test_a_guard_that_begins_above_the_least_measures_from_there() -> None:
    """As after a change of the bounds: it is not stuck at a size that it never sees."""
    service = Service(guarded(), {4: 40.0, 8: 80.0})
    service.limit = 4
    service.look(10)

    assert 8 == service.limit


def test_the_step_to_a_maximum_that_is_no_doubling_is_judged_by_the_size_before() -> None:
    """Seven after four, which had gained: back to four and not to two. Nine after eight cannot be told from noise."""
    seven = Service(GuardedScaling(FixedScaling(7), [Efficiency(2, 7)]), {2: 20.0, 4: 30.0, 7: 31.0})
    nine = Service(GuardedScaling(FixedScaling(9), [Efficiency(2, 9)]), {2: 20.0, 4: 40.0, 8: 80.0, 9: 80.0})
    for service in (seven, nine):
        service.limit = 2
        service.look(14)

    assert (4, 9) == (seven.limit, nine.limit)


def test_it_does_not_measure_what_is_idle() -> None:
    """With fewer jobs than workers nothing can be learned, and nothing is held."""
    service = Service(GuardedScaling(ThresholdScaling(2, 8), [Efficiency(2, 8)]), {}, default=100.0)
    service.look(20, queued=1)

    assert {2} == set(service.limits)


def test_overload_cuts_at_once_and_recovers_slowly() -> None:
    """At most once per look, to seven tenths; then one worker each ten seconds without."""
    service = Service(GuardedScaling(FixedScaling(8), [Overload(2, 8)]), {})
    service.look(3)
    service.overloads += 5
    service.look(1)
    service.overloads += 1
    service.look(1)
    service.look(50)

    assert [8, 8, 8, 8, 5, 3] == service.limits[:6]
    rises = [
        at
        for at, (one, other) in enumerate(zip(service.limits, service.limits[1:], strict=False), 1)
        if one < other
    ]
    assert [15, 25, 35, 45, 55] == rises
    assert [4, 5, 6, 7, 8] == [service.limits[at] for at in rises]
    assert "overload: 6 such failures, 3 workers at the most" == service.reasons[5]


def test_overload_leaves_the_least() -> None:
    """However often it happens."""
    service = Service(GuardedScaling(FixedScaling(8), [Overload(2, 8)]), {})
    for _ in range(20):
        service.overloads += 1
        service.look()

    assert 2 == service.limit


class _To:
    """A guard with one ceiling."""

    def __init__(self, most: float, reason: str) -> None:
        self._ceiling = Ceiling(most, reason)
        self.looks = 0

    def look(self, load: Load) -> Ceiling:
        self.looks += 1
        return self._ceiling


@given(st.integers(1, 20), st.lists(st.integers(1, 20), max_size=3))
def test_the_least_of_all_binds_and_gives_the_reason(wanted: int, ceilings: list[int]) -> None:
    """And every guard looks at every load, whether it binds or not."""
    guards = [_To(most, f"to {most}") for most in ceilings]
    decision = GuardedScaling(FixedScaling(wanted), guards).decide(Load(0, 0, 0, 1))
    least = min([wanted, *ceilings])

    assert Decision(least, "fixed" if least == wanted else f"to {least}") == decision
    assert [1] * len(guards) == [guard.looks for guard in guards]


SPOOL: Any = None  # nobody looks at outputs


def command(code: int, *, is_timeout: bool = False) -> Failed:
    report = CommandReport(SPOOL, SPOOL, 1, 0.0, code, is_timeout)
    return Failed("timeout after 1 s" if is_timeout else f"exit {code}", 0.1, "worker-01", value=report)


@pytest.mark.parametrize(
    ("failed", "is_overload"),
    [
        (Failed("ConnectionError: x", 0.1, ""), True),
        (Failed("ConnectionResetError: x", 0.1, ""), True),  # one of Python's own kinds of it
        (Failed("ConnectionErrors: x", 0.1, ""), False),
        (Failed("Busy", 0.1, ""), True),
        (command(75), True),
        (command(70), True),
        (command(1), False),
        (command(-9, is_timeout=True), True),
        (Failed("timeout after 1 s; it runs on", 0.1, ""), True),  # a call
    ],
)
def test_which_failures_mean_overload(failed: Failed, is_overload: bool) -> None:
    """Names of exceptions, with what Python derives from them; exit codes; time limits of commands."""
    errors = OverloadErrors.parse("ConnectionError, TimeoutError,Busy,70-71,75")

    assert is_overload == errors(failed)
    assert not OverloadErrors()(failed)


@pytest.mark.parametrize("text", ["", "a b", "0", "256", "Timeout Error,75", "7 5"])
def test_what_is_neither_a_name_nor_a_code_is_refused(text: str) -> None:
    """With what it should be."""
    with pytest.raises(ValueError, match="it must be"):
        OverloadErrors.parse(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Efficiency(2, 8, min_gain=0.0),
        lambda: Efficiency(2, 8, min_samples=0),
        lambda: Efficiency(2, 8, ttl_s=0.0),
        lambda: Overload(2, 8, factor=1.0),
        lambda: Overload(2, 8, recover_s=0.0),
    ],
)
def test_values_out_of_bounds_are_refused(make: object) -> None:
    """They name themselves."""
    with pytest.raises(ValueError, match="must be"):
        make()  # type: ignore[operator]
