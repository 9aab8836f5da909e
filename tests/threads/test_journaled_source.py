"""Records become jobs that the journal has accepted: at once, in order, bounded, and stoppable wherever it waits."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from dynamic_pipeline import events as ev
from dynamic_pipeline.attempts import Attempt, Succeeded
from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.gates import GatedEvents
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.journal.answers import StoredJob
from dynamic_pipeline.journal.faults import JournalBroken, JournalError
from dynamic_pipeline.journal.identity import job_key
from dynamic_pipeline.journal.operations import Accept, Finish, NewJob, Start
from dynamic_pipeline.journal.store import Store
from dynamic_pipeline.journal.writer import JournalWriter
from dynamic_pipeline.records import Record
from dynamic_pipeline.sources.batches import MOST_RECORDS
from dynamic_pipeline.sources.journaled import _MOST_AHEAD, JournaledSource
from dynamic_pipeline.sources.lines import LineSource
from dynamic_pipeline.stop import Stop

from tests.doubles import PATIENCE_S, BlockedSource, Spawned, wait_until, wait_until_waiting
from tests.journaling import TASK, begun, crash, resumed, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def record(name: object) -> Record:
    return Record(str(name).encode(), "in", 1)


def records(*names: object) -> list[Record]:
    return [record(name) for name in names]


def new_job(one: Record) -> NewJob:
    return NewJob.of(job_key(TASK, one.raw), one.raw, source=one.source, line=one.line)


def restore(job: StoredJob) -> Record:
    return Record(job.payload, job.source, job.line, job.problem)


class Line:
    """A source on its journal, with the two threads that a run gives it; the test draws."""

    def __init__(self, store: Store, source: Iterable[Record], stop: Stop | None = None) -> None:
        self.stop = stop or Stop()
        self.store = store
        self.writer = JournalWriter(store, on_crash=crash)
        known = None if store.run is None else store.run.input_mark
        self.source = JournaledSource(source, self.writer, new_job, restore, self.stop, known)
        self.events: Handover[ev.Event] = Handover()
        self.gate = GatedEvents(self.events, self.writer, 4096, bool, Bell())
        self.source.ends_at(self.gate)
        self.drawn: list[Job] = []

    def __enter__(self) -> Self:
        self.writer.start()
        self.reading = Spawned(self.source.read, "reader")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.reading.result()
        assert self.writer.close(PATIENCE_S)

    def drawing(self) -> Spawned[list[bytes]]:
        """Draw on a thread, to the end."""

        def draw() -> list[bytes]:
            for job in self.source:
                self.drawn.append(job)
            return [job.payload.raw for job in self.drawn]

        return Spawned(draw, "producer")

    def end(self, job: Job) -> None:
        self.gate.put(ev.JobUnfinished(job))

    def names(self) -> list[bytes]:
        return [job.payload.raw for job in self.drawn]


class Counted:
    """A source that counts what was drawn."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.drawn = 0

    def __iter__(self) -> Iterator[Record]:
        for number in range(self.count):
            self.drawn += 1
            yield record(number)


def finish(store: Store, seq: int, *, well: bool = True) -> None:
    store.apply([Start.of(seq, 1), Finish.of(seq, 1, "succeeded" if well else "failed")])


def end_run(store: Store) -> None:
    store.recover()
    store.close()


# ── giving ──────────────────────────────────────────────────────────────────────────────────────────


def test_all_records_are_given_in_order_and_are_on_record_before(path: Path) -> None:
    """More than several batches; each job is known to the journal when it is drawn."""
    count = 3 * MOST_RECORDS + 7
    with Line(begun(path), Counted(count)) as line:
        for number, job in enumerate(line.source, 1):
            line.drawn.append(job)
            if number in {1, MOST_RECORDS, count}:
                assert [(1,)] == rows(path, "SELECT count(*) FROM jobs WHERE job % 1099511627776 = ?", job.id)

    assert list(range(1, count + 1)) == [job.id for job in line.drawn]
    assert [b"%d" % number for number in range(count)] == line.names()


def test_what_a_pipe_has_is_given_at_once(path: Path) -> None:
    """It waits for no batch to fill: one line, a pause, the next."""
    reading, writing = os.pipe()
    stop = Stop()
    source = LineSource([f"/dev/fd/{reading}"], stop)
    with Line(begun(path), source, stop) as line:
        drawing = line.drawing()
        for number in range(5):
            os.write(writing, b"%d\n" % number)
            wait_until(lambda number=number: len(line.drawn) > number)  # type: ignore[misc]
        os.close(writing)

        assert [b"0", b"1", b"2", b"3", b"4"] == drawing.result()
    os.close(reading)


