"""The two doors of a journalled run: nothing begins, and nothing is told, that the journal does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dynamic_pipeline import events as ev
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded, run_attempt
from dynamic_pipeline.executors.resizable import ResizableThreadPoolExecutor
from dynamic_pipeline.gates import GatedEvents, GatedExecutor, finish_of
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.journal.faults import JournalBroken, JournalError
from dynamic_pipeline.journal.operations import Finish
from dynamic_pipeline.journal.store import Store
from dynamic_pipeline.journal.writer import JournalWriter
from dynamic_pipeline.reports import CallReport, CallTrace, CommandReport
from dynamic_pipeline.spool import Spool

from tests.doubles import PATIENCE_S, Gate, ManualExecutor, ScriptedWork, Spawned, kinds, wait_until
from tests.journaling import begun, crash, is_sound, rows

PAYLOADS = [b"a", b"b", b"c", b"d"]


def attempt(seq: int, number: int = 1) -> Attempt:
    return Attempt(Job(seq, f"record {seq}"), number)


def succeeded(seq: int, value: Any = None) -> ev.JobSucceeded:
    return ev.JobSucceeded(attempt(seq), Succeeded(value, 0.1, "worker-01"))


def failed(seq: int, error: str = "exit 1", value: Any = None) -> ev.JobFailed:
    return ev.JobFailed(attempt(seq), Failed(error, 0.1, "worker-01", value=value))


def retrying(seq: int) -> ev.JobRetrying:
    return ev.JobRetrying(attempt(seq), Failed("exit 1", 0.1, "worker-01"), 3)


def command(code: int, *, is_timeout: bool = False) -> CommandReport:
    return CommandReport(Spool(""), Spool(""), 1, 0.0, code, is_timeout)


class Doors:
    """Both doors on one journal, whose thread is the test's own until it is started."""

    def __init__(self, path: Path, store: Store | None = None, *, capacity: int = 3) -> None:
        self.path = path
        self.store = store or begun(path, *PAYLOADS)
        self.writer = JournalWriter(self.store, on_crash=crash)
        self.pool = ManualExecutor(2)
        self.alone: set[int] = set()
        self.executor = GatedExecutor(self.pool, self.writer, lambda seq: seq in self.alone)
        self.events: Handover[ev.Event] = Handover(capacity=capacity)
        self.errors: list[JournalError] = []
        self.room = Bell()
        self.gate = GatedEvents(self.events, self.writer, capacity, self.errors.append, self.room)
        self.work = ScriptedWork()

    def submit(self, seq: int, number: int = 1) -> Future[Any]:
        return self.executor.submit(run_attempt, self.work, attempt(seq, number))

    def commit(self) -> None:
        """One turn of the journal's thread."""
        self.writer.step(self.writer._posted.take_nowait())

    def start_all(self) -> None:
        for seq in range(1, len(PAYLOADS) + 1):
            self.submit(seq)
        self.commit()

    def take(self) -> list[ev.Event]:
        return self.events.take_nowait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def doors(path: Path) -> Iterator[Doors]:
    made = Doors(path)
    yield made
    made.store.abandon()


def remove(doors: Doors) -> None:
    """The journal's file is taken away."""
    doors.path.unlink()


def break_down(doors: Doors) -> None:
    """Its disk fails."""

    def fail(_: object) -> None:
        raise JournalBroken("fsync")

    doors.store.transactions.write = fail  # type: ignore[method-assign, assignment]


BREAKS = pytest.mark.parametrize("break_it", [remove, break_down])


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_begins_when_its_start_is_committed(doors: Doors) -> None:
    """Seen from another connection at the moment it begins."""
    seen: list[list[tuple[Any, ...]]] = []
    doors.pool._on_start = lambda _: seen.append(rows(doors.path, "SELECT outcome FROM attempts"))
    future = doors.submit(1)
    assert ([], False) == (doors.pool.submitted, future.running())

    doors.commit()
    doors.pool.finish()

    assert [[(None,)]] == seen
    assert "record 1" == future.result(0).value


def test_on_a_real_pool_none_begins_before_it_is_on_record(path: Path) -> None:
    """Fifty calls on four threads: each finds its own start."""
    payloads = [b"%d" % number for number in range(50)]
    doors = Doors(path, begun(path, *payloads))
    pool = ResizableThreadPoolExecutor(4)
    executor = GatedExecutor(pool, doors.writer, lambda _: False)

    def look(tried: Attempt) -> int:
        found = rows(path, "SELECT count(*) FROM attempts WHERE job % 1099511627776 = ?", tried.job.id)
        return int(found[0][0])

    doors.writer.start()
    futures = [executor.submit(run_attempt, look, attempt(seq)) for seq in range(1, 51)]
    found = [future.result(PATIENCE_S).value for future in futures]
    pool.shutdown()
    assert doors.writer.close(PATIENCE_S)

    assert [1] * 50 == found


