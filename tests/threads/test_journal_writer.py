"""The journal's thread: what is answered, when, and what happens when the disk is full or the process is killed."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.journal.answers import Rejected
from dynamic_pipeline.journal.faults import JournalBroken, JournalError, JournalStuck
from dynamic_pipeline.journal.operations import Finish, Operation, Pid, Start
from dynamic_pipeline.journal.store import Store
from dynamic_pipeline.journal.writer import MOST_OPERATIONS, JournalWriter

from tests.doubles import PATIENCE_S, FakeClock
from tests.journaling import accept, begun, crash, is_sound, rows

KILLS = [6, pytest.param(48, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


class Failing:
    """A store whose next calls of `apply` fail; it notes its batches."""

    def __init__(self, store: Store, *errors: JournalError | None) -> None:
        self._store, self._errors = store, list(errors)
        self.batches: list[int] = []
        self.calls: list[str] = []

    def apply(self, batch: list[Operation]) -> list[Any]:
        if self._errors and (error := self._errors.pop(0)) is not None:
            raise error
        self.batches.append(len(batch))
        return self._store.apply(batch)

    def close(self) -> None:
        self.calls.append("close")
        self._store.close()

    def abandon(self) -> None:
        self.calls.append("abandon")
        self._store.abandon()


def stepped(store: Failing, **others: Any) -> JournalWriter:
    """A writer whose thread is the test's own."""
    return JournalWriter(store, on_crash=crash, **others)  # type: ignore[arg-type]


def run_posted(writer: JournalWriter) -> None:
    """What the thread does, up to the end that is posted now."""
    writer.close()
    writer.run()


def fail(error: Exception) -> None:
    raise error


STUCK, BROKEN = JournalStuck("full", hint="free some"), JournalBroken("fsync")


def test_everything_that_waits_is_one_transaction_and_is_answered_in_order(path: Path) -> None:
    """At most so many at once; the answer comes after the commit."""
    count = MOST_OPERATIONS + 10
    store = Failing(begun(path, *[b"%d" % n for n in range(count)]))
    writer = stepped(store)
    seen: list[tuple[int, object, int]] = []

    def then(seq: int) -> Callable[[Any], None]:
        return lambda answer: seen.append(
            (seq, answer, rows(path, "SELECT count(*) FROM attempts")[0][0])
            if seq in (1, count)
            else (seq, answer, 0)
        )

    writer.post_all((Start.of(seq, 1), then(seq)) for seq in range(1, count + 1))
    run_posted(writer)

    assert [MOST_OPERATIONS, 10] == store.batches
    assert [(1, True, MOST_OPERATIONS), (count, True, count)] == [seen[0], seen[-1]]
    assert list(range(1, count + 1)) == [seq for seq, _, _ in seen]
    assert ["close"] == store.calls


def test_a_culprit_is_answered_and_the_others_go_on(path: Path) -> None:
    """A value that does not fit is one operation's trouble."""
    answers: list[Any] = []
    writer = stepped(Failing(begun(path, b"a")))

    writer.post(Start.of(1, 1), answers.append)
    writer.post(Pid(1, 1, 1 << 80, 0), answers.append)
    writer.post(Finish.of(1, 1, "succeeded"), answers.append)
    run_posted(writer)

    assert [True, Rejected, True] == [answer if answer is True else type(answer) for answer in answers]


def test_a_stuck_journal_is_tried_again_with_growing_pauses(path: Path) -> None:
    """Told once when it begins and once when it is over; the batch stays as it was."""
    clock, pauses, told, answers = FakeClock(), [], [], []  # type: ignore[var-annotated]

    def pause(by_s: float) -> None:
        pauses.append(by_s)
        clock.advance(by_s)

    store = Failing(begun(path, b"a"), *[STUCK] * 7)
    writer = stepped(
        store, on_trouble=told.append, on_recovered=lambda: told.append("again"), now=clock, pause=pause
    )
    writer.post(Start.of(1, 1), answers.append)
    run_posted(writer)

    assert [0.25, 0.5, 1, 2, 4, 5, 5] == pauses
    assert (["full", "again"], [True], None) == (told, answers, writer.error)


def test_a_journal_that_stays_stuck_is_given_up_and_nobody_waits(path: Path) -> None:
    """All that is posted, then and later, is answered by the error; nothing is tried after it."""
    clock, answers = FakeClock(), []  # type: ignore[var-annotated]
    store = Failing(begun(path, b"a"), *[STUCK] * 99)
    writer = stepped(store, now=clock, pause=clock.advance, retry_for_s=60)
    writer.post(Start.of(1, 1), answers.append)
    writer.step(writer._posted.take_nowait())
    writer.post(Finish.of(1, 1, "succeeded"), answers.append)
    run_posted(writer)

    assert (60, [STUCK, STUCK], STUCK) == (clock.now_s, answers, writer.error)
    assert ([], ["abandon"]) == (store.batches, store.calls)


