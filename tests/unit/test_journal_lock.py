"""One run at a time: who holds the journal is told, and nothing of the lock outlives its holder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dynamic_pipeline.journal.faults import JournalError, JournalLocked
from dynamic_pipeline.journal.lock import JournalLock

_HOLD = """
import sys
from pathlib import Path
from dynamic_pipeline.journal.faults import JournalLocked
from dynamic_pipeline.journal.lock import JournalLock
lock = JournalLock(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    lock.acquire()
except JournalLocked as error:
    print(error.exit_code, error, flush=True)
else:
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "journal.db"


@contextmanager
def contenders(path: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are about to take the lock, and do so when they are told."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert "ready\n" == process.stdout.readline()
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_twenty_at_once_one_gets_it_and_the_others_hear_who(path: Path) -> None:
    """They leave with 75; after `kill -9` of the holder the next one gets it at once."""
    with contenders(path, 21) as started:
        *first, late = started
        for process in first:
            go(process)
        words = [heard(process) for process in first]
        [holder] = [process for process, word in zip(first, words, strict=True) if word == "held"]
        told = f"another run holds it (process {holder.pid} on {socket.gethostname()}, since "

        assert 19 == sum(word.startswith("75 ") and told in word for word in words), words

        holder.send_signal(signal.SIGKILL)
        holder.wait()
        go(late)
        assert "held" == heard(late)


def test_the_file_of_the_lock_stays(path: Path) -> None:
    """Removing it would let two in. Released, it names nobody."""
    lock = JournalLock(path)
    lock.acquire()
    held = lock.path.stat()
    assert os.getpid() == lock.holder().pid  # type: ignore[union-attr]
    lock.release()
    lock.release()

    assert (held.st_ino, 0o600) == (lock.path.stat().st_ino, held.st_mode & 0o777)
    assert (None, False) == (lock.holder(), lock.is_held)


def test_a_second_lock_in_the_same_process_waits_too(path: Path) -> None:
    """It belongs to the object that took it, and is released from any thread."""
    one, other = JournalLock(path), JournalLock(path)
    one.acquire()

    with pytest.raises(JournalLocked) as caught:
        other.acquire()
    one.release()
    other.acquire(wait_s=5)
    other.release()

    assert 75 == caught.value.exit_code


@pytest.mark.parametrize("left", ["", "nonsense", "[1]", '{"pid": 1}', "\xff"])
def test_what_is_in_the_file_never_decides(path: Path, left: str) -> None:
    """The lock is the kernel's."""
    path.parent.mkdir()
    lock = JournalLock(path)
    lock.path.write_text(left)

    assert lock.holder() is None
    lock.acquire()
    lock.release()


def test_a_holder_that_is_dead_is_not_told(path: Path) -> None:
    """Its number may be another process's by now: the start tells them apart."""
    lock = JournalLock(path)
    lock.acquire()
    text = lock.path.read_text()
    lock.release()
    start = text.rpartition(": ")[2].rstrip("}")

    lock.path.write_text(text)
    assert os.getpid() == lock.holder().pid  # type: ignore[union-attr]
    lock.path.write_text(text.replace(f": {start}}}", f": {int(start) - 1}}}"))
    assert lock.holder() is None


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_a_lock_that_cannot_be_had_is_4(path: Path, kind: str) -> None:
    """A link to another file is not followed, and that file stays as it is."""
    path.parent.mkdir()
    lock = JournalLock(path)
    canary = path.with_name("canary")
    canary.write_text("canary")
    if kind == "link":
        lock.path.symlink_to(canary)
    else:
        lock.path.mkdir()

    with pytest.raises(JournalError) as caught:
        lock.acquire()

    assert (4, "canary") == (caught.value.exit_code, canary.read_text())
