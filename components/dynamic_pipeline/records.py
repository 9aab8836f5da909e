"""A record of the input: its bytes, and where they stood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

TableFormat = Literal["csv", "tsv", "jsonl"]  # records with fields
Format = Literal["lines", TableFormat]

MOST_BYTES = 1 << 20  # a longer line is a bad record; the bound that keeps memory flat whatever the input


class Record(NamedTuple):
    """One line of input, or one row of a table, without its newline."""

    raw: bytes  # cut at `MOST_BYTES`
    source: str  # the file's name as it was given, "-" for standard input
    line: int  # counts from 1
    problem: str = ""  # why no job can be made of it; empty when one can
    fields: Mapping[str, Any] | None = None  # csv, tsv: text by name; jsonl: the decoded object; else None

    @property
    def text(self) -> str:
        """The record as text: UTF-8, with other bytes kept as surrogates, so that they survive the way back."""
        return self.raw.decode("utf-8", "surrogateescape")

    @property
    def payload(self) -> dict[str, Any] | str:
        """What a Python function gets: the fields, in a dict of its own, or the text where there are none."""
        return self.text if self.fields is None else dict(self.fields)

    def __str__(self) -> str:
        return self.text
