"""A thread with an owner: it is joined, and its crash reaches somebody."""

from __future__ import annotations

import threading
from collections.abc import Callable


class OwnedThread:
    """Runs *target* on a thread named *name*; what it raises goes to *on_crash(name, error)*.

    The thread is a daemon only so that one stuck in a user's source cannot keep a process alive that was
    told to leave at once; every run joins it.
    """

    def __init__(
        self, name: str, target: Callable[[], object], on_crash: Callable[[str, BaseException], object]
    ) -> None:
        self._target = target
        self._on_crash = on_crash
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            self._target()
        except BaseException as error:  # a thread that dies in silence would hang the run
            self._on_crash(self._thread.name, error)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end, *timeout_s* seconds at the most; tell whether it has ended.

        Joining a thread that never started, or oneself, returns at once.
        """
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()
