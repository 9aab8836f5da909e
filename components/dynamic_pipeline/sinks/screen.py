"""A few lines that stay at the bottom of a terminal, while whatever else is written scrolls above them."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from dynamic_pipeline.descriptors import write_all

# Terminals that know it show what is between the two at once; others ignore it.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_STOPPED_S = 3.0  # nobody has drawn for so long: the process was stopped, and others have written meanwhile
_PATIENCE_S = 0.2  # for a terminal that takes nothing any more

Size = Callable[[int], os.terminal_size]


class Screen:
    """The bottom of the terminal behind *fd*. Any thread may draw, or write while the lines are `away`.

    It hides no cursor and changes no mode, so that whatever becomes of the process there is nothing to restore.
    """

    def __init__(self, fd: int, *, colors: str | None, size: Size = os.get_terminal_size) -> None:
        self._fd = fd
        self._size = size
        self._console = Console(
            force_terminal=True,
            color_system=colors,  # type: ignore[arg-type]  # one of rich's names, or None
            no_color=colors is None,
            highlight=False,
            legacy_windows=False,
            width=1000,  # lines are cut before they come here
        )
        self._turn = threading.RLock()  # whoever writes to the terminal
        self._depth = 0  # of blocks of his in which the lines are away
        self._lines: list[str] = []  # the latest, painted
        self._widths: list[int] = []  # of those that are there, in columns
        self._drawn_s = 0.0
        self._is_closed = False

    def size(self) -> os.terminal_size:
        """Columns and rows; 80 x 24 where the terminal does not tell."""
        with suppress(OSError):
            size = self._size(self._fd)
            if size.columns > 0 and size.lines > 0:
                return size
        return os.terminal_size((80, 24))

    def show(self, lines: Sequence[Text]) -> None:
        """Draw *lines* in the place of those before; while somebody else writes that is left to him."""
        self._lines = [self._paint(line) for line in lines]
        if self._turn.acquire(blocking=False):
            try:
                self._draw(self._erasing())
            finally:
                self._turn.release()

    def hold(self) -> None:
        """It is the caller's turn, until `release`: nobody else writes or draws."""
        self._turn.acquire()
        self._depth += 1

    def release(self) -> None:
        """The lines come back, if somebody has written meanwhile."""
        self._depth -= 1
        if not self._depth and self._lines and not self._widths and not self._is_closed:
            # What was written may not have ended its line: as many blanks as there are columns go to the next line
            # then, and else to the end of this one.
            self._draw(" " * self.size().columns + "\r")
        self._turn.release()

    @contextmanager
    def away(self) -> Iterator[None]:
        """The lines are away for as long as the block lasts, and then there again: around whatever is written."""
        self.hold()
        try:
            if self._widths and not self._is_closed:
                erasing, self._widths = self._erasing(), []
                self._write(_BEGIN + erasing)
            yield
        finally:
            self.release()

    def close(self) -> None:
        """Take the lines away, for good."""
        has_turn = self._turn.acquire(timeout=_PATIENCE_S)
        if not self._is_closed and self._widths and has_turn:
            self._write(self._erasing())
        self._is_closed = True
        if has_turn:
            self._turn.release()

    def leave(self) -> None:
        """The process ends at once: what comes after it must not stand behind our last line."""
        if self._widths and not self._is_closed:
            with suppress(OSError, ValueError):  # a terminal that has stalled takes nothing
                if select.select([], [self._fd], [], 0)[1]:
                    os.write(self._fd, b"\r\n")

    def _draw(self, before: str) -> None:
        if self._is_closed or not self._is_ours():
            self._write(_END)
            return
        lines = self._lines  # once: another thread may put newer ones there
        self._write(_BEGIN + before + "\r\n".join(lines) + _END)
        self._widths = [cell_len(Text.from_ansi(line).plain) for line in lines]
        self._drawn_s = monotonic()

    def _erasing(self) -> str:
        """What takes the lines away, from the end of the last one. A narrower terminal has folded them."""
        if not self._widths or monotonic() - self._drawn_s > _STOPPED_S:
            return "\r" if self._widths else ""
        columns = self.size().columns
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + "\x1b[J"

    def _is_ours(self) -> bool:
        """The terminal takes what we write for somebody who looks at it: we are not in the background."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # it is not the terminal that controls us
            return True

    def _paint(self, line: Text) -> str:
        with self._console.capture() as painted:
            self._console.print(line, end="", soft_wrap=True)
        return painted.get()

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a terminal that has gone: whoever writes a result there will tell
            write_all(self._fd, text.encode("utf-8", "replace"))


def colors_of(environ: dict[str, str]) -> str | None:
    """Which colours, by what is agreed on: `NO_COLOR` (set, and not empty) and a dumb terminal have none."""
    if environ.get("NO_COLOR") or environ.get("TERM") in {None, "", "dumb"}:
        return None
    return "256" if "256" in environ.get("TERM", "") or environ.get("COLORTERM") else "standard"
