"""Calls that tests let run in threads, in other processes and on a cluster: all they share with the test is a folder."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from pathlib import Path
from typing import Any, NoReturn, Self

from dynamic_pipeline import PermanentError, current_job

from tests.doubles import wait_until

_LATE_S = 100.0  # longer than any test waits for what it must not let happen


class FileGate:
    """A place where calls check in, then wait to be let out, wherever they run."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        for name in ("arrived", "left"):
            (folder / name).touch()
        if not (folder / "exit").exists():
            os.mkfifo(folder / "exit")

    def __call__(self, payload: Any = None) -> Any:
        """Check in with *payload*, wait to be let out, and return it."""
        note(f"{self._folder}/arrived", payload)
        with Path(self._folder, "exit").open("rb", buffering=0) as way_out:
            way_out.read(1)
        note(f"{self._folder}/left", payload)
        return payload

    def __enter__(self) -> Self:
        self._fd = os.open(f"{self._folder}/exit", os.O_RDWR)  # so that nobody who waits sees an end
        return self

    def __exit__(self, *_: object) -> None:
        self.let_out(1000)
        os.close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return FileGate, (Path(self._folder),)

    def let_out(self, count: int = 1) -> None:
        os.write(self._fd, b"." * count)

    @property
    def arrived(self) -> list[str]:
        return Path(self._folder, "arrived").read_text().split()

    @property
    def left(self) -> list[str]:
        return Path(self._folder, "left").read_text().split()

    def wait_arrivals(self, count: int) -> None:
        """Until *count* calls have checked in, since the start."""
        wait_until(lambda: len(self.arrived) >= count)

    def wait_left(self, count: int) -> None:
        wait_until(lambda: len(self.left) >= count)


def note(path: str, what: object) -> None:
    """Add a word to the file; whole, whoever else does."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{what}\n".encode())
    os.close(fd)


class CountTries:
    """Fails until the try of this number, and keeps a tally of them."""

    def __init__(self, folder: Path, succeeds_at: int) -> None:
        self._folder, self._succeeds_at = str(folder), succeeds_at

    def __call__(self, name: str) -> str:
        note(f"{self._folder}/{name}", current_job().attempt)
        if current_job().attempt < self._succeeds_at:
            raise ConnectionError("not yet")
        return name

    def tries(self, name: str) -> list[str]:
        return Path(self._folder, name).read_text().split()


class TwoArguments(Exception):
    """Pickle cannot make it again: it has lost one of its arguments."""

    def __init__(self, first: object, second: object) -> None:
        super().__init__(first)
        self.second = second


class WithLock(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class Mute(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("not even that")


class Bad(BaseException):
    pass


ERRORS = {
    "ValueError": "ValueError: no",
    "SystemExit": "SystemExit: 3",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "GeneratorExit": "GeneratorExit",
    "TwoArguments": "TwoArguments: 1",
    "WithLock": "WithLock: locked",
    "Mute": "Mute: (its text could not be read)",
    "Bad": "Bad: of no known kind",
    "PermanentError": "PermanentError: for good",
    "group": "ExceptionGroup: two (2 sub-exceptions)",
    "recursion": "RecursionError: maximum recursion depth exceeded",
}


def fail(how: str) -> NoReturn:  # noqa: C901 - a case per kind
    """Raise what is asked for; its text is in `ERRORS`."""
    match how:
        case "ValueError":
            raise ValueError("no")
        case "SystemExit":
            raise SystemExit(3)
        case "KeyboardInterrupt":
            raise KeyboardInterrupt
        case "GeneratorExit":
            raise GeneratorExit
        case "TwoArguments":
            raise TwoArguments(1, 2)
        case "WithLock":
            raise WithLock
        case "Mute":
            raise Mute
        case "Bad":
            raise Bad("of no known kind")
        case "PermanentError":
            raise PermanentError("for good")
        case "group":
            raise ExceptionGroup("two", [ValueError(1), TwoArguments(1, 2)])
        case "recursion":
            raise RecursionError("maximum recursion depth exceeded")
    raise AssertionError(how)


class Poison:
    """Can be sent, and cannot be read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, ()