def test_a_broken_journal_is_never_tried_again(path: Path) -> None:
    """After a failed fsync the kernel may have dropped what it could not write."""
    answers: list[Any] = []
    store = Failing(begun(path, b"a"), BROKEN)
    writer = stepped(store, on_trouble=crash)
    writer.post(Start.of(1, 1), answers.append)
    run_posted(writer)

    assert ([BROKEN], [], ["abandon"]) == (answers, store.batches, store.calls)


def test_an_end_that_cannot_be_written_is_told(path: Path) -> None:
    """What was committed is there all the same."""
    store = Failing(begun(path, b"a"))
    close, store.close = store.close, lambda: fail(BROKEN)  # type: ignore[method-assign]
    answers: list[Any] = []
    writer = stepped(store)
    writer.post(Start.of(1, 1), answers.append)
    run_posted(writer)
    close()

    assert ([True], BROKEN) == (answers, writer.error)


def test_whoever_is_in_a_hurry_does_not_wait_for_a_full_disk(path: Path) -> None:
    """A second signal: one more try, then the end."""
    trouble = threading.Event()
    store = Failing(begun(path, b"a"), *[STUCK] * 99)
    writer = stepped(store, on_trouble=lambda _: trouble.set(), retry_for_s=1e6)
    writer.start()
    writer.post(Start.of(1, 1))
    assert trouble.wait(PATIENCE_S)

    writer.hurry()

    assert writer.close(PATIENCE_S)
    assert STUCK is writer.error