def test_a_cancelled_call_does_not_begin(doors: Doors) -> None:
    """Neither one whose start is on its way, nor one that waits in the pool."""
    before = doors.submit(1)
    assert before.cancel()
    doors.commit()
    doors.pool.limit = 0
    waiting = doors.submit(2)
    doors.commit()
    assert waiting.cancel()
    doors.pool.resize(2)
    while doors.pool.running:
        doors.pool.finish()

    assert (True, True, []) == (before.cancelled(), waiting.cancelled(), doors.work.attempts)


def test_a_running_call_cannot_be_cancelled(path: Path) -> None:
    """It is told of as running, and its result counts."""
    doors = Doors(path)
    pool, gate = ResizableThreadPoolExecutor(1), Gate()
    executor = GatedExecutor(pool, doors.writer, lambda _: False)
    doors.writer.start()
    future = executor.submit(run_attempt, lambda tried: gate(tried.job.id), attempt(1))
    gate.wait_arrivals(1)

    cancelled = future.cancel()
    gate.open()

    assert (False, 1) == (cancelled, future.result(PATIENCE_S).value)
    pool.shutdown()
    assert doors.writer.close(PATIENCE_S)


def test_what_a_call_raises_belongs_to_its_future(doors: Doors) -> None:
    """And not to the pool's."""

    def fail(*_: object) -> None:
        raise KeyError("pool")

    future = doors.executor.submit(fail, None, attempt(1))
    doors.commit()
    doors.pool.finish()

    assert isinstance(future.exception(0), KeyError)
    assert doors.pool.submitted[0].future.exception(0) is None


def test_a_job_that_runs_alone_is_on_record_as_such(doors: Doors) -> None:
    """That is what holds it if it takes the process down."""
    doors.alone.add(2)
    doors.submit(1)
    doors.submit(2)
    doors.commit()

    assert [(0,), (1,)] == rows(doors.path, "SELECT is_alone FROM attempts ORDER BY job")


def test_a_start_that_the_journal_refuses_is_not_made(doors: Doors) -> None:
    """The job is over, or this attempt is known."""
    doors.submit(1)
    again = doors.submit(1)
    unknown = doors.submit(99)
    doors.commit()

    assert [True, True] == [future.result(0).is_interrupted for future in (again, unknown)]
    assert 1 == len(doors.pool.submitted)


def test_a_pool_that_was_shut_down_leaves_the_attempt_interrupted(doors: Doors) -> None:
    """The run is ending while the start was written down."""
    future = doors.submit(1)
    doors.pool.shutdown()
    doors.commit()

    assert future.result(0).is_interrupted


@BREAKS
def test_once_the_journal_has_failed_none_begins(doors: Doors, break_it: Callable[[Doors], None]) -> None:
    """What was posted, and what is posted later; a cancelled one stays cancelled."""
    posted, cancelled = doors.submit(1), doors.submit(2)
    cancelled.cancel()
    break_it(doors)
    doors.commit()
    later = doors.submit(3)
    doors.commit()

    assert [True, True] == [future.result(0).is_interrupted for future in (posted, later)]
    assert (True, [], []) == (cancelled.cancelled(), doors.pool.submitted, doors.work.attempts)


def test_the_limit_goes_through(doors: Doors) -> None:
    """A door has no size of its own."""
    doors.executor.resize(7)

    assert [7] == doors.pool.resizes


# ── events ──────────────────────────────────────────────────────────────────────────────────────────


def test_ends_are_told_when_they_are_committed(doors: Doors) -> None:
    """The state of each is on record before a sink can hear of it."""
    doors.start_all()
    doors.gate.put_all([succeeded(1), retrying(2), failed(3)])
    assert [] == doors.take()

    doors.commit()

    assert ["JobSucceeded", "JobRetrying", "JobFailed"] == kinds(doors.take())
    assert [("S",), ("R",), ("F",), ("Q",)] == rows(doors.path, "SELECT state FROM jobs ORDER BY job")
    assert (2, [], []) == (doors.gate.ended, doors.gate.unrecorded, doors.errors)


