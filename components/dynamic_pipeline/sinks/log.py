"""The log: loguru, to the console and to a file. The only module that logs.

loguru makes the records and knows the time; one fan-out function collects their text, and a batch of
events becomes one write per destination.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from loguru import logger

from dynamic_pipeline.events import Event
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.escape import escape
from dynamic_pipeline.views.log_line import Line, log_lines

if TYPE_CHECKING:
    import loguru

# Where the encoding has no such marks. Each stays one word, so that a line keeps its shape.
_ASCII_MARKS = str.maketrans({"✓": "ok", "✗": "x", "↑": "^", "↓": "v", "—": "--", "…": "..."})


class LogTarget:
    """A descriptor that takes log text until it fails for the first time."""

    def __init__(self, name: str, fd: int, encoding: str = "utf-8") -> None:
        self.name = name
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
        data = memoryview(text.encode(self._encoding, "backslashreplace"))
        while data:
            data = data[os.write(self._fd, data) :]


class LogSink:
    """Writes each event's lines to every target. A target that fails is dropped with one line; the run goes on."""

    def __init__(self, targets: Sequence[LogTarget], *, as_json: bool = False, run_id: str = "") -> None:
        self._targets = list(targets)
        self._as_json = as_json
        self._run_id = run_id
        self._texts: deque[str] = deque()  # filled by loguru's handler, on any thread that logs
        logger.remove()  # this program owns the log: nothing else may write to its console
        # `diagnose` would print the values of a job's variables, and `backtrace` frames that are not its own.
        logger.add(self._take, format=self._format, level=0, diagnose=False, backtrace=False, catch=False)

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        now_s = monotonic()
        for event in events:
            for line in log_lines(event, stats, now_s):
                logger.bind(line=line).log(line.level, line.text)
        self.flush()

    def say(self, level: str, text: str) -> None:
        """Log one line that is no event of the run."""
        logger.bind(line=Line(level, "note", escape(text), {})).log(level, escape(text))
        self.flush()

    def flush(self) -> None:
        """Write what has been collected, with one write per target."""
        text = "".join(self._texts.popleft() for _ in range(len(self._texts)))
        if not text:
            return
        for target in tuple(self._targets):
            try:
                target.write(text)
            except OSError as error:
                self._targets.remove(target)
                self.say("WARNING", f"log to {target.name} ends here: {error.strerror}")

    def close(self) -> None:
        self.flush()

    def _take(self, message: loguru.Message) -> None:
        self._texts.append(str(message))
        if "line" not in message.record["extra"]:  # a job's own use of loguru, on the job's thread
            self.flush()

    def _format(self, record: loguru.Record) -> str:
        """loguru calls this for a template; ours is always the finished text, so no data is ever a template."""
        line: Line | None = record["extra"].get("line")
        text = line.text if line is not None else escape(record["message"])
        if self._as_json:
            record["extra"]["out"] = self._json(record, line, text)
        else:
            record["extra"]["out"] = f"{record['time']:%Y/%m/%d %H:%M:%S.%f} {text}"
        return "{extra[out]}\n"

    def _json(self, record: loguru.Record, line: Line | None, text: str) -> str:
        fields: dict[str, Any] = {
            "ts": record["time"].isoformat(timespec="microseconds"),
            "level": record["level"].name,
            "event": line.event if line is not None else "message",
            "run": self._run_id,
            "msg": text,
        }
        return json.dumps(fields | (line.fields if line is not None else {}))
