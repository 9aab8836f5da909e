"""What every engine promises, and the hand-cranked double of the other tests with it.

The stdlib's own pool passes all that is not about `resize`: so the contract is the stdlib's.
"""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures.thread import BrokenThreadPool
from functools import partial
from typing import Any

import pytest
from dynamic_pipeline import ResizableThreadPoolExecutor

from tests.doubles import (
    PATIENCE_S,
    Call,
    Gate,
    ManualExecutor,
    Spawned,
    wait_until,
    wait_until_waiting,
    worker_threads,
)

PREFIX = "contract"


class Held:
    """A call that runs until the test ends it."""

    def __init__(self, engine: Engine, outcome: Any) -> None:
        self._engine = engine
        self._outcome = outcome
        self._started = threading.Event()
        self._go = threading.Event()
        self.future = engine.executor.submit(self._run)

    def _run(self) -> Any:
        self._started.set()
        if self._engine.has_threads:
            self._go.wait(3 * PATIENCE_S)  # longer than anybody waits for what it must not let happen
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def wait_started(self) -> None:
        if self._engine.has_threads:
            assert self._started.wait(PATIENCE_S), "it was never started"
        else:
            assert self.future.running()

    def end(self) -> None:
        self._go.set()
        if self._engine.has_threads:
            wait([self.future], PATIENCE_S)
            return
        executor = self._engine.executor
        assert isinstance(executor, ManualExecutor)
        (call,) = (call for call in executor.running if call.future is self.future)
        executor.finish(call)


class Engine:
    """An executor under test, and the way to let its calls run."""

    def __init__(self, make: Callable[[int], Executor], limit: int = 2) -> None:
        self.executor = make(limit)
        self.has_threads = not isinstance(self.executor, ManualExecutor)
        self._held: list[Held] = []

    def hold(self, outcome: Any = None) -> Held:
        held = Held(self, outcome)
        self._held.append(held)
        return held

    def resize(self, limit: int) -> None:
        self.executor.resize(limit)  # type: ignore[attr-defined]  # only engines that have it are asked

    def settle(self) -> None:
        """Let all that has been submitted come to its end."""
        if isinstance(self.executor, ManualExecutor):
            while self.executor.running:
                self.executor.finish()

    def close(self) -> None:
        for held in self._held:
            held._go.set()
        self.executor.shutdown(wait=True, cancel_futures=True)


def ours(limit: int) -> Executor:
    return ResizableThreadPoolExecutor(limit, PREFIX)


def stdlib(limit: int) -> Executor:
    return ThreadPoolExecutor(limit, PREFIX)


ALL: dict[str, Callable[[int], Executor]] = {"ours": ours, "stdlib": stdlib, "manual": ManualExecutor}


@pytest.fixture(params=ALL)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Every engine."""
    made = Engine(ALL[request.param])
    yield made
    made.close()


@pytest.fixture(params=["ours", "manual"])
def resizable(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Engines with `resize`."""
    made = Engine(ALL[request.param])
    yield made
    made.close()