def test_events_keep_their_order_with_and_without_ends(doors: Doors) -> None:
    """One without anything to write down waits for those before it."""
    doors.start_all()
    told: list[ev.Event] = [
        ev.RunStarted(2),
        ev.Warned("x"),
        succeeded(1),
        ev.Draining(1),
        succeeded(2),
        ev.JobsClosed(),
    ]
    doors.gate.put(told[0])
    doors.gate.put_all(told[1:3])
    doors.gate.put(told[3])
    doors.gate.put_all(told[4:])
    assert [] == doors.take()
    doors.commit()

    assert told == doors.take()


def test_the_end_of_a_job_that_never_began_is_told_too(doors: Doors) -> None:
    """It counts as an end, for those who wait for all of them; whoever waits is rung for."""
    doors.gate.put(ev.JobUnfinished(Job(1, "a")))
    doors.commit()

    assert (["JobUnfinished"], 1) == (kinds(doors.take()), doors.gate.ended)


def test_the_bell_rings_when_a_job_has_ended(doors: Doors) -> None:
    """And not for a retry or a warning."""
    doors.start_all()
    rung: list[int] = []

    class Rung(Bell):
        def ring(self) -> None:
            rung.append(doors.gate.ended)

    doors.gate.bell = Rung()
    for event in (ev.Warned("x"), retrying(1), succeeded(2), failed(3)):
        doors.gate.put(event)
        doors.commit()

    assert [1, 2] == rung


@BREAKS
def test_an_end_that_is_not_on_record_is_no_success(doors: Doors, break_it: Callable[[Doors], None]) -> None:
    """It will run again: told as unfinished, and listed; the error is told once."""
    doors.start_all()
    break_it(doors)
    doors.gate.put_all([ev.Warned("x"), succeeded(1), failed(2)])
    doors.gate.put(succeeded(3))
    doors.commit()
    doors.gate.put(ev.JobsClosed())
    doors.commit()
    told = doors.take()

    assert ["Warned", "JobUnfinished", "JobUnfinished", "JobUnfinished", "JobsClosed"] == kinds(told)
    assert [1, 2, 3] == [event.job.id for event in told if isinstance(event, ev.JobUnfinished)]
    assert ([1, 2, 3], 3) == (doors.gate.unrecorded, doors.gate.ended)
    assert [doors.writer.error] == doors.errors


@BREAKS
def test_an_unrecorded_retry_does_not_end_its_job(doors: Doors, break_it: Callable[[Doors], None]) -> None:
    """The job is still in hand: its one end comes later, and it was executed."""
    doors.start_all()
    break_it(doors)
    doors.gate.put(retrying(1))
    doors.gate.put(ev.JobUnfinished(Job(1, "a")))
    doors.commit()

    assert ["JobRetrying", "JobUnfinished"] == kinds(doors.take())
    assert ([1], 1) == (doors.gate.unrecorded, doors.gate.ended)


def test_a_failed_journal_is_told_of_by_events_without_an_end(doors: Doors) -> None:
    """Whatever comes first after the failure."""
    break_down(doors)
    doors.submit(1)
    doors.commit()
    doors.gate.put(ev.Warned("x"))
    doors.commit()

    assert (["Warned"], 1) == (kinds(doors.take()), len(doors.errors))


def test_a_second_report_of_an_end_is_not_counted_as_a_success(doors: Doors) -> None:
    """The journal has it as it was first; it did not fail."""
    doors.start_all()
    doors.gate.put(succeeded(1))
    doors.gate.put(failed(1))
    doors.commit()

    assert ["JobSucceeded", "JobUnfinished"] == kinds(doors.take())
    assert [("S",)] == rows(doors.path, "SELECT state FROM jobs WHERE job % 1099511627776 = 1")
    assert [] == doors.errors


def test_there_is_room_while_neither_side_is_full(doors: Doors) -> None:
    """What waits for the disk counts, and what waits for the collector."""
    found = [doors.gate.has_room()]
    for number in range(3):
        doors.gate.put(ev.Draining(number))
        found.append(doors.gate.has_room())
    doors.commit()
    found.append(doors.gate.has_room())  # now they wait for the collector
    doors.take()
    found.append(doors.gate.has_room())

    assert [True, True, True, False, False, True] == found


def test_who_waits_for_the_journal_is_woken_when_it_has_caught_up(doors: Doors) -> None:
    """The collector was not behind, so nobody else would ring."""
    for number in range(3):
        doors.gate.put(ev.Draining(number))
    assert not doors.gate.has_room()
    waiting = Spawned(lambda: doors.room.wait(bool, 3 * PATIENCE_S))  # longer than anybody here waits for it
    wait_until(lambda: doors.room.parked)
    doors.commit()
    waiting.result()

    assert doors.gate.has_room() is False  # now they wait for the collector, which rings itself


