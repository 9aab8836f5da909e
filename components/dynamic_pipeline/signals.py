"""Signals as messages: handlers are empty, the main thread reads what the kernel wrote to a socket.

Anything in a handler that takes a lock (`Event.set`, `Queue.put`, logging) can deadlock with the code it
interrupted; `signal.set_wakeup_fd` needs no handler to do anything.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from time import monotonic

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_FORCING = 2  # the stage that ends what runs; SIGQUIT begins with it
# A launcher or a process group may deliver one Ctrl+C twice: a second signal counts after this time only.
_SECOND_AFTER_S = 1.0
_THIRD_AFTER_S = 0.2


class SignalInbox:
    """Stop signals, for the main thread to wait on.

    A signal that was ignored when we started (`nohup`, `&` in a script) stays ignored. From `open` on no
    `KeyboardInterrupt` is raised, until `restore`.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._now = now
        self._stage = 0
        self._counted_at_s = float("-inf")
        self._before: dict[signal.Signals, object] = {}
        self._fd_before = -1

    def open(self) -> None:
        """Begin to listen. Only the main thread may."""
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for signum in STOP_SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, lambda *_: None)

    def stop_listening(self) -> None:
        """The run is over; a late signal changes nothing any more, also while the interpreter ends.

        It would give the signals back to the system before that, and a last Ctrl+C would turn the exit code into its own.
        """
        signal.set_wakeup_fd(-1)
        for signum in self._before:
            signal.signal(signum, signal.SIG_IGN)

    def restore(self) -> None:
        """Give the signals back to whoever had them before `open`."""
        signal.set_wakeup_fd(self._fd_before)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]  # what `signal.signal` returned
        self._reader.close()
        self._writer.close()

    def wake(self) -> None:
        """End the iteration. Any thread may call it, also after the inbox was closed."""
        with contextlib.suppress(OSError):
            self._writer.send(b"\0")

    def pending(self) -> int:
        """A stop signal that has come and was not iterated over yet; 0 if there is none. It stays there."""
        try:
            waiting = self._reader.recv(64, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        return next((number for number in waiting if number in STOP_SIGNALS), 0)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(stage, signal) for each signal that counts, stage 1, 2, 3; ends when `wake` is called."""
        while True:
            for number in self._reader.recv(64):
                if number == 0:
                    return
                if number in STOP_SIGNALS and (stage := self._count(number)):
                    yield stage, number

    def _count(self, signum: int) -> int:
        """The stage that this signal begins, or 0 if it is the echo of the one before."""
        now_s = self._now()
        is_quit = signum == signal.SIGQUIT and self._stage < _FORCING
        patience_s = 0.0 if is_quit else (0.0, _SECOND_AFTER_S, _THIRD_AFTER_S)[min(self._stage, 2)]
        if now_s - self._counted_at_s < patience_s:
            return 0
        self._counted_at_s = now_s
        self._stage = max(self._stage + 1, _FORCING if is_quit else 0)
        return self._stage
