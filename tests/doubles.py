"""What tests put in the place of a clock, an engine, the work and the sinks; and how they race threads."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

from dynamic_pipeline import events as ev
from dynamic_pipeline import inbox as msg
from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.breaker import Breaker
from dynamic_pipeline.halting import HaltPolicy
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.orchestrator import Orchestrator
from dynamic_pipeline.retry import Backoff, RetryPolicy
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.stop import Stop

PATIENCE_S = 60.0  # turns a hang into a failure; orders nothing

_T = TypeVar("_T")
Script = dict[tuple[int, int], Any]  # (job, attempt) → what the attempt returns, or the error that it raises


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, by_s: float) -> None:
        self.now_s += by_s


class Call(NamedTuple):
    """What was submitted to a `ManualExecutor`."""

    future: Future[Any]
    run: Callable[[], Any]
    args: tuple[Any, ...]

    @property
    def attempt(self) -> Attempt:
        """For calls of the orchestrator: `run_attempt(work, attempt)`."""
        found: Attempt = self.args[1]
        return found


class ManualExecutor(Executor):
    """An engine without threads: it begins at most *limit* calls, in order, and the test ends them by hand."""

    def __init__(self, limit: int, on_start: Callable[[Call], object] = bool) -> None:
        self.limit = limit
        self.submitted: list[Call] = []  # all of them, in order
        self.running: list[Call] = []
        self.waiting: deque[Call] = deque()
        self.resizes: list[int] = []
        self.is_shut_down = False
        self._on_start = on_start

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        if self.is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        call = Call(Future(), lambda: fn(*args, **kwargs), args)
        self.submitted.append(call)
        self.waiting.append(call)
        self._begin()
        return call.future

    def resize(self, max_workers: int, /) -> None:
        if max_workers < 0:
            raise ValueError("max_workers must not be negative")
        self.resizes.append(max_workers)
        self.limit = max_workers
        self._begin()

    def finish(self, call: Call | None = None) -> None:
        """Run *call*, or the one that began first, to its end."""
        call = call or self.running[0]
        self._end(call)
        try:
            result = call.run()
        except BaseException as error:
            call.future.set_exception(error)
        else:
            call.future.set_result(result)
        self._begin()

    def break_off(self, error: BaseException, call: Call | None = None) -> None:
        """End a call as a pool does that broke under it."""
        call = call or self.running[0]
        self._end(call)
        call.future.set_exception(error)
        self._begin()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.is_shut_down = True
        if cancel_futures:
            for call in self.waiting:
                call.future.cancel()
        self.limit = self.limit or 1
        self._begin()
        while wait and self.running:
            self.finish()

    def _end(self, call: Call) -> None:
        self.running = [other for other in self.running if other is not call]

    def _begin(self) -> None:
        while self.waiting and len(self.running) < self.limit:
            call = self.waiting.popleft()
            if call.future.set_running_or_notify_cancel():
                self.running.append(call)
                self._on_start(call)


class InlineExecutor(ManualExecutor):
    """Ends each call inside `submit`."""

    def __init__(self) -> None:
        super().__init__(1)

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        future = super().submit(fn, *args, **kwargs)
        self.finish()
        return future


class ScriptedWork:
    """Does with each attempt what *script* says; what is not in it returns the job's payload."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = {} if script is None else script
        self.attempts: list[tuple[int, int]] = []  # (job, attempt), as they ran
        self.aborts = 0

    def __call__(self, attempt: Attempt) -> Any:
        key = (attempt.job.id, attempt.number)
        self.attempts.append(key)
        outcome = self.script.get(key, attempt.job.payload)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def abort(self) -> None:
        self.aborts += 1


class SlowRetry(RetryPolicy):
    """Every retry waits for *delay_s* seconds."""

    def __init__(self, max_retries: int = 3, *, delay_s: float) -> None:
        super().__init__(max_retries, Backoff(delay_s, 1, delay_s, is_jittered=False))


