"""The word that something is to end; said once."""

from __future__ import annotations

from collections.abc import Callable


class Stop:
    """A flag that tells its listeners when it is set; set by the orchestrator only, read by anybody.

    Listeners are called on the thread that sets it; they ring a bell or close a pipe, and never block.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._listeners: list[Callable[[], object]] = []

    def tell(self, listener: Callable[[], object]) -> None:
        """Call *listener* when the flag is set. Register before the threads start."""
        self._listeners.append(listener)

    def set(self) -> None:
        """Set the flag; again changes nothing."""
        if not self.is_set:
            self.is_set = True
            for listener in self._listeners:
                listener()