def test_many_threads_post_and_each_hears_of_its_own(path: Path, switch_often: None) -> None:
    """Nothing is lost, nothing is done twice; closing does what was posted before."""
    store = begun(path, *[b"%d" % n for n in range(800)])
    writer = JournalWriter(store, on_crash=crash)
    writer.start()
    heard: Counter[tuple[str, object]] = Counter()

    def work(numbers: range) -> None:
        gate = threading.Semaphore(0)

        def started(answer: object) -> None:
            heard["start", answer] += 1
            gate.release()

        def finished(answer: object) -> None:
            heard["finish", answer] += 1

        for seq in numbers:
            writer.post(Start.of(seq, 1), started)
            assert gate.acquire(timeout=PATIENCE_S)
            writer.post(Finish.of(seq, 1, "succeeded"), finished)

    threads = [threading.Thread(target=work, args=(range(1 + n * 100, 101 + n * 100),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close(PATIENCE_S)
    assert writer.close(PATIENCE_S)

    assert {("start", True): 800, ("finish", True): 800} == heard
    assert [(800,)] == rows(path, "SELECT count(*) FROM jobs WHERE state = 'S'")
    assert [path] == list(path.parent.iterdir())


def test_a_crash_of_the_thread_reaches_its_owner(path: Path) -> None:
    """Here a callback raises: the file is let go, with all that was committed; the others are answered."""
    found: list[Any] = []
    writer = JournalWriter(begun(path, b"a", b"b"), on_crash=lambda *args: found.append(args))
    answers: list[Any] = []
    writer.post_all([(Start.of(1, 1), lambda _: 1 / 0), (Start.of(2, 1), answers.append)])
    writer.start()
    writer.post(Finish.of(2, 1, "succeeded"), answers.append)

    assert writer.close(PATIENCE_S)
    assert [("journal", ZeroDivisionError)] == [(name, type(error)) for name, error in found]
    assert [(2,)] == rows(path, "SELECT count(*) FROM attempts")
    assert answers[0] is True
    assert "given up after an error of ours: ZeroDivisionError" in str(answers[1])


def test_an_error_of_ours_leaves_nobody_waiting(path: Path) -> None:
    """Whatever the store raises: it is told once, and every operation is answered, also later ones."""
    found: list[Any] = []
    store = Failing(begun(path, b"a"), MemoryError())  # type: ignore[arg-type]
    writer = JournalWriter(store, on_crash=lambda *args: found.append(args))  # type: ignore[arg-type]
    answers: list[Any] = []
    writer.start()
    for seq in range(3):
        writer.post(Start.of(seq, 1), answers.append)

    assert writer.close(PATIENCE_S)
    assert [("journal", MemoryError)] == [(name, type(error)) for name, error in found]
    assert [writer.error] * 3 == answers
    assert isinstance(writer.error, JournalError)
    assert ([], ["abandon"]) == (store.batches, store.calls)


# --- a full disk ---


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of two megabytes."""
    with tempfile.TemporaryDirectory() as top:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", top], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("nothing can be mounted here")
        try:
            yield Path(top)
        finally:
            subprocess.run(["umount", top], check=True)


def fill(folder: Path) -> Path:
    """Leave not a byte free; removing the file gives it back."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    assert 0 == shutil.disk_usage(folder).free
    return ballast


def test_a_disk_that_is_full_and_freed_again_costs_nothing_but_time(small_disk: Path) -> None:
    """What was acknowledged is there, what waited is done, on the same connection."""
    path = small_disk / "journal.db"
    store = begun(path, b"a")
    ballast = fill(small_disk)
    told: list[str] = []
    answers: list[Any] = []
    writer = JournalWriter(
        store,
        on_crash=crash,
        on_trouble=told.append,
        on_recovered=lambda: told.append("again"),
        pause=lambda _: ballast.unlink(missing_ok=True),
    )
    for number in range(100):
        writer.post(accept([b"%d" % number * 400]), answers.append)
    run_posted(writer)

    assert [True, "again"] == ["SQLITE_FULL" in told[0], told[1]]
    assert [[n] for n in range(2, 102)] == [[accepted.seq for accepted in answer] for answer in answers]
    assert [(101,)] == rows(path, "SELECT count(*) FROM jobs")
    assert is_sound(path)


_LIMITED = """
import resource, sys
from pathlib import Path
from dynamic_pipeline.journal.writer import JournalWriter
from tests.journaling import accept, begun, crash
store = begun(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
done = []
writer = JournalWriter(store, on_crash=crash, on_trouble=lambda text: print("trouble", text),
    on_recovered=lambda: print("again"), retry_for_s=float(sys.argv[2]),
    pause=lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30)) if sys.argv[3] == "free" else None)
writer.start()
for number in range(600):
    writer.post(accept([b"%d" % number * 300]), done.append)
writer.close()
print(sum(isinstance(answer, list) for answer in done), len(done), writer.error and writer.error.exit_code)
"""


@pytest.mark.parametrize("end", ["free", "stays"])
def test_a_file_that_may_not_grow_is_like_a_full_disk(path: Path, end: str) -> None:
    """A limit on the size of files: lifted, all is done; kept, what was acknowledged is there, and the rest told."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path), "60" if end == "free" else "0", end],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    trouble, *again, last = done.stdout.splitlines()
    acknowledged, answered, code = last.split()

    assert "SQLITE_IOERR_WRITE" in trouble
    assert [(int(acknowledged),)] == rows(path, "SELECT count(*) FROM jobs")
    assert (600, end == "free") == (int(answered), int(acknowledged) == 600)
    assert (["again"], "None") == (again, code) if end == "free" else ([], "4") == (again, code)
    assert is_sound(path)


# --- kill -9 ---

_WRITES = """
import os, sys, threading
from pathlib import Path
from dynamic_pipeline.journal.operations import Finish, Start
from dynamic_pipeline.journal.writer import JournalWriter
from tests.journaling import accept, crash, new_run, open_store
path, uuid, durability = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = open_store(path, durability)
store.recover()
found = store.find_work()
run = store.begin_run(new_run(uuid, "run" if found is None else "resume", found and found.work))
writer = JournalWriter(store, on_crash=crash)
room = threading.Semaphore(20)  # batches under way
left = {}
def say(word, seq):
    os.write(1, f"{word} {seq}\\n".encode())  # one call: never half a line
def accepted(answer):
    for job in answer:
            say("A", job.seq)
            left[job.seq] = len(answer) if job is answer[-1] else 0
            writer.post(Start.of(job.seq, 1), lambda answer, seq=job.seq: started(answer, seq))
def started(answer, seq):
    assert answer is True
    say("S", seq)
    writer.post(Finish.of(seq, 1, "succeeded", result="[%d]" % seq), lambda answer: finished(answer, seq))
def finished(answer, seq):
    assert answer is True
    say("F", seq)
    if left.pop(seq):
        room.release()
writer.start()
for number in range(100_000):
    room.acquire()
    writer.post(accept([b"%s %d %d" % (uuid.encode(), number, n) for n in range(number % 7 + 1)]), accepted)
writer.close()
"""


def copied(path: Path, folder: Path) -> Path:
    """The journal and its log as they are, somewhere else."""
    folder.mkdir(exist_ok=True)
    for name in (path, Path(f"{path}-wal")):
        shutil.copy(name, folder / name.name)
    return folder / path.name


@pytest.mark.parametrize("durability", ["normal", "full"])
@pytest.mark.parametrize("kills", KILLS)
def test_what_was_acknowledged_survives_kill_9(path: Path, kills: int, durability: str) -> None:
    """At any instant, again and again on the same file; what was under way is interrupted, nothing is half done."""
    rng = random.Random(kills)
    acknowledged: dict[str, set[int]] = {"A": set(), "S": set(), "F": set()}
    for number in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITES, str(path), f"run-{number}", durability],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(rng.randrange(1, 1500))]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        assert -signal.SIGKILL == process.returncode
        for word, seq in re.findall(rb"(\w) (\d+)\n", b"".join(lines) + rest):
            acknowledged[word.decode()].add(int(seq))

        # Looked at in a copy: a look at the file itself would tidy it up for the next round.
        copy = copied(path, path.parent / "copy")
        there = {
            "A": "SELECT job % 1099511627776 FROM jobs",
            "S": "SELECT job % 1099511627776 FROM attempts",
            "F": "SELECT job % 1099511627776 FROM jobs WHERE state = 'S'",
        }
        for word, statement in there.items():
            missing = acknowledged[word] - {seq for (seq,) in rows(copy, statement)}
            assert (number, word, set()) == (number, word, missing)
        assert is_sound(copy)

    assert len(acknowledged["F"]) > kills
    assert [(1, kills)] == rows(path, "SELECT count(DISTINCT work), count(*) FROM runs")
