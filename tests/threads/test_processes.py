"""A process for each worker: what dies, hangs or is killed there, by real signals, and what that costs the others."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from dynamic_pipeline import FixedScaling, JobFailed, JobSucceeded, Load, start
from dynamic_pipeline import run as run_here
from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.errors import AttemptFailed, Interrupted, PermanentError
from dynamic_pipeline.events import JobRetrying, LimitChanged
from dynamic_pipeline.executors.fork_server import PRELOADED, _server
from dynamic_pipeline.executors.processes import ProcessWork
from dynamic_pipeline.executors.worker_process import Died, Processes, WorkerProcess
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.work.callable import CallOfPayload

from tests.doubles import PATIENCE_S, RecordingSink, Spawned, wait_until
from tests.elsewhere import (
    CountTries,
    DieBeside,
    DieOnce,
    DiesAsItArrives,
    DiesBeforeItBegins,
    FileGate,
    Poison,
    crash_with_child,
    die,
    double,
    hang,
    hang_with_child,
    hold_the_lock,
    leave_deaf_child,
    print_late,
    wait_until_told,
    who,
)
from tests.living import children, fork_server, lives, wait_gone

ROOT = Path(__file__).resolve().parents[2]
DEATHS = {
    "segfault": "its process died: killed by signal 11 (SIGSEGV)",
    "exit": "its process died: exit 3",
    "kill": "its process died: killed by signal 9 (SIGKILL)",
}
_SLACK_S = 1.0  # that a forced stop may take beyond the grace

Maker = Callable[..., ProcessWork]


@pytest.fixture(scope="module", autouse=True)
def preloaded() -> None:
    """What the tests call, too; else each process imports it anew."""
    _server.set_forkserver_preload([*PRELOADED, "tests.elsewhere"])


@pytest.fixture(autouse=True)
def no_leaked_process() -> Iterator[None]:
    """A test that leaves a process behind fails."""
    before = children()
    yield
    wait_gone(lambda: children() - before)


@pytest.fixture
def make() -> Iterator[Maker]:
    """Makes work that calls a function in processes; no process of it may be left once it is closed."""
    made: list[ProcessWork] = []

    def make_one(fn: Any, **settings: Any) -> ProcessWork:
        made.append(ProcessWork(CallOfPayload(fn), **settings))
        return made[-1]

    before = children()
    yield make_one
    for work in made:
        work.close()
        work.close()
    assert children() <= before


def attempt(payload: object, number: int = 1) -> Attempt:
    return Attempt(Job(7, payload), number)


def run(fn: Any, records: Any, *, workers: int = 1, **settings: Any) -> Any:
    settings.setdefault("policy", FixedScaling(workers))
    return run_here(fn, records, executor="processes", **settings)


def pid_in(path: Path) -> int:
    """The first that was noted there, once it is."""
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text().split()[0])


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers


def failures(sink: RecordingSink) -> dict[Any, str]:
    return {e.attempt.job.payload: e.outcome.error for e in sink.events if isinstance(e, JobFailed)}


# ── a process that dies ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", DEATHS)
def test_an_attempt_whose_process_dies_has_failed_with_the_cause(make: Maker, how: str) -> None:
    """The next call of the same thread runs, in another process."""
    work = make(die)
    assert "before" == work(attempt("before"))
    with pytest.raises(AttemptFailed) as caught:
        work(attempt(how))

    assert DEATHS[how] == str(caught.value)
    assert not isinstance(caught.value, PermanentError)
    assert "after" == work(attempt("after"))


def test_a_job_that_takes_its_process_down_fails_alone(tmp_path: Path) -> None:
    """It has all its tries; what runs beside it runs once, is charged nothing, and keeps its process."""
    fn = DieBeside(tmp_path)
    sink = RecordingSink()

    def source() -> Iterator[str]:
        yield "first"
        gate.wait_arrivals(1)
        yield from DEATHS
        sink.wait_for(JobFailed, 3)
        gate.let_out()
        sink.wait_for(JobSucceeded, 1)
        yield "second"
        yield "third"
        gate.wait_arrivals(3)
        gate.let_out(2)

    with FileGate(tmp_path) as gate:
        summary = run(fn, source(), workers=2, max_retries=2, sinks=[sink])

    assert DEATHS == failures(sink)
    assert (3, 3, 0, 6) == (summary.succeeded, summary.failed, summary.unfinished, summary.retries)
    for how in DEATHS:
        assert 3 == len(set(fn.pids(how))) == len(fn.pids(how))
    (own,) = fn.pids("first")
    assert own in fn.pids("second") + fn.pids("third")
    assert {e.attempt.job.payload for e in sink.events if isinstance(e, JobRetrying)} == set(DEATHS)


def test_a_job_that_takes_its_process_down_once_does_well_on_the_second_try(tmp_path: Path) -> None:
    """One retry each, and all succeed."""
    sink = RecordingSink()

    summary = run(DieOnce(tmp_path), ["a", "b"], workers=2, sinks=[sink])

    assert (2, 0, 2) == (summary.succeeded, summary.failed, summary.retries)
    assert [2, 2] == [e.attempt.number for e in sink.events if isinstance(e, JobSucceeded)]


def test_a_process_that_is_killed_while_idle_costs_nothing(make: Maker) -> None:
    """The next call runs in a new one, as the same attempt."""
    work = make(who)
    pid, _ = work(attempt(1))
    os.kill(pid, signal.SIGKILL)
    wait_gone(lambda: {pid} & children())
    other, _ = work(attempt(2))

    assert other != pid
    assert (other, True) == (work(attempt(3))[0], lives(other))


def test_a_run_charges_no_retry_for_processes_that_are_killed_while_idle(tmp_path: Path) -> None:
    """Each record has one try, and each process that was killed another in its place."""
    pids: list[int] = []
    sink = RecordingSink()

    def kill_it(result: Any) -> None:
        pids.append(result.outcome.value[0])
        os.kill(pids[-1], signal.SIGKILL)

    def source() -> Iterator[int]:
        for number in range(5):
            wait_until(lambda number=number: len(pids) == number and not any(map(lives, pids)))  # type: ignore[misc]
            yield number

    summary = run(who, source(), max_retries=0, on_result=kill_it, sinks=[sink])

    assert (5, 0, 0) == (summary.succeeded, summary.failed, summary.retries)
    assert 5 == len(set(pids))


def test_an_attempt_that_no_process_has_taken_in_goes_to_another(make: Maker) -> None:
    """Its process is stopped while idle, given the attempt, and then killed: the attempt has not begun."""
    work = make(who)
    told: list[Any] = []
    first_is_done = threading.Event()
    is_stopped = threading.Event()

    def call_twice() -> None:
        told.append(work(attempt(1)))
        first_is_done.set()
        is_stopped.wait(PATIENCE_S)
        told.append(work(attempt(2)))

    calling = Spawned(call_twice)
    first_is_done.wait(PATIENCE_S)
    pid, _ = told[0]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: " T " in Path(f"/proc/{pid}/stat").read_text())
    is_stopped.set()
    wait_until(lambda: sys._current_frames()[calling.thread.ident or 0].f_code.co_name == "_poll")
    os.kill(pid, signal.SIGKILL)
    calling.result()

    assert told[1][0] not in (pid, os.getpid())


def test_processes_that_die_again_and_again_before_the_call_begins_are_given_up() -> None:
    """The third time it is the attempt's failure, and another try may help."""
    work = ProcessWork(DiesBeforeItBegins())
    with pytest.raises(AttemptFailed, match=r"^3 processes died before the call began$") as caught:
        work(attempt(1))
    work.close()

    assert not isinstance(caught.value, PermanentError)