class Bench:
    """An orchestrator on a bench: its line is laid out by hand, and it is stepped by hand on a clock of ours."""

    def __init__(
        self,
        limit: int = 2,
        *,
        capacity: int = 200,
        retry: RetryPolicy | None = None,
        halt: str = "never",
        breaker: Breaker | None = None,
        looks_ahead: bool = True,
        drain_all: bool = True,
        drain_timeout_s: float | None = None,
        abort_patience_s: float = 2.5,
        work: Callable[[Attempt], Any] | None = None,
        executor: ManualExecutor | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.script: Script = {}
        self.work = work or ScriptedWork(self.script)
        self.executor = executor or ManualExecutor(limit)
        self.backlog: Handover[Job] = Handover(capacity=capacity)
        self.inbox: Handover[msg.Message] = Handover()
        self.events: Handover[ev.Event] = Handover()
        self.stop = Stop()
        self.told: list[ev.Event] = []  # everything, oldest first
        self.accepted = 0
        self.is_done = False
        self.orchestrator = Orchestrator(
            self.work,
            self.executor,
            limit,
            self.backlog,
            self.inbox,
            self.events,
            self.stop,
            retry=retry or RetryPolicy(3),
            halt=HaltPolicy.parse(halt),
            breaker=breaker,
            looks_ahead=looks_ahead,
            drain_all=drain_all,
            drain_timeout_s=drain_timeout_s,
            abort_patience_s=abort_patience_s,
            now=self.clock,
        )

    def accept(self, count: int = 1) -> None:
        """As the producer does it, but for the wait."""
        for _ in range(count):
            self.accepted += 1
            self.backlog.put(Job(self.accepted, f"record {self.accepted}"))

    def end_source(self) -> None:
        self.inbox.put(msg.SourceEnded(is_complete=True))

    def step(self, *messages: msg.Message) -> list[ev.Event]:
        """Put *messages*, let the orchestrator take one step with all that is in its inbox; what it told."""
        for message in messages:
            self.inbox.put(message)
        self.is_done = self.orchestrator.step(self.inbox.take_nowait()) or self.is_done
        news = self.events.take_nowait()
        self.told += news
        return news

    def finish(self, outcome: Any = None, *, call: Call | None = None) -> list[ev.Event]:
        """End a running call with *outcome*, a value or an error, and step."""
        call = call or self.executor.running[0]
        self.script[call.attempt.job.id, call.attempt.number] = outcome
        self.executor.finish(call)
        return self.step()

    @property
    def in_flight(self) -> int:
        return self.orchestrator.load().in_flight

    def ends(self) -> Counter[int]:
        """How many end events each job has had."""
        return Counter(job_of(event).id for event in self.told if is_end(event))

    def count(self, kind: type[Any]) -> int:
        return sum(type(event) is kind for event in self.told)


def is_end(event: ev.Event) -> bool:
    return isinstance(event, ev.JobSucceeded | ev.JobFailed | ev.JobUnfinished)


def job_of(event: ev.Event) -> Job:
    if isinstance(event, ev.JobUnfinished):
        return event.job
    assert isinstance(event, ev.JobSucceeded | ev.JobFailed | ev.JobRetrying)
    return event.attempt.job


def kinds(events: Iterable[ev.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


class Gate:
    """A place where calls check in, then wait to be let out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._permits = 0.0
        self.arrived: list[Any] = []
        self.inside = 0
        self.most_inside = 0

    def __call__(self, payload: Any = None) -> Any:
        """Check in with *payload*, wait, return it."""
        with self._changed:
            self.arrived.append(payload)
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self._changed.notify_all()
            # Longer than anybody waits for an arrival: giving up here would let one in.
            if not self._changed.wait_for(lambda: self._permits > 0, 3 * PATIENCE_S):
                raise TimeoutError(f"{payload!r} was never let out")
            self._permits -= 1
            self.inside -= 1
            self._changed.notify_all()
        return payload

    def let_out(self, count: int = 1) -> None:
        with self._changed:
            self._permits += count
            self._changed.notify_all()

    def open(self) -> None:
        """Let out all that are in, and all that come."""
        with self._changed:
            self._permits = float("inf")
            self._changed.notify_all()

    def wait_arrivals(self, count: int) -> None:
        """Block until *count* calls have checked in, since the start."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.arrived) >= count, PATIENCE_S):
                raise TimeoutError(f"{len(self.arrived)} of {count} arrived")


class RecordingSink:
    """Keeps every event; tests wait for what they expect."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.events: list[ev.Event] = []
        self.threads: set[str] = set()
        self.closed = 0

    def emit(self, events: Sequence[ev.Event], stats: Stats) -> None:
        with self._changed:
            self.events += events
            self.threads.add(threading.current_thread().name)
            self._changed.notify_all()

    def close(self) -> None:
        self.closed += 1

    def wait_for(self, kind: type[Any], count: int = 1) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self.count(kind) >= count, PATIENCE_S):
                raise TimeoutError(f"{self.count(kind)} of {count} {kind.__name__}")

    def count(self, kind: type[Any]) -> int:
        return sum(type(event) is kind for event in self.events)


class Endless:
    """A source without end that counts what was drawn; a job per number."""

    def __init__(self) -> None:
        self.drawn = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self.drawn += 1
            yield self.drawn


class BlockedSource:
    """A source that gives *first*, then blocks until it is released."""

    def __init__(self, *first: Any) -> None:
        self._first = first
        self.is_blocked = threading.Event()
        self.release = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        yield from self._first
        self.is_blocked.set()
        self.release.wait(PATIENCE_S)


class Spawned(Generic[_T]):
    """*fn* on a thread of its own; `result` joins it and gives what it returned, or raises what it raised."""

    def __init__(self, fn: Callable[[], _T], name: str = "spawned") -> None:
        self._fn = fn
        self._result: list[_T] = []
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._fn())
        except BaseException as error:
            self._error = error

    def result(self) -> _T:
        self.thread.join(PATIENCE_S)
        if self.thread.is_alive():
            raise TimeoutError(f"{self.thread.name} did not end")
        if self._error is not None:
            raise self._error
        return self._result[0]


def offer_all(line: Handover[_T], items: Iterable[_T]) -> None:
    for item in items:
        line.offer(item)


def wait_until(is_so: Callable[[], object]) -> None:
    """Give the other threads turns until *is_so*; for facts that nobody announces."""
    deadline_s = monotonic() + PATIENCE_S
    while not is_so():
        if monotonic() > deadline_s:
            raise TimeoutError("it never became so")
        os.sched_yield()


def race(rounds: int, make: Callable[[], _T], *sides: Callable[[_T], Any]) -> list[tuple[_T, list[Any]]]:
    """Let *sides* loose on one subject per round, each on its own thread, all at once.

    Returns each subject with what the sides returned. What one of them raises comes out.
    """
    subjects = [make() for _ in range(rounds)]
    start = threading.Barrier(len(sides))
    results: list[list[Any]] = [[] for _ in sides]

    def run_side(number: int) -> None:
        jitter = random.Random(number)
        try:
            for subject in subjects:
                delay = jitter.choice((0, 0, 3, 10, 30))
                start.wait(PATIENCE_S)
                for _ in range(delay):
                    pass
                results[number].append(sides[number](subject))
        except threading.BrokenBarrierError:
            pass  # another side has failed and tells why
        except BaseException:
            start.abort()
            raise

    spawned = [Spawned(partial(run_side, number)) for number in range(len(sides))]
    for side in spawned:
        side.result()
    return [(subject, [side[i] for side in results]) for i, subject in enumerate(subjects)]


def wait_until_waiting(thread: threading.Thread, function: str) -> None:
    """Until *thread* waits for a lock below a frame of *function*: it is where the test wants it."""

    def is_there() -> bool:
        frame = sys._current_frames().get(thread.ident or 0)
        if frame is None or frame.f_code.co_name not in {"wait", "acquire", "join", "_wait_for_tstate_lock"}:
            return False
        while frame is not None:
            if frame.f_code.co_name == function:
                return True
            frame = frame.f_back
        return False

    wait_until(is_there)


def worker_threads(prefix: str) -> list[threading.Thread]:
    """The living threads whose names begin with *prefix*."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]
