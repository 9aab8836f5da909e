"""Where calls are made. One pool, of threads (`resizable`); its workers may let `processes` or `dask` do theirs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Protocol


class ResizableExecutor(Protocol):
    """What the orchestrator asks of an engine."""

    @property
    def submit(self) -> Callable[..., Future[Any]]: ...

    def resize(self, max_workers: int, /) -> None:
        """Set the number of calls that may run at once; calls that run are not interrupted."""
        ...


class DaskClient(Protocol):
    """What is asked of a `distributed.Client`, which is an extra."""

    def get_executor(self, **settings: Any) -> Executor: ...