def test_everything_in_the_line_ends_in_a_sound_journal(path: Path) -> None:
    """On its own thread: start, finish, end, in any mixture."""
    doors = Doors(path)
    doors.writer.start()
    futures = [doors.submit(seq) for seq in (1, 2, 3, 4)]
    wait_until(lambda: len(doors.pool.submitted) == 4)
    for _ in futures:
        doors.pool.finish()
    doors.gate.put_all([succeeded(1), failed(2), retrying(3)])
    wait_until(lambda: len(doors.events) == 3)
    assert doors.writer.close(PATIENCE_S)

    assert is_sound(path)
    assert [("S",), ("F",), ("R",), ("Q",)] == rows(path, "SELECT state FROM jobs ORDER BY job")


# ── what is written down of an event ────────────────────────────────────────────────────────────────


class Case(NamedTuple):
    event: ev.Event
    outcome: str
    code: int | None = None
    signal: int | None = None
    result: str | None = None
    error: str | None = None
    will_retry: bool = False


CASES = [
    Case(succeeded(1), "succeeded"),
    Case(succeeded(1, "what a plain function returned"), "succeeded"),
    Case(succeeded(1, command(0)), "succeeded", code=0),
    Case(succeeded(1, CallReport('{"a": 1}')), "succeeded", result='{"a": 1}'),
    Case(failed(1), "failed", error="exit 1"),
    Case(failed(1, "exit 3", command(3)), "failed", code=3, error="exit 3"),
    Case(failed(1, "signal 9", command(-9)), "failed", signal=9, error="signal 9"),
    Case(
        failed(1, "timeout after 5s", command(-15, is_timeout=True)),
        "timeout",
        signal=15,
        error="timeout after 5s",
    ),
    Case(failed(1, "timeout after 5s"), "timeout", error="timeout after 5s"),
    Case(retrying(1), "failed", error="exit 1", will_retry=True),
]


def test_of_a_failure_for_good_the_end_of_its_output_is_kept() -> None:
    """Not of one that is tried again."""
    trace = CallTrace("Traceback: nowhere")
    for_good = finish_of(ev.JobFailed(attempt(1), Failed("exit 1", 0.1, "worker-01", value=trace)))
    again = finish_of(ev.JobRetrying(attempt(1), Failed("exit 1", 0.1, "worker-01", value=trace), 3))
    unkept = finish_of(
        ev.JobFailed(attempt(1), Failed("exit 1", 0.1, "worker-01", value=trace)), keeps_output=False
    )

    assert (b"Traceback: nowhere", None, None) == tuple(
        found and found.output for found in (for_good, again, unkept)
    )


@pytest.mark.parametrize("case", CASES)
def test_of_the_end_of_an_attempt_is_written_down_what_is_known(case: Case) -> None:
    """How it ended, by which code or signal, its result or its error, and who worked on it for how long."""
    found = finish_of(case.event)

    assert found is not None
    assert (
        Finish.of(
            1,
            1,
            case.outcome,  # type: ignore[arg-type]
            will_retry=case.will_retry,
            error=case.error,
            exit_code=case.code,
            signal=case.signal,
            result=case.result,
            worker="worker-01",
            elapsed_s=0.1,
            ended_us=found.ended_us,
        )
        == found
    )


@pytest.mark.parametrize(
    "event",
    [
        ev.RunStarted(1),
        ev.JobUnfinished(Job(1, "a")),
        ev.JobUnfinished(Job(1, "a"), Failed("cut short", 0.1, "", is_interrupted=True)),
        ev.LimitChanged(1, 2, 3, "why"),
        ev.SourceStalled(1.0, 2, 3),
        ev.SourceResumed(1.0),
        ev.Warned("x"),
        ev.Progress(1, 2, 3, None),
        ev.DrainStarted("why", None, 1, 2),
        ev.Draining(1),
        ev.AbortStarted("why", 1),
        ev.JobsClosed(),
        ev.RunFinished(is_graceful=True),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_is_no_end_of_an_attempt_is_not_written_down(event: ev.Event) -> None:
    """An interruption charges nothing: the end of the run closes its attempt."""
    assert finish_of(event) is None


def test_no_kind_of_event_is_forgotten_here() -> None:
    """A new one has to be thought of."""
    known = {
        "JobSucceeded", "JobRetrying", "JobFailed", "JobUnfinished", "RunStarted", "LimitChanged", "SourceStalled",
        "SourceResumed", "Warned", "Progress", "DrainStarted", "Draining", "AbortStarted", "JobsClosed", "RunFinished",
    }  # fmt: skip

    assert known == {kind.__name__ for kind in ev.Event.__args__}