def test_work_that_takes_the_process_down_as_it_arrives_is_told() -> None:
    """Such as a module that leaves when it is imported."""
    work = ProcessWork(DiesAsItArrives())  # type: ignore[arg-type]  # nobody gets to call it
    with pytest.raises(AttemptFailed, match=r"^3 processes died before the call began$"):
        work(attempt(1))
    work.close()


def test_work_that_cannot_be_read_there_is_no_matter_of_more_tries() -> None:
    """The text says where it failed, and why."""
    work = ProcessWork(Poison())  # type: ignore[arg-type]  # nobody gets to call it
    with pytest.raises(PermanentError, match=r"^it cannot be run in a process: MemoryError: as it was read$"):
        work(attempt(1))
    work.close()


def test_a_worker_is_told_how_its_process_ended() -> None:
    """`wait` raises with minus the signal, and from then on it is known to be over."""
    processes = Processes()
    process = WorkerProcess(processes)
    wake_fd, fd = os.pipe()
    assert not process.has_died()
    (pid,) = (its.pid for its in processes._all)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Died) as caught:
        process.wait(PATIENCE_S, wake_fd)

    assert -signal.SIGKILL == caught.value.code
    assert process.has_died()
    assert not process.note_begun()
    processes.join()
    os.close(wake_fd)
    os.close(fd)


