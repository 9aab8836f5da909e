"""Records with names: the rows of CSV and TSV files, and the objects of JSON lines."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from dynamic_pipeline.errors import SourceError, UsageError
from dynamic_pipeline.journal.operations import InputMark
from dynamic_pipeline.records import MOST_BYTES, Record, TableFormat
from dynamic_pipeline.sources.lines import STDIN, LineSource
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.views.escape import escape

_MOST_NESTED = 250  # levels; Python takes a thousand, and who shows such a value needs some of them
_TOO_DEEP = f"it is nested more than {_MOST_NESTED} levels deep"
_KINDS = {list: "a JSON array", str: "a JSON string", bool: "a JSON boolean", type(None): "JSON null"}


class TableSource(LineSource):
    """The records of *paths*, one file after the other, each with its fields by name; `-` is standard input.

    csv, tsv: the first row of each file is its header; quoted fields may span lines. jsonl: an object per
    line. Blank lines are skipped. What breaks a rule, is over a mebibyte or nested too deeply, becomes a bad
    record, and reading goes on with the next line. A source that waits for a pipe gives up when *stop* is set.

    Raises:
        UsageError: a path cannot be read. SourceError: later, while reading, also for a header that is none.
    """

    def __init__(self, paths: Sequence[str], stop: Stop, *, format: TableFormat) -> None:  # noqa: A002 - as users say it
        super().__init__(paths, stop)
        self._format = format
        self.headers: dict[str, bytes] = {}  # by path, once its rows are read; the producer writes it
        self._kept: dict[str, Iterator[_Row]] = {}  # pipes whose header was read: they cannot be opened again
        csv.field_size_limit(max(csv.field_size_limit(), MOST_BYTES))

    def names(self) -> tuple[str, ...] | None:
        """The names that all headers have, in the first one's order; None for jsonl, which has no header.

        Call it before the records are drawn. An empty file has neither header nor records, and no say.

        Raises:
            UsageError: a header is no CSV, or a name in it is empty or there twice.
        """
        if self._format == "jsonl":
            return None
        names: tuple[str, ...] | None = None
        for path in dict.fromkeys(self._paths):
            header = set(own := self._peek(path))
            if own:
                names = own if names is None else tuple(name for name in names if name in header)
        return names or ()

    def keep_mark(self, known: InputMark | None = None) -> bool:
        """The same for jsonl; csv and tsv have no marks: behind a newline a row may go on."""
        return self._format == "jsonl" and super().keep_mark(known)

    def __iter__(self) -> Iterator[Record]:
        try:
            yield from super().__iter__()
        finally:
            self._kept.clear()

    def _records(self, path: str) -> Iterator[Record]:
        return map(_with_object, super()._records(path)) if self._format == "jsonl" else self._table(path)

    def _peek(self, path: str) -> tuple[str, ...]:
        """The header of *path*, which is read as if for the first time afterwards."""
        blank, rows = self.blank, self._rows(path)
        header = next(rows, None)
        if path == STDIN or not Path(path).is_file():
            self._kept[path] = chain([] if header is None else [header], rows)
        else:
            self.blank = blank  # they will be counted when the file is read
        if header is None:
            return ()
        if problem := _header_problem(header):
            raise UsageError(f"-i {path}: {problem}")
        return tuple(header.values)

    def _table(self, path: str) -> Iterator[Record]:
        rows = self._kept.pop(path, None) or self._rows(path)
        if (header := next(rows, None)) is None:
            return
        if problem := _header_problem(header):
            raise SourceError(f"{path}: {problem}")
        self.headers[path] = header.raw
        names = header.values
        for line, raw, values, problem in rows:
            if not problem and len(values) == len(names):
                yield Record(raw, path, line, "", dict(zip(names, values, strict=True)))
            else:
                count = f"{len(values)} field{'s' * (len(values) != 1)}, the header has {len(names)}"
                yield Record(raw, path, line, problem or count)

    def _rows(self, path: str) -> Iterator[_Row]:
        """All rows of *path* but blank ones, the header among them."""
        feed, width = _Feed(self._lines(path)), 0
        # One reader for all: the csv module begins each row anew, also after an error within quotes.
        reader = csv.reader(feed, delimiter="\t" if self._format == "tsv" else ",", strict=True)
        while True:
            feed.begin_row()
            values, problem = [], ""
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                text = "a CR outside quotes" if "new-line" in str(error) else escape(str(error))
                problem = feed.problem or f"not {self._format.upper()}: {text}"
            raw = self._without_cr(b"\n".join(feed.lines)[:MOST_BYTES])
            # White space may be the value of a single column; elsewhere it is a blank line.
            if not problem and not raw.strip() and len(values) <= (width != 1):
                self.blank += 1
                continue
            width = width or len(values)
            yield _Row(feed.first, raw, values, problem)


class _Row(NamedTuple):
    line: int  # where it starts
    raw: bytes
    values: list[str]
    problem: str


class _Feed:
    """Gives the csv module its lines, and remembers those of the row that it reads."""

    def __init__(self, lines: Iterator[tuple[int, bytes, bool]]) -> None:
        self._source = lines
        self.begin_row()

    def begin_row(self) -> None:
        self.lines: list[bytes] = []
        self.first = 0
        self.problem = ""
        self._size = -1  # the last newline does not count

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        for number, raw, is_whole in self._source:
            self.first = self.first or number
            self.lines.append(raw)
            self._size += len(raw) + 1
            if not is_whole or self._size > MOST_BYTES:
                hint = ": is a quote left open?" if len(self.lines) > 1 else ""
                self.problem = f"the record is longer than {MOST_BYTES} bytes{hint}"
                raise csv.Error
            return raw.decode("utf-8", "surrogateescape") + "\n"
        self.problem = "a quote is open at the end of the file"
        raise StopIteration


def _header_problem(header: _Row) -> str:
    if header.problem:
        return f"line {header.line}: the header is bad: {header.problem}"
    seen = set()
    for column, name in enumerate(header.values, 1):
        if not name.strip():
            return f"line {header.line}: column {column} of the header has no name"
        if name in seen:
            return f'line {header.line}: the header has the name "{escape(name)}" twice'
        seen.add(name)
    return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"not JSON: {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"not JSON: {digits[:40]} is beyond the range of numbers")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f'the key "{escape(twice)}" is there twice')
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)


def _with_object(record: Record) -> Record:
    """*record* with the object that its text is, or with the reason why it is none."""
    if record.problem:
        return record
    try:
        found = _DECODER.decode(record.text)
    except json.JSONDecodeError as error:
        return record._replace(problem=f"not JSON: {error.msg} at column {error.colno}")
    except ValueError as error:  # ours; digits by the thousand
        return record._replace(problem=str(error))
    except RecursionError:  # brackets within brackets
        return record._replace(problem=_TOO_DEEP)
    if isinstance(found, dict):
        is_nested = _is_nested(found, record.raw)
        return record._replace(problem=_TOO_DEEP) if is_nested else record._replace(fields=found)
    return record._replace(problem=f"{_KINDS.get(type(found), 'a JSON number')}, not an object")


def _is_nested(value: dict[str, Any], text: bytes) -> bool:
    """Whether *value*, written as *text*, has more levels than we take."""
    if text.count(b"[") + text.count(b"{") <= _MOST_NESTED:  # nearly always, and quickly told
        return False
    level: list[Any] = [value]
    for _ in range(_MOST_NESTED):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return False
    return True