def test_what_gathers_while_a_batch_is_on_its_way_is_one_batch(path: Path) -> None:
    """One transaction after the other, and their size follows the load."""
    store = begun(path)
    held = threading.Event()
    sizes: list[int] = []
    apply = store.apply

    def apply_held(batch: Any) -> Any:
        assert held.wait(PATIENCE_S)
        sizes.extend(len(op.records) for op in batch if isinstance(op, Accept))
        return apply(batch)

    store.apply = apply_held  # type: ignore[method-assign]
    counted = Counted(MOST_RECORDS + 50)
    with Line(store, counted) as line:
        wait_until(lambda: counted.drawn == counted.count)
        wait_until_waiting(line.reading.thread, "_await_room")
        held.set()
        line.drawing().result()

    assert [1, MOST_RECORDS, 49] == sizes


def test_no_more_is_read_ahead_than_was_agreed(path: Path) -> None:
    """The reader waits; each job that is drawn lets it go on."""
    counted = Counted(5 * _MOST_AHEAD)
    with Line(begun(path), counted) as line:
        wait_until(lambda: counted.drawn == _MOST_AHEAD)
        wait_until_waiting(line.reading.thread, "_await_room")
        assert _MOST_AHEAD == counted.drawn
        most = 0
        for job in line.source:
            line.drawn.append(job)
            most = max(most, counted.drawn - len(line.drawn))

    assert most <= _MOST_AHEAD
    assert 5 * _MOST_AHEAD == len(line.drawn)


def test_what_else_is_asked_of_a_source_is_asked_of_the_one_behind(path: Path) -> None:
    """Such as its rate."""
    with Line(begun(path), Counted(3)) as line:
        line.drawing().result()

    assert 3 == line.source.count


# ── stopping ────────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_ends_the_wait_for_room(path: Path) -> None:
    """What was read and not drawn is on record, for the next run."""
    counted = Counted(5 * _MOST_AHEAD)
    with Line(begun(path), counted) as line:
        wait_until(lambda: counted.drawn == _MOST_AHEAD)
        wait_until_waiting(line.reading.thread, "_await_room")
        line.stop.set()
        line.reading.result()

    assert _MOST_AHEAD == counted.drawn
    assert [(_MOST_AHEAD,)] == rows(path, "SELECT count(*) FROM jobs WHERE state = 'Q'")


def test_a_stop_ends_the_wait_for_the_source(path: Path) -> None:
    """A pipe that stays open and says nothing."""
    reading, writing = os.pipe()
    stop = Stop()
    with Line(begun(path), LineSource([f"/dev/fd/{reading}"], stop), stop) as line:
        os.write(writing, b"a\n")
        drawing = line.drawing()
        wait_until(lambda: len(line.drawn) == 1)
        stop.set()
        with pytest.raises(SourceStopped):
            drawing.result()
    os.close(reading)
    os.close(writing)

    assert [b"a"] == line.names()


def test_a_stop_while_the_source_draws_is_no_loss(path: Path) -> None:
    """An iterator of Python's cannot be interrupted: what it gave is accepted, for the next run."""
    blocked = BlockedSource(*records("a", "b"))
    with Line(begun(path), blocked) as line:
        assert blocked.is_blocked.wait(PATIENCE_S)
        line.stop.set()
        blocked.release.set()
        line.reading.result()

    assert [(b"a",), (b"b",)] == rows(path, "SELECT payload FROM jobs ORDER BY job")


