"""The statements of `queries.sql`, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def read_sql(name: str) -> str:
    """The text of the file *name* of this package."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def queries() -> Mapping[str, str]:
    """All named statements, without the comments before them and the last semicolon."""
    _, *parts = _NAME.split(read_sql("queries.sql"))
    return {
        name: "\n".join(line for line in text.splitlines() if line and not line.startswith("--")).rstrip(";")
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
