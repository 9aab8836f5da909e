"""The races whose stories are told in `crew.py`: parking and waking, resizing, closing."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any

import pytest
from dynamic_pipeline import ResizableThreadPoolExecutor

from tests.doubles import PATIENCE_S, Gate, Spawned, race, wait_until, worker_threads

pytestmark = pytest.mark.usefixtures("switch_often")
ROUNDS = [4000, pytest.param(60_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
PREFIX = "raced"
_MEETING_S = 5.0  # two calls that run side by side meet within it


@pytest.fixture
def executor() -> Iterator[ResizableThreadPoolExecutor]:
    """With the limit 2."""
    with ResizableThreadPoolExecutor(2, PREFIX) as made:
        yield made


@pytest.mark.parametrize("rounds", ROUNDS)
def test_no_call_is_forgotten_by_workers_that_park(
    executor: ResizableThreadPoolExecutor, rounds: int
) -> None:
    """One call at a time: each finds the workers parked, about to park, or just awake."""
    for number in range(rounds):
        assert executor.submit(int, number).result(PATIENCE_S) == number


@pytest.mark.parametrize("rounds", ROUNDS)
def test_calls_of_many_submitters_all_run(executor: ResizableThreadPoolExecutor, rounds: int) -> None:
    """Four threads submit and wait, in bursts of different sizes."""
    executor.resize(3)

    def submit(seed: int) -> int:
        luck = random.Random(seed)
        total = 0
        while total < rounds // 2:
            futures = [executor.submit(int, number) for number in range(luck.choice((1, 1, 2, 7)))]
            assert [future.result(PATIENCE_S) for future in futures] == list(range(len(futures)))
            total += len(futures)
        return total

    for submitter in [Spawned(lambda seed=seed: submit(seed)) for seed in range(4)]:  # type: ignore[misc]
        assert submitter.result() >= rounds // 2


class _Meeting:
    """An executor with room for *limit*, and as many calls that wait for each other."""

    def __init__(self, limit: int = 2) -> None:
        self.executor = ResizableThreadPoolExecutor(limit, PREFIX)
        self.meet = threading.Barrier(limit)

    def submit(self) -> Any:
        return self.executor.submit(self.meet.wait, _MEETING_S)


def test_two_calls_run_side_by_side_whoever_submitted_them() -> None:
    """With room for both neither waits for the end of the other, whatever the workers were just doing."""

    def submit(meeting: _Meeting) -> None:
        meeting.submit().result(PATIENCE_S)

    def submit_and_close(meeting: _Meeting) -> None:
        meeting.submit().result(PATIENCE_S)
        meeting.executor.shutdown(wait=True)

    def make() -> _Meeting:
        meeting = _Meeting()
        meeting.executor.submit(int)
        return meeting

    race(200, make, submit, submit_and_close)


def test_a_pool_that_grows_gives_each_call_a_worker() -> None:
    """Three submit two calls each to a pool for six with one worker, just awake or about to park: all six meet."""

    class Growing(_Meeting):
        def __init__(self) -> None:
            super().__init__(6)
            self.executor.submit(int)

    def submit(growing: Growing) -> list[Any]:
        return [growing.submit(), growing.submit()]

    for growing, submitted in race(150, Growing, submit, submit, submit):
        futures = [future for pair in submitted for future in pair]
        assert sorted(future.result(PATIENCE_S) for future in futures) == list(range(6))
        growing.executor.shutdown()


@pytest.mark.parametrize("rounds", [500, pytest.param(10_000, marks=pytest.mark.soak)])
def test_threads_that_were_just_started_are_alive_and_can_be_joined(rounds: int) -> None:
    """A start does not wait for the thread, but nobody can tell: it is asked and joined before it has run."""
    for number in range(rounds):
        executor = ResizableThreadPoolExecutor(3, PREFIX)
        gate = threading.Event()
        futures = [executor.submit(gate.wait, PATIENCE_S) for _ in range(3)]
        threads = tuple(executor._threads)
        assert [thread.is_alive() for thread in threads] == [True] * 3
        gate.set()
        executor.shutdown(wait=number % 2 == 0)
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        assert all(future.result(0) for future in futures)


class _HookedParking(list[Any]):
    """Lets *count* submitters look at a parked worker, then the worker take itself off, then them go on."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.is_on = True
        self.is_parked = threading.Event()
        self._about_to_wake = threading.Semaphore(0)
        self._has_left = threading.Event()

    def append(self, bell: Any) -> None:
        super().append(bell)
        if self.is_on:
            self.is_parked.set()
            for _ in range(self._count):
                self._about_to_wake.acquire(timeout=PATIENCE_S)

    def remove(self, bell: Any) -> None:
        super().remove(bell)
        self.is_on = False
        self._has_left.set()

    def pop(self, *index: Any) -> Any:
        if self.is_on:
            self._about_to_wake.release()
            self._has_left.wait(PATIENCE_S)
        return super().pop(*index)


