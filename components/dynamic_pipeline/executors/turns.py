"""Who may run together, and who alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Turns:
    """Any number of holders at once, or a single one that is alone. Any thread.

    Who asks to be alone waits for those that hold a turn; those that come later wait for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders = 0
        self._alone = 0  # those that are alone, or wait to be
        self._is_over = False

    @contextlib.contextmanager
    def take(self, *, alone: bool = False) -> Iterator[None]:
        """Hold a turn meanwhile; blocks until there is one, or `end`."""
        with self._changed:
            if alone:
                self._alone += 1
                self._changed.wait_for(lambda: self._is_over or not self._holders)
            else:
                self._changed.wait_for(lambda: self._is_over or not self._alone)
            self._holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._holders -= 1
                self._alone -= alone
                self._changed.notify_all()

    def end(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