def test_a_forgotten_owner_lets_its_process_go() -> None:
    """Nobody asks any more, so it leaves by itself."""
    processes = Processes()
    process = WorkerProcess(processes)
    owner = weakref.ref(process)
    (its,) = processes._all
    del process

    assert owner() is None
    wait_until(its.has_ended)
    assert 0 == its.exit_code()
    processes.join()


# ── time limits ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fn", [hang, hold_the_lock, hang_with_child])
def test_a_call_that_takes_too_long_is_ended_with_all_it_started(
    make: Maker, tmp_path: Path, fn: Callable[[str], Any]
) -> None:
    """Wherever it is, in C with the interpreter's lock too; its thread goes on only when the process is gone."""
    work = make(fn, timeout_s=0.5, kill_grace_s=0.1)
    path = tmp_path / "pids"
    began_s = monotonic()
    with pytest.raises(AttemptFailed, match=r"^timeout after 0\.5 s$") as caught:
        work(attempt(str(path)))
    pids = [int(pid) for pid in path.read_text().split()]

    assert monotonic() - began_s >= 0.5
    assert not isinstance(caught.value, PermanentError)
    assert (2 if fn is hang_with_child else 1) == len(pids)
    assert not lives(pids[0])
    wait_gone(lambda: set(filter(lives, pids)))


