"""Where the records come from, and what they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.records import Format
from dynamic_pipeline.stop import Stop

if TYPE_CHECKING:
    from dynamic_pipeline.sources.lines import LineSource

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def open_source(request: Request, stop: Stop) -> LineSource:
    """The records of *request*.

    Raises:
        UsageError: an input cannot be read, or its format is not clear.
    """
    from dynamic_pipeline.sources.lines import LineSource  # noqa: PLC0415 - not needed for the simulation
    from dynamic_pipeline.sources.tables import TableSource  # noqa: PLC0415 - same

    paths = request.inputs or ("-",)
    name = format_of(request)
    if name == "lines":
        return LineSource(paths, stop, separator=b"\0" if request.is_null_separated else b"\n")
    if request.is_lines:
        raise UsageError(
            f"--lines runs each line, and -i {paths[0]} is {name}", hint="--format lines takes it as lines"
        )
    if request.is_null_separated:
        raise UsageError(
            f"-0 separates lines, and {name} has none", hint="leave out -0, or say --format lines"
        )
    return TableSource(paths, stop, format=name)


def format_of(request: Request) -> Format:
    """As it was said, or by suffix; all files must agree."""
    if request.format is not None:
        return request.format
    paths = request.inputs or ("-",)
    formats = [_SUFFIXES.get(os.path.splitext(path)[1].lower(), "lines") for path in paths]  # noqa: PTH122 - text
    for path, name in zip(paths, formats, strict=True):
        if name != formats[0]:
            raise UsageError(
                f"-i {paths[0]} is {formats[0]} and -i {path} is {name}",
                hint="--format says what all of them are",
            )
    return formats[0]
