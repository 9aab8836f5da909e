"""`--jobs-file`: the bounds of the pool, changed by a person while the run goes on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from dynamic_pipeline.scaling import Decision, Load, ScalingPolicy

Bounds = tuple[int, int]  # fewest and most workers
_MOST_BYTES = 1000  # of the file that are looked at


class JobsFilePolicy:
    """Another policy, within the bounds that a file holds. The file is read before each decision.

    `N` is a fixed number, `MIN MAX` are bounds, 0 pauses. A file that is missing or makes no sense
    changes nothing; of the latter, and of one that is missing at the start, a warning tells once.

    Args:
        path: of the file; missing at the start, *bounds* hold.
        bounds: what holds without it.
        make: the policy for bounds of at least one worker.

    Raises:
        ValueError: the file makes no sense at the start.
    """

    def __init__(self, path: str, bounds: Bounds, make: Callable[[int, int], ScalingPolicy]) -> None:
        self._path = Path(path)
        self._make = make
        self._seen = self._read()
        self._is_missing = self._seen is None  # and nobody has been told
        self._bounds = parse_bounds(self._seen) if self._seen is not None else bounds
        self._policy = make(*self._bounds) if self._bounds[1] else make(*bounds)

    def start(self) -> int:
        return self._policy.start() if self._bounds[1] else 0

    def decide(self, load: Load) -> Decision:
        warning = self._look()
        if warning:
            return Decision(load.limit, "unchanged", warning)
        least, most = self._bounds
        if not most:
            return Decision(0, f"paused by {self._path}")
        if not least <= load.limit <= most:
            return Decision(min(max(least, load.limit), most), f"{least} to {most} by {self._path}")
        return self._policy.decide(load)

    def _look(self) -> str:
        """Follow the file; the warning, if what it holds is new and makes no sense, or it was never there."""
        text = self._read()
        if self._is_missing:
            self._is_missing = False
            if text is None:
                return f"{self._path}: is not there; it is read as soon as it is"
        if text is None or text == self._seen:
            return ""
        self._seen = text
        try:
            self._bounds = parse_bounds(text)
        except ValueError as error:
            return f"{self._path}: {error}; the limits stay as they are"
        if self._bounds[1]:
            self._policy = self._make(*self._bounds)
        return ""

    def _read(self) -> str | None:
        """What it holds; None if it cannot be read, for a moment perhaps."""
        try:
            # It must not block the supervisor: a pipe without a writer reads as empty, and is no file.
            with open(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return "(no file)"
                return file.read(_MOST_BYTES).decode("utf-8", "backslashreplace")
        except OSError:
            return None


def parse_bounds(text: str) -> Bounds:
    """`N` or `MIN MAX`.

    Raises:
        ValueError: neither.
    """
    words = text.split()
    if len(words) not in (1, 2) or not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError("it must hold N or MIN MAX, whole numbers")
    numbers = [int(word) for word in words]
    least, most = numbers[0], numbers[-1]
    if least > most:
        raise ValueError(f"MIN is {least} and MAX is {most}")
    if most and not least:
        raise ValueError("MIN must be at least 1; 0 alone pauses")
    return least, most