@pytest.mark.parametrize("count", [2, 3])
def test_a_worker_that_took_itself_off_helps_all_who_relied_on_it(count: int) -> None:
    """Submitters see it parked, it finds their calls by itself: each further call gets a thread as well.

    1. The worker parks. 2. A and B append their calls and see a parked worker. 3. It sees the calls and
    unparks itself. 4. A and B find nobody to wake. 5. It takes one call and starts a thread, which must do
    the same while calls are left: none may wait for the end of another.
    """
    with ResizableThreadPoolExecutor(count, PREFIX) as executor:
        executor._crew.parked = hooked = _HookedParking(count)
        executor.submit(int).result(PATIENCE_S)
        assert hooked.is_parked.wait(PATIENCE_S)
        meet = threading.Barrier(count)
        submitters = [
            Spawned(lambda: executor.submit(meet.wait, _MEETING_S).result(PATIENCE_S)) for _ in range(count)
        ]
        assert sorted(submitter.result() for submitter in submitters) == list(range(count))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_calls_survive_a_limit_that_jumps(executor: ResizableThreadPoolExecutor, rounds: int) -> None:
    """Two threads submit, two resize to anything from 1 to 6: every call runs, once."""
    count = rounds * 2
    ran: list[int] = []  # append is atomic
    is_over = threading.Event()

    def resize(seed: int) -> None:
        luck = random.Random(seed)
        while not is_over.is_set():
            executor.resize(luck.randint(1, 6))

    def submit(first: int) -> list[Future[None]]:
        return [executor.submit(ran.append, number) for number in range(first, first + count)]

    resizers = [Spawned(lambda seed=seed: resize(seed)) for seed in range(2)]  # type: ignore[misc]
    submitters = [Spawned(lambda first=first: submit(first)) for first in (0, count)]  # type: ignore[misc]
    for submitter in submitters:
        assert not wait(submitter.result(), PATIENCE_S * 3).not_done
    is_over.set()
    for resizer in resizers:
        resizer.result()
    assert sorted(ran) == list(range(2 * count))
    executor.resize(2)
    wait_until(lambda: len(worker_threads(PREFIX)) <= 2)


@pytest.mark.parametrize(
    "rounds", [150, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
)
def test_no_more_than_the_last_limit_run_and_all_of_it_is_used(
    executor: ResizableThreadPoolExecutor, rounds: int
) -> None:
    """After each jump, up or down, exactly the limit of calls comes in; nobody was forgotten while asleep."""
    luck = random.Random(1)
    for _ in range(rounds):
        limit = luck.randint(1, 5)
        executor.resize(limit)
        gate = Gate()
        futures = [executor.submit(gate) for _ in range(limit + 1)]
        gate.wait_arrivals(limit)
        gate.open()
        assert not wait(futures, PATIENCE_S).not_done
        assert gate.most_inside <= limit


class _Closing:
    """An executor that is shut down while calls come in, and what became of them."""

    def __init__(self) -> None:
        self.executor = ResizableThreadPoolExecutor(2, PREFIX)
        self.ran: list[int] = []  # append is atomic
        self.taken: list[Future[None]] = []

    def submit(self) -> None:
        with suppress(RuntimeError):
            for number in range(20):
                self.taken.append(self.executor.submit(self.ran.append, number))

    def finish(self) -> None:
        self.executor.shutdown(wait=True)

    def cancel(self) -> None:
        self.executor.shutdown(wait=True, cancel_futures=True)


@pytest.mark.parametrize(
    "rounds", [8000, pytest.param(30_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
)
@pytest.mark.parametrize("shut_down", [_Closing.finish, _Closing.cancel])
def test_a_call_submitted_during_a_shutdown_is_refused_or_ends(
    rounds: int, shut_down: Callable[[_Closing], None]
) -> None:
    """No call is taken in and then forgotten, or refused and then run; only `cancel_futures` cancels."""
    for closing, _ in race(rounds, _Closing, _Closing.submit, shut_down):
        # The stdlib's `wait` does not count what was cancelled and never seen by a worker.
        assert not wait([f for f in closing.taken if not f.cancelled()], PATIENCE_S).not_done
        cancelled = sum(future.cancelled() for future in closing.taken)
        assert len(closing.ran) == len(closing.taken) - cancelled
        assert shut_down is _Closing.cancel or cancelled == 0


@pytest.mark.parametrize(
    "rounds", [300, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
)
def test_a_call_is_cancelled_or_run_while_workers_take_calls(rounds: int) -> None:
    """`cancel` races with the worker that takes the call: its word is kept."""
    ran: set[int] = set()
    with ResizableThreadPoolExecutor(1, PREFIX) as pool:
        for number in range(rounds * 3):
            future = pool.submit(ran.add, number)
            if future.cancel():
                assert future.cancelled()
            else:
                future.result(PATIENCE_S)
                assert number in ran
        cancelled = pool.submit(len, ran).result(PATIENCE_S)
    assert cancelled <= rounds * 3


def test_a_forgotten_executor_lets_its_workers_go_whatever_they_do() -> None:
    """The last reference goes while workers are about to park: none of them sleeps on."""
    for number in range(200):
        executor = ResizableThreadPoolExecutor(2, PREFIX)
        futures = [executor.submit(int), executor.submit(int)]
        if number % 2:
            wait(futures, PATIENCE_S)
        del executor, futures
    for thread in worker_threads(PREFIX):
        thread.join(PATIENCE_S)
    assert worker_threads(PREFIX) == []