class StopsAfter:
    """Sets the flag while its second record is drawn."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def __iter__(self) -> Iterator[Record]:
        yield record("a")
        self.stop.set()
        yield record("b")
        raise AssertionError("drawn after the stop")


def test_nothing_is_drawn_after_a_stop(path: Path) -> None:
    """The record in hand is accepted."""
    stop = Stop()
    with Line(begun(path), StopsAfter(stop), stop) as line, pytest.raises(SourceStopped):
        line.drawing().result()

    assert [(2,)] == rows(path, "SELECT count(*) FROM jobs")


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_of_the_source_comes_out_after_what_it_gave(path: Path) -> None:
    """Whatever its class."""

    def raising() -> Iterator[Record]:
        yield from records("a", "b")
        raise KeyboardInterrupt

    with Line(begun(path), raising()) as line:
        drawing = line.drawing()
        with pytest.raises(KeyboardInterrupt):
            drawing.result()

    assert [b"a", b"b"] == line.names()


def test_what_was_gathered_before_an_error_is_given(path: Path) -> None:
    """More than one batch of it."""

    def raising() -> Iterator[Record]:
        yield from records(*range(MOST_RECORDS + 5))
        raise ValueError("bad input")

    with Line(begun(path), raising()) as line:
        drawing = line.drawing()
        with pytest.raises(ValueError, match="bad input"):
            drawing.result()

    assert MOST_RECORDS + 5 == len(line.drawn)


def test_a_journal_that_fails_ends_the_input(path: Path) -> None:
    """Nothing can be accepted any more; the reader hears of the stop that follows."""
    store = begun(path)

    def fail(_: object) -> None:
        raise JournalBroken("fsync")

    store.apply = fail  # type: ignore[method-assign, assignment]
    with Line(store, Counted(10)) as line:
        drawing = line.drawing()
        with pytest.raises(JournalError, match="fsync"):
            drawing.result()

    assert [] == line.drawn


def test_a_journal_that_fails_at_the_end_of_the_input_is_told(path: Path) -> None:
    """While it is asked for the jobs that only it knows."""
    store = begun(path)
    apply = store.apply

    def fail(batch: Any) -> Any:
        if any(not isinstance(op, Accept) for op in batch):
            raise JournalBroken("fsync")
        return apply(batch)

    store.apply = fail  # type: ignore[method-assign]
    with Line(store, Counted(3)) as line:
        drawing = line.drawing()
        with pytest.raises(JournalError, match="fsync"):
            drawing.result()

    assert 3 == len(line.drawn)


# ── earlier runs ────────────────────────────────────────────────────────────────────────────────────


def test_what_is_over_is_passed_by_and_counted(path: Path) -> None:
    """Succeeded, failed, held; what is open runs, and what is new."""
    store = begun(path, b"good", b"bad", b"held", b"open")
    finish(store, 1)
    finish(store, 2, well=False)
    store._execute("UPDATE jobs SET state = 'H' WHERE job % 1099511627776 = 3")
    end_run(store)

    with Line(resumed(path), records("open", "held", "new", "bad", "good")) as line:
        line.drawing().result()

    assert [b"open", b"new"] == line.names()
    assert {"succeeded_before": 1, "failed_before": 1, "held": 1, "missing": 0} == line.source.earlier()


def test_attempts_of_earlier_runs_go_on_counting(path: Path) -> None:
    """A job is given with how often it was tried."""
    store = begun(path, b"a")
    store.apply([Start.of(1, 1), Finish.of(1, 1, "failed", will_retry=True)])
    end_run(store)

    with Line(resumed(path), records("a")) as line:
        line.drawing().result()

    assert [(1, 1)] == [(job.id, job.tried) for job in line.drawn]


def test_what_todays_input_does_not_have_comes_last(path: Path) -> None:
    """With the record that was kept of it; more than one question's worth."""
    gone = [b"gone %d" % number for number in range(450)]
    end_run(begun(path, *gone, b"here"))

    with Line(resumed(path), records("new", "here")) as line:
        line.drawing().result()

    assert [b"new", b"here", *gone] == line.names()
    assert 450 == line.source.missing
    assert [Record(b"gone 0", "in.txt", 1)] == [line.drawn[2].payload]


def test_a_stop_while_the_missing_are_given_leaves_the_rest(path: Path) -> None:
    """More than are kept in memory."""
    end_run(begun(path, *[b"gone %d" % number for number in range(2 * _MOST_AHEAD)]))

    with Line(resumed(path), []) as line:
        wait_until_waiting(line.reading.thread, "_await_room")
        line.stop.set()
        line.reading.result()

    assert line.source.missing < 2 * _MOST_AHEAD


# ── jobs that run alone ─────────────────────────────────────────────────────────────────────────────


def suspicious(path: Path) -> Store:
    """Four open jobs; the third was cut short three times with others, the fourth three times alone."""
    store = begun(path, b"a", b"b", b"alone", b"held")
    store._execute("UPDATE jobs SET interruptions = 3 WHERE job % 1099511627776 = 3")
    store._execute("UPDATE jobs SET interruptions = 6, alone = 3 WHERE job % 1099511627776 = 4")
    end_run(store)
    return resumed(path)


def test_a_job_that_took_the_process_down_runs_alone(path: Path) -> None:
    """After all before it have ended, and the next one after its own end; a worse one is held."""
    with Line(suspicious(path), records("a", "b", "held", "alone", "c")) as line:
        drawing = line.drawing()
        wait_until(lambda: len(line.drawn) == 2)
        wait_until_waiting(drawing.thread, "_await_ends")
        line.end(line.drawn[0])
        wait_until(lambda: line.gate.ended == 1)
        wait_until_waiting(drawing.thread, "_await_ends")
        before = line.names()
        line.end(line.drawn[1])
        wait_until(lambda: len(line.drawn) == 3)
        wait_until_waiting(drawing.thread, "_await_ends")
        during = line.names()
        line.end(line.drawn[2])

        assert [b"a", b"b", b"alone", b"c"] == drawing.result()
    assert ([b"a", b"b"], [b"a", b"b", b"alone"]) == (before, during)
    assert ({3}, 1) == (line.source.alone, line.source.held)


