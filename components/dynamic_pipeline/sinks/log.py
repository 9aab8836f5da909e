"""The log: loguru, to the console and to a file. The only module that logs.

loguru makes the records and knows the time; one fan-out function collects their text, and a batch of
events becomes one write per destination.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from loguru import logger

from dynamic_pipeline.descriptors import write_all
from dynamic_pipeline.events import Event
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.escape import escape
from dynamic_pipeline.views.log_line import Line, log_lines

if TYPE_CHECKING:
    import loguru

# Where the encoding has no such marks. Each stays one word, so that a line keeps its shape.
_ASCII_MARKS = str.maketrans({"✓": "ok", "✗": "x", "↑": "^", "↓": "v", "—": "--", "…": "..."})


INFO, WARNING = 20, 30  # loguru's numbers of these levels; those of more weight are higher


class LogTarget:
    """A descriptor that takes log text, of *least* importance or more, until it fails for the first time.

    Each text is written inside a context that *away* gives.
    """

    def __init__(
        self,
        name: str,
        fd: int,
        encoding: str = "utf-8",
        least: int = 0,
        away: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._away = away
        self.name = name
        self.least = least
        self._fd = fd
        self._encoding = encoding
        self._is_ascii = encoding.lower().replace("-", "").replace("_", "") not in ("utf8", "utf8sig")

    @classmethod
    def open_file(cls, path: str) -> LogTarget:
        """Append to the file at *path*, with its folder made if missing.

        Raises:
            OSError: it cannot be opened.
        """
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120 - one call, text in
        return cls(path, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666))

    def write(self, text: str) -> None:
        """Write all of *text*, unbuffered.

        Raises:
            OSError: the reader is gone, the disk is full, …
        """
        if self._is_ascii:
            text = text.translate(_ASCII_MARKS)
        with self._away():
            write_all(self._fd, text.encode(self._encoding, "backslashreplace"))


class LogSink:
    """Writes each event's lines to every target. A target that fails is dropped with one line; the run goes on.

    Jobs that log with loguru themselves are heard too, each record as one line with a stamp; they write on
    their own threads, hence the lock.
    """

    def __init__(self, targets: Sequence[LogTarget], *, as_json: bool = False, run_id: str = "") -> None:
        self._targets = list(targets)
        self._as_json = as_json
        self._run_id = run_id
        # Levels and lines; filled by loguru's handler, on any thread that logs.
        self._texts: deque[tuple[int, str]] = deque()
        self._writing = threading.Lock()  # one batch after the other, on all targets
        logger.remove()  # this program owns the log: nothing else may write to its console
        # `diagnose` would print the values of a job's variables, and `backtrace` frames that are not its own.
        logger.add(self._take, format="{message}", level=0, diagnose=False, backtrace=False, catch=False)

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        now_s = monotonic()
        for event in events:
            for line in log_lines(event, stats, now_s):
                logger.bind(line=line).log(line.level, line.text)
        self.flush()

    def note(self, level: str, text: str) -> None:
        """Log one line that is no event of the run; it is written with the next batch, so this never blocks."""
        text = escape(text)
        logger.bind(line=Line(level, "note", text, {})).log(level, text)

    def say(self, level: str, text: str) -> None:
        """The same, and write it."""
        self.note(level, text)
        self.flush()

    def leave(self, name: str) -> None:
        """Write no more to the target of that name; it has been told in another form."""
        self.flush()
        self._targets = [target for target in self._targets if target.name != name]

    def flush(self) -> None:
        """Write what has been collected, with one write per target."""
        with self._writing:
            lines = [self._texts.popleft() for _ in range(len(self._texts))]
            while lines and self._targets:
                ended = [notice for target in tuple(self._targets) if (notice := self._write(target, lines))]
                lines = [(WARNING, notice) for notice in ended]  # for those that are left

    def close(self) -> None:
        self.flush()

    def _write(self, target: LogTarget, lines: list[tuple[int, str]]) -> str:
        """Write, or drop *target* and return the line that tells of it."""
        try:
            target.write("".join(text for level, text in lines if level >= target.least))
        except OSError as error:
            self._targets.remove(target)
            told = Line("WARNING", "note", f"log to {escape(target.name)} ends here: {error.strerror}", {})
            return self._render(datetime.now().astimezone(), told)
        return ""

    def _take(self, message: loguru.Message) -> None:
        """loguru's handler. It is given the record, so that no format and no `opt(raw=True)` has a say in it."""
        record = message.record
        line = record["extra"].get("line")
        if isinstance(line, Line):
            # Of less weight than other news: where there is a live view it is not written.
            level = record["level"].no - (line.event == "progress")
            self._texts.append((level, self._render(record["time"], line)))
        else:  # a job's own record, on the job's thread
            line = Line(record["level"].name, "message", escape(record["message"]), {})
            self._texts.append((record["level"].no, self._render(record["time"], line)))
            self.flush()

    def _render(self, when: datetime, line: Line) -> str:
        if not self._as_json:
            return f"{when:%Y/%m/%d %H:%M:%S.%f} {line.text}\n"
        fields: dict[str, Any] = {
            "ts": when.isoformat(timespec="microseconds"),
            "level": line.level,
            "event": line.event,
            "run": self._run_id,
            "msg": line.text,
        }
        return json.dumps(fields | line.fields) + "\n"
