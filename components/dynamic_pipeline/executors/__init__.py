"""Engines behind one seam: the stdlib's `Executor`, plus `resize`. One file per engine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol


class ResizableExecutor(Protocol):
    """What the orchestrator asks of an engine."""

    @property
    def submit(self) -> Callable[..., Future[Any]]: ...

    def resize(self, max_workers: int, /) -> None:
        """Set the number of calls that may run at once; calls that run are not interrupted."""
        ...