@pytest.mark.parametrize("given", [0, 1])
def test_a_stop_ends_the_wait_for_a_job_that_runs_alone(path: Path, given: int) -> None:
    """Before it is given it is left for the next run; after that nothing follows it."""
    names = ["a", "alone", "c"] if given == 0 else ["alone", "c"]
    with Line(suspicious(path), records(*names)) as line:
        drawing = line.drawing()
        wait_until(lambda: len(line.drawn) == 1)
        wait_until_waiting(drawing.thread, "_await_ends")
        line.stop.set()
        with pytest.raises(SourceStopped):
            drawing.result()

    assert [b"a" if given == 0 else b"alone"] == line.names()


def test_an_end_that_comes_just_then_is_not_missed(path: Path, switch_often: None) -> None:
    """The end of a lone job and the wait for it, again and again."""
    names = [b"%d" % number for number in range(150)]
    store = begun(path, *names)
    store._execute("UPDATE jobs SET interruptions = 3")
    end_run(store)

    with Line(resumed(path), records(*range(150))) as line:
        for job in line.source:
            line.drawn.append(job)
            attempt = Attempt(job, 1)
            line.writer.post(Start.of(job.id, 1))
            line.gate.put(ev.JobSucceeded(attempt, Succeeded(None, 0.0, "")))

    assert 150 == len(line.drawn)
    assert [(150,)] == rows(path, "SELECT count(*) FROM jobs WHERE state = 'S'")


# ── an input that is what it was ────────────────────────────────────────────────────────────────────


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(3 * MOST_RECORDS + 7)))
    return path


def read_all(store: Store, lines: Path) -> Line:
    stop = Stop()
    with Line(store, LineSource([str(lines)], stop), stop) as line:
        line.drawing().result()
    return line


def counted(line: Line) -> tuple[int, int, int, int]:
    earlier = line.source.earlier()
    return earlier["succeeded_before"], earlier["failed_before"], earlier["held"], earlier["missing"]


def test_an_unchanged_input_is_not_matched_record_by_record(path: Path, lines: Path) -> None:
    """What is over is counted, what is open is given in its order, and no record is asked for."""
    read_all(begun(path), lines)
    store = resumed(path)
    for seq in range(1, 600):
        finish(store, seq, well=seq != 300)
    store.close()
    store = resumed(path, "run-3")
    line = read_all(store, lines)

    assert (598, 1, 0, 0) == counted(line)
    assert list(range(600, 3 * MOST_RECORDS + 8)) == [job.id for job in line.drawn]
    assert [b"%d" % (job.id - 1) for job in line.drawn] == line.names()
    assert store._intake is not None
    assert store._intake.place == (607, 607, True)


def test_an_input_that_has_grown_is_read_from_where_it_has(path: Path, lines: Path) -> None:
    """An equal record that was added is another job."""
    read_all(begun(path), lines)
    store = resumed(path)
    for seq in range(1, 608):
        finish(store, seq)
    store.close()
    with lines.open("ab") as file:
        file.write(b"5\nnew\n")
    line = read_all(resumed(path, "run-3"), lines)

    assert (607, 0, 0, 0) == counted(line)
    assert [(608, b"5"), (609, b"new")] == [(job.id, job.payload.raw) for job in line.drawn]
    line = read_all(resumed(path, "run-4"), lines)  # its mark stands behind what was added
    assert (607, 0, 0, 0) == counted(line)
    assert [608, 609] == [job.id for job in line.drawn]


def test_an_input_that_was_edited_is_matched_record_by_record(path: Path, lines: Path) -> None:
    """Before the mark: the line that is new is a job, the one that has gone is given last."""
    read_all(begun(path), lines)
    lines.write_bytes(lines.read_bytes().replace(b"\n5\n", b"\nfive\n"))
    line = read_all(resumed(path), lines)

    assert (0, 0, 0, 1) == counted(line)
    assert (b"five", 608) == (line.drawn[5].payload.raw, line.drawn[5].id)
    assert (b"5", 6) == (line.drawn[-1].payload.raw, line.drawn[-1].id)
    assert 608 == len(line.drawn)