@pytest.fixture(params=["ours", "stdlib"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Engines with threads."""
    made = ALL[request.param](2)
    yield made
    made.shutdown(wait=True, cancel_futures=True)


@pytest.fixture
def executor() -> Iterator[ResizableThreadPoolExecutor]:
    """Ours, with the limit 2."""
    with ResizableThreadPoolExecutor(2, PREFIX) as made:
        yield made


# ── calls and their futures ─────────────────────────────────────────────────────────────────────────


def test_a_future_brings_what_the_call_returned(engine: Engine) -> None:
    """Positional and keyword arguments reach the call; its value comes back."""
    future = engine.executor.submit(divmod, 17, 5)
    other = engine.executor.submit(int, "ff", base=16)
    engine.settle()
    assert future.result(PATIENCE_S) == (3, 2)
    assert other.result(PATIENCE_S) == 255
    assert future.done()
    assert not future.cancelled()
    assert future.exception(PATIENCE_S) is None


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_a_call_raises_is_its_futures_exception(engine: Engine, error: BaseException) -> None:
    """An exception of any class; the engine goes on."""

    def fail() -> None:
        raise error

    future = engine.executor.submit(fail)
    after = engine.executor.submit(int, "7")
    engine.settle()
    assert future.exception(PATIENCE_S) is error
    with pytest.raises(type(error)):
        future.result(PATIENCE_S)
    assert after.result(PATIENCE_S) == 7


def test_a_waiting_call_can_be_cancelled(engine: Engine) -> None:
    """It never runs, its future says so, and its place is not lost."""
    ran: list[str] = []
    held = [engine.hold(), engine.hold()]
    waiting = engine.executor.submit(ran.append, "cancelled")
    after = engine.executor.submit(ran.append, "after")
    assert waiting.cancel()
    assert waiting.cancel()
    assert waiting.cancelled()
    for call in held:
        call.wait_started()
        call.end()
    engine.settle()
    after.result(PATIENCE_S)
    assert ran == ["after"]
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE_S)


def test_a_running_call_cannot_be_cancelled(engine: Engine) -> None:
    """`cancel` says False and changes nothing."""
    held = engine.hold("done")
    held.wait_started()
    assert held.future.running()
    assert not held.future.cancel()
    held.end()
    assert held.future.result(PATIENCE_S) == "done"
    assert not held.future.cancel()
    assert not held.future.running()


def test_a_result_that_takes_too_long_is_a_timeout(engine: Engine) -> None:
    """`result` and `exception` give up after their timeout, and can be asked again."""
    held = engine.hold("done")
    held.wait_started()
    with pytest.raises(TimeoutError):
        held.future.result(0.001)
    with pytest.raises(TimeoutError):
        held.future.exception(0)
    held.end()
    assert held.future.result(PATIENCE_S) == "done"


@pytest.mark.parametrize("outcome", ["done", ValueError("no")])
def test_callbacks_are_called_once_each_in_order(engine: Engine, outcome: Any) -> None:
    """Those that were added while it ran, in their order, and one that comes after the end, at once."""
    called: list[tuple[str, bool]] = []
    ended = threading.Event()

    def callback(name: str, future: Future[Any]) -> None:
        called.append((name, future.done()))

    held = engine.hold(outcome)
    held.wait_started()
    for name in ("first", "second", "third"):
        held.future.add_done_callback(partial(callback, name))
    held.future.add_done_callback(lambda _: ended.set())
    held.end()
    assert ended.wait(PATIENCE_S)
    held.future.add_done_callback(partial(callback, "late"))
    assert called == [("first", True), ("second", True), ("third", True), ("late", True)]


def test_a_cancelled_call_calls_back(engine: Engine) -> None:
    """On the thread that cancels, before `cancel` returns."""
    held = [engine.hold(), engine.hold()]
    waiting = engine.executor.submit(int)
    called: list[Future[Any]] = []
    waiting.add_done_callback(called.append)
    assert called == []
    waiting.cancel()
    assert called == [waiting]
    for call in held:
        call.wait_started()
        call.end()
    engine.settle()
    assert called == [waiting]


def test_a_callback_that_raises_is_logged_and_stops_nothing(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The other callbacks and the engine go on."""

    def fail(future: Future[Any]) -> None:
        raise ValueError("callback")

    ended = threading.Event()
    held = engine.hold()
    held.wait_started()
    held.future.add_done_callback(fail)
    held.future.add_done_callback(lambda _: ended.set())
    with caplog.at_level(logging.ERROR, logger="concurrent.futures"):
        held.end()
        assert ended.wait(PATIENCE_S)
        held.future.add_done_callback(fail)
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    again = engine.executor.submit(int)
    engine.settle()
    assert again.result(PATIENCE_S) == 0


def test_wait_and_as_completed_know_the_futures(engine: Engine) -> None:
    """The stdlib's own waiters work on running, waiting, finished, failed and cancelled futures."""
    held = [engine.hold("a"), engine.hold("b")]
    for call in held:
        call.wait_started()
    third = engine.executor.submit(int)
    gone = engine.executor.submit(int)
    gone.cancel()
    futures = {held[0].future, held[1].future, third, gone}
    done, not_done = wait(futures, 0.001)
    # A cancelled future counts as done when a worker has seen it, in the stdlib as here.
    assert held[0].future in not_done
    held[0].end()
    done, _ = wait({held[0].future, held[1].future}, PATIENCE_S, return_when="FIRST_COMPLETED")
    assert done == {held[0].future}
    held[1].end()
    engine.settle()
    done, not_done = wait(futures, PATIENCE_S)
    assert done == futures
    assert set(as_completed(futures, PATIENCE_S)) == futures


def test_map_keeps_the_order(engine: Engine) -> None:
    """Results in the order of the arguments, whatever ended first."""
    results = engine.executor.map(str, range(20))
    engine.settle()
    assert list(results) == [str(number) for number in range(20)]


# ── the limit ───────────────────────────────────────────────────────────────────────────────────────


def test_no_more_calls_run_than_the_limit(engine: Engine) -> None:
    """The third waits until one of the first two has ended."""
    held = [engine.hold() for _ in range(3)]
    held[0].wait_started()
    held[1].wait_started()
    assert not held[2].future.running()
    held[0].end()
    held[2].wait_started()


def test_resize_up_starts_waiting_calls_at_once(resizable: Engine) -> None:
    """Not when the next call is submitted, nor when one ends."""
    held = [resizable.hold() for _ in range(4)]
    held[0].wait_started()
    held[1].wait_started()
    resizable.resize(4)
    held[2].wait_started()
    held[3].wait_started()


def test_resize_down_lets_running_calls_finish(resizable: Engine) -> None:
    """None is interrupted, and while too many run the next one waits."""
    resizable.resize(3)
    held = [resizable.hold(number) for number in range(5)]
    for call in held[:3]:
        call.wait_started()
    resizable.resize(1)
    for number in (0, 1):
        held[number].end()
        assert held[number].future.result(PATIENCE_S) == number
        assert not held[3].future.running()
    held[2].end()
    held[3].wait_started()
    assert not held[4].future.running()
    held[3].end()
    held[4].wait_started()


def test_resize_is_absolute_and_idempotent(resizable: Engine) -> None:
    """The same number twice is that number, not twice as many."""
    for limit in (3, 3, 1, 1, 2, 2):
        resizable.resize(limit)
    held = [resizable.hold() for _ in range(3)]
    held[0].wait_started()
    held[1].wait_started()
    assert not held[2].future.running()


def test_shrink_to_one_and_grow_again(resizable: Engine) -> None:
    """The way up is as open as it was before."""
    for _ in range(3):
        resizable.resize(4)
        held = [resizable.hold(number) for number in range(4)]
        for call in held:
            call.wait_started()
        resizable.resize(1)
        for call in held:
            call.end()
        one, other = resizable.hold(), resizable.hold()
        one.wait_started()
        assert not other.future.running()
        one.end()
        other.wait_started()
        other.end()


def test_a_negative_limit_is_refused(resizable: Engine) -> None:
    """And nothing has changed."""
    with pytest.raises(ValueError, match="must not be negative"):
        resizable.resize(-1)
    resizable.hold().wait_started()


def test_resize_to_nothing_is_a_pause(resizable: Engine) -> None:
    """What runs ends, what waits does not begin, until there is a limit again."""
    held = [resizable.hold(number) for number in range(5)]
    held[1].wait_started()
    resizable.resize(0)
    for number in (0, 1):
        held[number].end()
        assert held[number].future.result(PATIENCE_S) == number
    later = resizable.hold()
    assert not any(call.future.running() for call in (*held[2:], later))
    resizable.resize(3)
    for call in held[2:]:
        call.wait_started()
    assert not later.future.running()


def test_shutdown_ends_a_pause(resizable: Engine) -> None:
    """What was accepted is run, as ever; or cancelled, where that is asked for."""
    resizable.resize(0)
    future = resizable.executor.submit(str, 7)
    resizable.executor.shutdown(wait=True)
    assert future.result(PATIENCE_S) == "7"


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────


def test_submit_after_shutdown_is_refused(engine: Engine) -> None:
    """With a `RuntimeError`, as by the stdlib."""
    engine.executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        engine.executor.submit(int)


def test_shutdown_finishes_what_was_submitted(engine: Engine) -> None:
    """Calls that wait are run, also when nobody waits for the shutdown; twice changes nothing."""
    futures = [engine.executor.submit(str, number) for number in range(20)]
    engine.executor.shutdown(wait=False)
    engine.executor.shutdown(wait=True)
    assert [future.result(0) for future in futures] == [str(number) for number in range(20)]


def test_shutdown_can_cancel_what_waits(engine: Engine) -> None:
    """Running calls end as they would; waiting ones never start."""
    held = [engine.hold("done"), engine.hold("done")]
    for call in held:
        call.wait_started()
    waiting = [engine.executor.submit(int) for _ in range(5)]
    engine.executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    for call in held:
        call.end()
        assert call.future.result(PATIENCE_S) == "done"


def test_the_with_statement_waits(pool: Executor) -> None:
    """At the end of the block all calls have ended."""
    gate = Gate()

    def open_late() -> None:
        gate.wait_arrivals(2)
        gate.open()

    opener = Spawned(open_late)
    with pool:
        futures = [pool.submit(gate, number) for number in range(6)]
    assert [future.result(0) for future in futures] == list(range(6))
    opener.result()


def test_shutdown_waits_for_the_threads(pool: Executor) -> None:
    """When it returns no thread of the pool is alive."""
    list(pool.map(int, range(10)))
    assert worker_threads(PREFIX)
    pool.shutdown(wait=True)
    assert worker_threads(PREFIX) == []


def test_shutdown_waits_for_threads_that_a_late_resize_starts() -> None:
    """Calls that still wait get them; when it returns they have ended too."""
    pool, first, others = ResizableThreadPoolExecutor(1, PREFIX), Gate(), Gate()
    pool.submit(first)
    futures = [pool.submit(others, number) for number in range(2)]
    first.wait_arrivals(1)
    (worker,) = worker_threads(PREFIX)
    closing = Spawned(lambda: pool.shutdown(wait=True))
    wait_until_waiting(closing.thread, "join")
    pool.resize(3)
    others.wait_arrivals(2)
    first.open()
    wait_until(lambda: not worker.is_alive())
    wait_until_waiting(closing.thread, "join")
    others.open()
    closing.result()
    assert all(future.done() for future in futures)
    assert worker_threads(PREFIX) == []


def test_the_threads_of_a_forgotten_executor_end() -> None:
    """Nobody called `shutdown`: what was submitted is run, then the threads leave by themselves."""
    for make in (ours, stdlib):
        forgotten = make(2)
        gate = Gate()
        futures = [forgotten.submit(gate, number) for number in range(4)]
        gate.wait_arrivals(2)
        gone = weakref.ref(forgotten)
        del forgotten
        gc.collect()
        assert gone() is None
        gate.open()
        assert [future.result(PATIENCE_S) for future in futures] == [0, 1, 2, 3]
        for thread in worker_threads(PREFIX):
            thread.join(PATIENCE_S)
        assert worker_threads(PREFIX) == []


def test_an_idle_worker_keeps_no_call_alive(pool: Executor) -> None:
    """Function, arguments and result are let go when the call has ended and its future is forgotten."""

    class Big:
        def __call__(self, other: Big) -> Big:
            return Big()

    fn, argument = Big(), Big()
    future = pool.submit(fn, argument)
    result = future.result(PATIENCE_S)
    references = [weakref.ref(fn), weakref.ref(argument), weakref.ref(result)]
    del fn, argument, result, future
    wait_until(lambda: (gc.collect(), all(reference() is None for reference in references))[1])


# ── initializers and names ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [ResizableThreadPoolExecutor, ThreadPoolExecutor])
def test_an_initializer_runs_once_in_each_thread(make: Any) -> None:
    """With its arguments, before the first call of that thread."""
    local = threading.local()
    calls: list[str] = []

    def initialize(text: str) -> None:
        local.text = text
        calls.append(text)

    with make(2, PREFIX, initialize, ("hello",)) as executor:
        assert [executor.submit(lambda: local.text).result(PATIENCE_S) for _ in range(10)] == ["hello"] * 10
    assert 1 <= len(calls) <= 2


@pytest.mark.parametrize("make", [ResizableThreadPoolExecutor, ThreadPoolExecutor])
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_an_initializer_that_fails_breaks_the_pool(
    make: Any, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits gets `BrokenThreadPool`, so does who submits, and the reason is logged."""

    def fail() -> None:
        raise error

    with caplog.at_level(logging.CRITICAL, logger="concurrent.futures"):
        executor = make(1, PREFIX, fail)
        future = executor.submit(int)
        with pytest.raises(BrokenThreadPool):
            future.result(PATIENCE_S)
        wait_until(lambda: executor._broken)
        with pytest.raises(BrokenThreadPool, match="initializer failed"):
            executor.submit(int)
        executor.shutdown()
    assert "Exception in initializer" in caplog.text


@pytest.mark.parametrize("make", [ResizableThreadPoolExecutor, ThreadPoolExecutor])
def test_wrong_arguments_are_refused(make: Any) -> None:
    """As the stdlib refuses them."""
    for limit in (0, -1):
        with pytest.raises(ValueError, match="max_workers must be greater than 0"):
            make(limit)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        make(1, initializer=1)


def test_the_default_limit_is_the_stdlibs() -> None:
    """min(32, CPUs + 4)."""
    with ResizableThreadPoolExecutor() as executor, ThreadPoolExecutor() as other:
        assert executor._max_workers == other._max_workers


def test_names_are_unique_and_never_used_again(executor: ResizableThreadPoolExecutor) -> None:
    """A worker that starts after a shrink gets a number that no worker had before."""
    seen: list[str] = []

    def who(gate: Gate) -> str:
        gate()
        return threading.current_thread().name

    for _ in range(4):
        gate = Gate()
        executor.resize(3)
        futures = [executor.submit(who, gate) for _ in range(3)]
        gate.wait_arrivals(3)
        executor.resize(1)
        gate.open()
        seen += sorted({future.result(PATIENCE_S) for future in futures})
        wait_until(lambda: len(worker_threads(PREFIX)) == 1)
    started = sorted(set(seen), key=seen.index)
    assert started == [f"{PREFIX}_{number}" for number in range(len(started))]
    assert len(started) == 3 + 2 * 3  # one stays at each shrink


def test_names_can_be_given() -> None:
    """Each thread draws one name."""
    names = iter(["ada", "grace"])
    gate = Gate()
    with ResizableThreadPoolExecutor(2, worker_names=names) as executor:
        futures = [executor.submit(lambda: (gate(), threading.current_thread().name)[1]) for _ in range(2)]
        gate.wait_arrivals(2)
        gate.open()
        assert {future.result(PATIENCE_S) for future in futures} == {"ada", "grace"}


# ── threads of ours ─────────────────────────────────────────────────────────────────────────────────


def test_idle_threads_leave_when_the_limit_falls(executor: ResizableThreadPoolExecutor) -> None:
    """They do not wait for a call to leave with, and one stays."""
    gate = Gate()
    executor.resize(5)
    futures = [executor.submit(gate) for _ in range(5)]
    gate.wait_arrivals(5)
    gate.open()
    wait(futures, PATIENCE_S)
    executor.resize(1)
    wait_until(lambda: len(worker_threads(PREFIX)) == 1)
    assert executor.submit(int).result(PATIENCE_S) == 0


def test_threads_start_on_demand(executor: ResizableThreadPoolExecutor) -> None:
    """A limit is no order: one call, one thread."""
    executor.resize(8)
    assert executor.submit(int).result(PATIENCE_S) == 0
    assert len(worker_threads(PREFIX)) == 1


def test_an_idle_worker_is_used_before_a_new_one_starts(executor: ResizableThreadPoolExecutor) -> None:
    """Calls one after the other, with a limit that leaves room: one thread does them all."""
    executor.resize(8)
    (first,) = {executor.submit(threading.current_thread).result(PATIENCE_S)}
    for _ in range(20):
        wait_until(lambda: "1 parked" in repr(executor))
        assert executor.submit(threading.current_thread).result(PATIENCE_S) is first


def test_a_thread_that_cannot_be_started_is_the_submitters_error(
    executor: ResizableThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not even one thread can start `submit` raises; with one alive the call waits for it."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.submit(int)
    gate = Gate()
    first = executor.submit(gate, "first")
    gate.wait_arrivals(1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        second = executor.submit(str, "second")
        executor.resize(5)
    gate.open()
    assert first.result(PATIENCE_S) == "first"
    assert second.result(PATIENCE_S) == "second"


def test_a_call_may_submit_and_resize(executor: ResizableThreadPoolExecutor) -> None:
    """Any thread may call the executor, a worker of its own as well."""

    def work() -> int:
        executor.resize(3)
        inner = executor.submit(lambda: 7)
        executor.resize(1)
        executor.resize(2)
        return inner.result(PATIENCE_S)

    assert executor.submit(work).result(PATIENCE_S) == 7


def test_the_double_begins_calls_in_order() -> None:
    """What a test sees in `running` began first, and `submitted` holds everything."""
    seen: list[Call] = []
    executor = ManualExecutor(2, seen.append)
    futures = [executor.submit(int) for _ in range(3)]
    assert [call.future for call in executor.running] == futures[:2]
    executor.finish()
    assert [call.future for call in executor.running] == futures[1:]
    assert [call.future for call in seen] == [call.future for call in executor.submitted] == futures


def test_the_end_of_the_interpreter_ends_a_pause() -> None:
    """What was accepted is run, as the stdlib's pool does; otherwise it would wait for ever."""
    code = (
        "from dynamic_pipeline import ResizableThreadPoolExecutor as Pool\n"
        "pool = Pool(1)\npool.resize(0)\npool.submit(print, 'run')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S * 3, check=True
    )
    assert done.stdout == "run\n"