def _explode() -> NoReturn:
    raise MemoryError("as it was read")


def odd_result(kind: str) -> Any:
    """A result that cannot be sent, cannot be read, or is just large."""
    match kind:
        case "lock":
            return threading.Lock()
        case "function":
            return lambda: kind
        case "poison":
            return Poison()
        case "large":
            return b"x" * (8 << 20)
        case _:
            return kind


def die(how: str) -> str:
    """Take the process down; any other word comes back."""
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    return how


class DieOnce:
    """Takes the process down on the first try of a job, and does well on the next."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __call__(self, name: str) -> str:
        path = Path(self._folder, name)
        if not path.exists():
            note(str(path), os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)
        return name


def wait_until_told(path: str) -> str:
    """Run until the job should stop, and say so in a file."""
    note(path, "began")
    ends = threading.Event()
    while not current_job().should_stop:
        ends.wait(0.005)
    note(path, "told")
    return "late"


def hang(path: str) -> None:
    """Run for longer than anybody waits, in Python code that asks for nothing."""
    note(path, os.getpid())
    threading.Event().wait(_LATE_S)


def hold_the_lock(path: str) -> int:
    """One long call into C that never gives the interpreter's lock away."""
    note(path, os.getpid())
    return int(pow(7, 60_000_000) & 1)


def hang_with_child(path: str) -> None:
    """The same with a program that it has started, and that goes on by itself."""
    pid = os.posix_spawn("/bin/sleep", ["sleep", "100"], os.environ)
    note(path, os.getpid())
    note(path, pid)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def double(number: int) -> int:
    return 2 * number


def who(_: object) -> tuple[int, str]:
    """Where it runs."""
    return os.getpid(), threading.current_thread().name


class DieBeside:
    """Records that `die` knows take the process down; all others wait at the gate. Each execution leaves its pid."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._gate = FileGate(folder)

    def __call__(self, name: str) -> str:
        note(f"{self._folder}/pids-{name}", os.getpid())
        die(name)
        self._gate(name)
        return name

    def pids(self, name: str) -> list[int]:
        """Of the processes in which it was executed, one for each time."""
        return [int(pid) for pid in Path(self._folder, f"pids-{name}").read_text().split()]


class DiesAsItArrives:
    """Work that takes the process down which reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


class DiesBeforeItBegins:
    """Work whose process can be given an attempt, and dies before it has taken that in."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _leave_at_next_write, ()

    def __call__(self, _: object) -> NoReturn:
        raise AssertionError("it has begun")


def _leave_at_next_write() -> DiesBeforeItBegins:
    os.write = lambda *_: os._exit(3)  # pipes of multiprocessing have a name of their own for it
    return DiesBeforeItBegins()


def print_late(text: str) -> None:
    """What is printed stays in the stream's buffer."""
    print(text, end="")


def leave_deaf_child(path: str) -> None:
    """Start a program that does not hear TERM, and take the process down when the job should stop."""
    script = 'trap "" TERM; echo $$ > "$1"; exec sleep 100'
    os.posix_spawn("/bin/sh", ["sh", "-c", script, "sh", path], os.environ)
    ends = threading.Event()
    while not (os.path.exists(path) and current_job().should_stop):  # noqa: PTH110 - a string, as pickled
        ends.wait(0.005)
    os._exit(0)


def crash_with_child(path: str) -> None:
    """Start a program, and take the process down at once."""
    note(path, os.posix_spawn("/bin/sleep", ["sleep", "100"], os.environ))
    os.kill(os.getpid(), signal.SIGKILL)


def hang_or_pass(what: str) -> str:
    """A path hangs, all else comes back."""
    if "/" in what:
        hang(what)
    return what
