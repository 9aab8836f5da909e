"""A stdlib future that costs a fifth: no lock and no `Condition` until somebody waits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import _base as stdlib
from typing import Any

_PENDING, _FINISHED = stdlib.PENDING, stdlib.FINISHED
_ENDED = (stdlib.FINISHED, stdlib.CANCELLED, stdlib.CANCELLED_AND_NOTIFIED)
_making_condition = threading.Lock()


class LeanFuture(Future[Any]):
    """A stdlib future that takes no lock until somebody waits for it or asks for its state.

    A `Condition` is most of what a stdlib future costs, and one with a done-callback rarely has a waiter.
    Here two tokens stand for the two steps that a worker makes, and a pop of a list is atomic:

    1. The worker pops one to begin and one to finish; it writes the result before it pops the second.
    2. Whoever needs the condition (a waiter, `cancel`, `running`, …) first pops all that is left. The
       number tells how far the worker was: 2 pending, 1 running, 0 finished; that state is written down,
       and only then is the condition published.
    3. A worker that finds no token goes the stdlib's way from there on, under the condition.

    So a state seen under the condition changes only under the condition, as in the stdlib.
    """

    # Slots, and not defaults of the class: CPython is slow to write an attribute that shadows one.
    __slots__ = ("_done_callbacks", "_exception", "_late_condition", "_result", "_state", "_steps")

    def __init__(self) -> None:
        self._steps = [None, None]
        self._done_callbacks: list[Callable[[Future[Any]], object]] = []
        self._state = _PENDING
        self._result = None
        self._exception: BaseException | None = None
        self._late_condition: threading.Condition | None = None

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]  # made late, set once
        if self._late_condition is None:
            with _making_condition:
                if self._late_condition is None:
                    self._waiters: list[Any] = []
                    left = 0
                    while self._steps:
                        try:
                            self._steps.pop()
                        except IndexError:
                            break
                        left += 1
                    self._state = (stdlib.FINISHED, stdlib.RUNNING, stdlib.PENDING)[left]
                    self._late_condition = threading.Condition()
        return self._late_condition

    def set_running_or_notify_cancel(self) -> bool:
        try:
            self._steps.pop()
        except IndexError:
            return super().set_running_or_notify_cancel()
        return True

    def set_result(self, result: Any) -> None:
        self._result = result
        try:
            self._steps.pop()
        except IndexError:
            super().set_result(result)
            return
        self._state = _FINISHED
        if self._done_callbacks:
            self._invoke_callbacks()

    def set_exception(self, exception: BaseException | None) -> None:
        self._exception = exception
        try:
            self._steps.pop()
        except IndexError:
            super().set_exception(exception)
            return
        self._state = _FINISHED
        if self._done_callbacks:
            self._invoke_callbacks()

    def run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What a worker does with a call: `fn(*args, **kwargs)` becomes the result, unless it was cancelled.

        The stdlib's protocol in one piece: begin, call, `set_result` or `set_exception`.
        """
        steps = self._steps
        try:
            steps.pop()
        except IndexError:
            if not super().set_running_or_notify_cancel():
                return
        try:
            result = fn(*args, **kwargs) if kwargs else fn(*args)
        except BaseException as error:  # whatever a call raises belongs to its future
            self.set_exception(error)
            del self, fn, args, kwargs  # the error's traceback keeps this frame
            return
        self._result = result
        try:
            steps.pop()
        except IndexError:
            super().set_result(result)
            return
        self._state = _FINISHED
        if self._done_callbacks:
            self._invoke_callbacks()

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        # Append, then look: the worker writes the state, then pops callbacks. One of the two sees `fn`,
        # and only one of them can pop it.
        self._done_callbacks.append(fn)
        if self._state in _ENDED:
            self._invoke_callbacks()

    def _invoke_callbacks(self) -> None:
        callbacks = self._done_callbacks
        while callbacks:
            try:
                fn = callbacks.pop(0)
            except IndexError:
                return
            try:
                fn(self)
            except Exception:
                stdlib.LOGGER.exception("exception calling callback for %r", self)

    def result(self, timeout: float | None = None) -> Any:
        if self._state is not _FINISHED:
            self._wait(timeout)
        if self._state is _FINISHED and self._exception is None:
            return self._result
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if self._state is not _FINISHED:
            self._wait(timeout)
        return self._exception if self._state is _FINISHED else super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        """Block until it has ended or *timeout* seconds have passed: a callback like any other, but the first.

        A `Condition` would be made for a single wait, which costs more than the wait itself.
        """
        lock = threading.Lock()
        lock.acquire()

        def wake(_: object) -> None:
            lock.release()

        self._done_callbacks.insert(0, wake)
        if self._state in _ENDED:  # insert, then look, as in `add_done_callback`
            self._invoke_callbacks()
        if not lock.acquire(timeout=-1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)):
            with contextlib.suppress(ValueError):  # it ends just now
                self._done_callbacks.remove(wake)
