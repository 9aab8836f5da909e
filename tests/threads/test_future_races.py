"""The races whose stories are told in `lean_future.py`, run with real threads."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, as_completed, wait
from contextlib import suppress
from typing import Any

import pytest
from dynamic_pipeline.lean_future import LeanFuture

from tests.doubles import PATIENCE_S, race

pytestmark = pytest.mark.usefixtures("switch_often")
ROUNDS = [8000, pytest.param(60_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
ERROR = ValueError("no")


def work(future: LeanFuture) -> bool:
    """What a worker does with a call that succeeds; False if the call was cancelled."""
    ran: list[int] = []

    def call(value: int) -> int:
        ran.append(value)
        return value

    future.run(call, (7,), {})
    return bool(ran)


def fail(future: LeanFuture) -> bool:
    """The same for a call that fails."""
    ran: list[bool] = []

    def call(*, value: bool) -> None:
        ran.append(value)
        raise ERROR

    future.run(call, (), {"value": True})
    return bool(ran)


def ask_result(future: LeanFuture) -> Any:
    try:
        return future.result(PATIENCE_S)
    except (CancelledError, ValueError) as error:
        return error


def ask_exception(future: LeanFuture) -> Any:
    return future.exception(PATIENCE_S)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_every_waiter_gets_the_result(rounds: int) -> None:
    """Whoever waits while the worker begins and finishes is woken."""
    for _, (ran, first, second) in race(rounds, LeanFuture, work, ask_result, ask_result):
        assert (ran, first, second) == (True, 7, 7)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_every_waiter_gets_the_error(rounds: int) -> None:
    """The same for a call that fails."""
    for future, (ran, first, second) in race(rounds, LeanFuture, fail, ask_result, ask_exception):
        assert (ran, first, second) == (True, ERROR, ERROR)
        assert future.done()


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_call_is_run_or_cancelled_but_never_both(rounds: int) -> None:
    """`cancel` says True if and only if the worker does not run it, and the state agrees."""
    cancelled = 0
    for future, (ran, was_cancelled) in race(rounds, LeanFuture, work, LeanFuture.cancel):
        assert ran is not was_cancelled
        assert future.cancelled() is was_cancelled
        assert future.done()
        assert not future.running()
        if not was_cancelled:
            assert future.result(0) == 7
        cancelled += was_cancelled
    assert 0 < cancelled < rounds, "the race never went both ways"


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_cancelled_calls_waiter_is_woken(rounds: int) -> None:
    """Three at once: the worker, one who cancels, one who waits."""
    for _, (ran, was_cancelled, result) in race(rounds, LeanFuture, work, LeanFuture.cancel, ask_result):
        assert ran is not was_cancelled
        assert isinstance(result, CancelledError) if was_cancelled else result == 7


def ask_twice(future: LeanFuture) -> Any:
    """With hardly any patience at first."""
    with suppress(TimeoutError, CancelledError):
        return future.result(1e-6)
    return ask_result(future)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_waiter_that_gives_up_can_ask_again(rounds: int) -> None:
    """A wait that times out just as the call ends, or is cancelled, leaves nothing behind that a later one misses."""
    sides = (work, LeanFuture.cancel, ask_twice, ask_twice)
    for _, (ran, was_cancelled, first, second) in race(rounds, LeanFuture, *sides):
        assert ran is not was_cancelled
        for result in (first, second):
            assert isinstance(result, CancelledError) if was_cancelled else result == 7


class _Heard(LeanFuture):
    """Remembers who was called back, and what the future looked like then."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[str, bool]] = []

    def add(self, name: str) -> None:
        self.add_done_callback(lambda future: self.called.append((name, future.done())))

    def add_quickly(self, name: str) -> None:
        # Without asking the future for its state, so that the condition is not made.
        self.add_done_callback(lambda _: self.called.append((name, True)))


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("worker", [work, fail])
def test_each_callback_is_called_once(rounds: int, worker: Any) -> None:
    """Callbacks that are added while the call ends are neither lost nor called twice, and see it done."""
    sides = (worker, lambda future: future.add("a"), lambda future: future.add_quickly("b"))
    for future, _ in race(rounds, _Heard, *sides):
        assert sorted(future.called) == [("a", True), ("b", True)]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_two_who_call_back_share_the_callbacks(rounds: int) -> None:
    """The worker and one who adds a callback late go through the same list: each entry is called once."""

    def with_many() -> _Heard:
        future = _Heard()
        for name in "abcdef":
            future.add_quickly(name)
        return future

    def add_late(future: _Heard) -> None:
        future.add_quickly("y")
        future.add_quickly("z")

    for future, _ in race(rounds, with_many, work, add_late):
        assert sorted(name for name, _ in future.called) == list("abcdefyz")


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_callback_of_the_orchestrator_is_called_once(rounds: int) -> None:
    """The hot path: one who submits adds one callback while the worker ends the call; no condition is made."""
    for future, _ in race(rounds, _Heard, work, lambda future: future.add_quickly("a")):
        assert future.called == [("a", True)]
        assert future.result(0) == 7