def test_a_call_that_leaves_when_its_time_is_up_takes_along_what_it_has_started(
    make: Maker, tmp_path: Path
) -> None:
    """Also what does not hear TERM: the promise is all that it started, however the process itself ends."""
    work = make(leave_deaf_child, timeout_s=0.1, kill_grace_s=5.0)
    started = []
    for number in range(10):
        path = tmp_path / f"pid-{number}"
        with pytest.raises(AttemptFailed, match=r"^timeout after 0\.1 s$"):
            work(attempt(str(path)))
        started.append(pid_in(path))
    left = set(filter(lives, started[:-1]))  # the last may be about to end
    for child in filter(lives, started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    assert set() == left


def test_a_call_that_crashes_takes_along_what_it_has_started(make: Maker, tmp_path: Path) -> None:
    """It may be tried again, and must not find its own program at work."""
    path = tmp_path / "pid"

    with pytest.raises(AttemptFailed, match="its process died: killed by signal 9"):
        make(crash_with_child)(attempt(str(path)))

    wait_until(lambda: not lives(pid_in(path)))


def test_a_call_that_took_too_long_is_tried_again(tmp_path: Path) -> None:
    """Each try in a process of its own, and none of them is left."""
    path = tmp_path / "pids"
    sink = RecordingSink()

    summary = run(hang, [str(path)], max_retries=2, timeout_s=0.2, abort_grace_s=0.05, sinks=[sink])

    assert {str(path): "timeout after 0.2 s"} == failures(sink)
    assert (0, 1, 2) == (summary.succeeded, summary.failed, summary.retries)
    pids = [int(pid) for pid in path.read_text().split()]
    assert 3 == len(set(pids)) == len(pids)
    assert not any(map(lives, pids))


def test_a_call_that_asks_is_told_that_its_time_is_up(make: Maker, tmp_path: Path) -> None:
    """It has the grace for what it wants to leave in order, and ends it early by returning; it has failed all the same."""
    work = make(wait_until_told, timeout_s=0.2, kill_grace_s=20.0)
    began_s = monotonic()
    with pytest.raises(AttemptFailed, match=r"^timeout after 0\.2 s$"):
        work(attempt(str(tmp_path / "told")))

    assert "began\ntold\n" == (tmp_path / "told").read_text()
    assert monotonic() - began_s < 20.0


def test_a_time_limit_holds_for_each_attempt_anew(make: Maker) -> None:
    """A process that lives longer than the limit is none that takes too long."""
    work = make(who, timeout_s=0.2)
    pid, _ = work(attempt(1))
    beginning_s = monotonic()
    wait_until(lambda: monotonic() > beginning_s + 0.25)

    assert pid == work(attempt(2))[0]


def test_a_time_limit_holds_without_the_fork_server(make: Maker, tmp_path: Path) -> None:
    """Whoever kills that does not take from us the means to end what it has forked."""
    work = make(hang, timeout_s=0.5, kill_grace_s=0.1)
    path = tmp_path / "pids"
    calling = Spawned(lambda: work(attempt(str(path))))
    pid = pid_in(path)
    os.kill(server := fork_server(os.getpid()), signal.SIGKILL)
    wait_until(lambda: not lives(server))
    with pytest.raises(AttemptFailed, match=r"^timeout after 0\.5 s$"):
        calling.result()

    assert not lives(pid)


def test_calls_go_on_without_the_fork_server(tmp_path: Path) -> None:
    """What runs ends well, as its first try, and what comes later gets processes from another server."""
    fn = DieBeside(tmp_path)
    sink = RecordingSink()

    def source() -> Iterator[str]:
        yield "first"
        gate.wait_arrivals(1)
        os.kill(server := fork_server(os.getpid()), signal.SIGKILL)
        wait_until(lambda: not lives(server))
        yield "second"
        gate.wait_arrivals(2)
        gate.let_out(2)
        sink.wait_for(JobSucceeded, 2)
        yield "kill"

    with FileGate(tmp_path) as gate:
        summary = run(fn, source(), workers=2, max_retries=1, sinks=[sink])

    assert {"kill": DEATHS["kill"]} == failures(sink)
    assert (2, 1, 1) == (summary.succeeded, summary.failed, summary.retries)
    assert [1, 1, 2] == [len(fn.pids(name)) for name in ("first", "second", "kill")]


# ── a forced stop ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fn", [hang, hold_the_lock, hang_with_child])
def test_a_forced_stop_ends_whatever_runs(make: Maker, tmp_path: Path, fn: Callable[[str], Any]) -> None:
    """Within the grace and a second; it is told as cut short, and nothing more is started."""
    work = make(fn, kill_grace_s=0.3)
    path = tmp_path / "pids"
    calling = Spawned(lambda: work(attempt(str(path))))
    pid = pid_in(path)
    began_s = monotonic()
    work.abort()
    work.abort()
    with pytest.raises(Interrupted, match="ended by the forced stop"):
        calling.result()
    took_s = monotonic() - began_s
    before = children()
    with pytest.raises(Interrupted, match="not started"):
        work(attempt(str(path)))

    assert took_s < 0.3 + _SLACK_S
    assert fn is hang_with_child or took_s >= 0.3  # that one returns when its child has been told to end
    assert not lives(pid)
    assert children() <= before
    wait_gone(lambda: {int(pid) for pid in path.read_text().split() if lives(int(pid))})


def test_a_forced_stop_of_a_run_charges_nothing(tmp_path: Path) -> None:
    """Calls that hold the interpreter's lock are unfinished, not failed; when the result is there no process is."""
    before = children()
    path = tmp_path / "pids"
    run_ = start(
        hold_the_lock, [str(path)] * 5, executor="processes", policy=FixedScaling(2), abort_grace_s=0.2
    )
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 2)
    began_s = monotonic()
    run_.abort()
    summary = run_.result()

    assert monotonic() - began_s < 0.2 + _SLACK_S
    assert (0, 0, 5, 0) == (summary.succeeded, summary.failed, summary.unfinished, summary.retries)
    assert not summary.is_abandoned
    assert children() <= before
    assert 2 == path.read_text().count("\n")


