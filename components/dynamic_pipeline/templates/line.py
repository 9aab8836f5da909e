"""Records that are commands themselves."""

from __future__ import annotations

import os

from dynamic_pipeline.records import Record
from dynamic_pipeline.templates.shell_text import display, has_control


class LineTemplate:
    """Each record is the text of a shell command: the one place where a record is code, because it was asked for."""

    risk = ""

    def fill(self, record: Record, number: int, slot: int) -> list[bytes]:  # noqa: ARG002 - as all templates
        """See `Template`."""
        return [b"/bin/sh", b"-c", record.raw]

    def display(self, record: Record, number: int, slot: int) -> str:
        """See `Template`."""
        if has_control(record.raw):
            return display(self.fill(record, number, slot))
        return os.fsdecode(record.raw)