@pytest.mark.parametrize("rounds", ROUNDS)
def test_callbacks_of_a_cancelled_call_are_called_once(rounds: int) -> None:
    """Worker, canceller and one who adds: exactly one call back, whoever won."""
    sides = (work, LeanFuture.cancel, lambda future: future.add("a"))
    for future, _ in race(rounds, _Heard, *sides):
        assert future.called == [("a", True)]


def ask_wait(future: LeanFuture) -> Any:
    return len(wait([future], PATIENCE_S, return_when=FIRST_COMPLETED).done)


def ask_as_completed(future: LeanFuture) -> Any:
    futures: list[Future[Any]] = [future]
    return next(iter(as_completed(futures, PATIENCE_S)))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_the_stdlibs_waiters_are_woken(rounds: int) -> None:
    """`wait` and `as_completed` put themselves on the future while the worker ends the call."""
    for future, (_, count, found) in race(rounds, LeanFuture, work, ask_wait, ask_as_completed):
        assert count == 1
        assert found is future


def ask_state(future: LeanFuture) -> Any:
    """States as they are seen one after the other; none may go back."""
    order = {(False, False): 0, (True, False): 1, (False, True): 2}
    seen = []
    for _ in range(4):
        running = future.running()
        done = future.done()
        seen.append(2 if done else order[running, done])
    return seen


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_state_that_was_seen_is_never_taken_back(rounds: int) -> None:
    """Pending, running, finished: two who look at the same time see them in this order, and the end sticks."""
    for future, (_, first, second) in race(rounds, LeanFuture, work, ask_state, ask_state):
        assert first == sorted(first)
        assert second == sorted(second)
        assert future.done()
        assert future.result(0) == 7


def test_all_at_once() -> None:
    """Worker, waiter, canceller, one who looks and one who adds a callback on the same future."""
    sides = (work, ask_result, LeanFuture.cancel, ask_state, lambda future: future.add("a"))
    for future, (ran, result, was_cancelled, *_) in race(5000, _Heard, *sides):
        assert ran is not was_cancelled
        assert isinstance(result, CancelledError) if was_cancelled else result == 7
        assert future.called == [("a", True)]


def test_a_future_never_touched_by_a_waiter_makes_no_condition() -> None:
    """The reason for all this: submit, run, call back, result, and no lock was made."""
    future = LeanFuture()
    called: list[Future[Any]] = []
    future.add_done_callback(called.append)
    made: list[object] = []
    real, threading.Condition = threading.Condition, lambda *args: made.append(args)  # type: ignore[misc,assignment]
    try:
        assert work(future)
        assert future.result() == 7
        assert future.exception() is None
    finally:
        threading.Condition = real  # type: ignore[misc]
    assert called == [future]
    assert made == []