def test_a_pool_of_the_users_own_is_left_alone(make: Maker) -> None:
    """Its workers hear the signal that ends them, though ours are kept from what is sent to the program's group."""
    work = make(double)
    assert 4 == work(attempt(2))
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        assert [0, 2, 4] == pool.map(double, range(3))
        assert 6 == work(attempt(3))
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]  # the stdlib's, which the pool has begun


def test_the_fork_server_ends_with_the_last_who_needs_it(make: Maker) -> None:
    """Not with the first of two."""
    first, second = make(double), make(double)
    assert [2, 4] == [first(attempt(1)), second(attempt(2))]
    server = fork_server(os.getpid())
    first.close()
    assert lives(server)
    second.close()

    assert not lives(server)


def test_the_last_resort_kills_all_at_once(make: Maker, tmp_path: Path) -> None:
    """No grace is waited for, and what they have started is gone too."""
    work = make(hang_with_child, kill_grace_s=PATIENCE_S)
    path = tmp_path / "pids"
    calling = Spawned(lambda: work(attempt(str(path))))
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 2)
    work.abort()
    work.kill()
    with pytest.raises(Interrupted):
        calling.result()

    wait_gone(lambda: {int(pid) for pid in path.read_text().split() if lives(int(pid))})


# ── as a library ────────────────────────────────────────────────────────────────────────────────────


def test_a_function_that_cannot_be_sent_is_refused_by_name() -> None:
    """A lambda, and a function made by another: before anything is started, and before a record is drawn."""

    def closure(_: object) -> None: ...

    before = children()
    records = iter([1])
    for fn in (lambda _: None, closure):
        with pytest.raises(TypeError) as caught:
            start(fn, records, executor="processes")
        assert fn.__qualname__ in str(caught.value)
        assert "cannot be sent to a process" in str(caught.value)

    assert children() == before
    assert [1] == list(records)


def test_a_record_that_cannot_be_sent_or_read_fails_alone() -> None:
    """And no other try would help; the process goes on with the next."""
    sink = RecordingSink()
    lock, poison = threading.Lock(), Poison()

    summary = run(double, [1, lock, poison, 2], max_retries=3, sinks=[sink])

    told = failures(sink)
    assert told[lock].startswith("the record cannot be sent: TypeError: cannot pickle")
    assert told[poison] == "the record cannot be read: MemoryError: as it was read"
    assert (2, 2, 0) == (summary.succeeded, summary.failed, summary.retries)


@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_function_of_the_script_itself_works(tmp_path: Path, thread: str) -> None:
    """With the usual guard; from any thread."""
    (tmp_path / "script.py").write_text(
        "import os, threading\n"
        "from dynamic_pipeline import run\n"
        "def square(number):\n"
        "    return number * number, os.getpid()\n"
        "def main():\n"
        "    values = []\n"
        "    summary = run(square, range(10), executor='processes', on_result=lambda r: values.append(r.outcome.value))\n"
        "    print(summary.succeeded, sum(v for v, _ in values), os.getpid() in {p for _, p in values})\n"
        "if __name__ == '__main__':\n"
        + (
            "    main()\n"
            if thread == "main"
            else "    thread = threading.Thread(target=main)\n    thread.start()\n    thread.join()\n"
        )
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert ("10 285 False\n", "", 0) == (done.stdout, done.stderr, done.returncode)


def test_a_run_on_another_thread(tmp_path: Path) -> None:
    """It forks from a thread that is not the main one, and restores that thread's signal mask."""

    def run_and_look() -> tuple[Any, set[int | signal.Signals]]:
        return run(CountTries(tmp_path, 2), ["a"]), signal.pthread_sigmask(signal.SIG_BLOCK, ())

    summary, blocked = Spawned(run_and_look).result()

    assert (1, 1, set()) == (summary.succeeded, summary.retries, blocked)


def test_two_runs_at_once_do_not_meet(tmp_path: Path) -> None:
    """The abort of one, with all its processes, is nothing to the other."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with FileGate(tmp_path / "one") as one, FileGate(tmp_path / "other") as other:
        runs = [
            start(gate, range(2), executor="processes", policy=FixedScaling(2), abort_grace_s=0.1)
            for gate in (one, other)
        ]
        one.wait_arrivals(2)
        other.wait_arrivals(2)
        runs[0].abort()
        aborted = runs[0].result()
        other.let_out(2)
        kept = runs[1].result()

    assert (0, 2, 0) == (aborted.succeeded, aborted.unfinished, aborted.failed)
    assert (2, 0, 0) == (kept.succeeded, kept.unfinished, kept.retries)


def test_the_number_of_processes_follows_that_of_workers(tmp_path: Path) -> None:
    """One, four when the limit is four, and after the shrink one again, while the run goes on."""
    limit = 1
    sink = RecordingSink()
    before = children()

    def policy(_: Load) -> int:
        return limit

    with FileGate(tmp_path) as gate:
        run_ = start(
            gate, range(12), executor="processes", policy=policy, check_interval_s=0.01, sinks=[sink]
        )
        gate.wait_arrivals(1)
        assert 1 == len(children() - before)
        limit = 4
        gate.wait_arrivals(4)
        assert 4 == len(children() - before)
        limit = 1
        sink.wait_for(LimitChanged, 2)
        gate.let_out(4)
        gate.wait_arrivals(5)
        wait_until(lambda: len(children() - before) == 1)
        assert not run_.wait(0)
        gate.let_out(100)
        assert 12 == run_.result().succeeded


def test_no_process_is_left_when_the_result_is_there(tmp_path: Path) -> None:
    """After an end, after records that raise, and after an abort."""
    before = children()

    def broken() -> Iterator[int]:
        yield from range(4)
        raise ValueError("no more of them")

    assert 20 == run(double, range(20), workers=4).succeeded
    assert children() == before
    with pytest.raises(ValueError, match="no more of them"):
        run(double, broken(), workers=4)
    assert children() == before
    with FileGate(tmp_path) as gate:
        run_ = start(gate, range(9), executor="processes", policy=FixedScaling(4), abort_grace_s=0.1)
        gate.wait_arrivals(4)
        run_.abort()
        assert 9 == run_.result().unfinished
        assert children() == before


def test_runs_leave_no_descriptors_behind() -> None:
    """However many processes they have used up."""

    def crash_many() -> int:
        assert 20 == run(die, ["exit", "ok"] * 20, workers=2, max_retries=0).failed
        return open_descriptors()

    first = crash_many()

    assert max(crash_many(), crash_many()) <= first + 2  # the last processes may have been one more or less


def test_a_run_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    """Not even those of its last processes, in wait of another run."""
    with FileGate(tmp_path) as gate:
        run(double, [1])
        before = open_descriptors()
        run_ = start(gate, range(4), executor="processes", policy=FixedScaling(4))
        gate.wait_arrivals(4)
        gate.let_out(4)
        run_.result()

        assert open_descriptors() == before


def test_what_a_call_has_printed_is_out_when_it_ends(make: Maker, capfd: pytest.CaptureFixture[str]) -> None:
    """Though it never said `flush`, and though its process is killed later; once."""
    work = make(print_late)
    work(attempt("first "))
    assert "first " == capfd.readouterr().out
    work(attempt("second"))
    work.kill()
    work.close()

    assert "second" == capfd.readouterr().out
