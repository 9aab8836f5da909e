"""What all templates can do."""

from __future__ import annotations

from typing import Protocol

from dynamic_pipeline.records import Record


class Template(Protocol):
    """Makes a command of a record. Many threads may ask at once."""

    @property
    def risk(self) -> str:
        """Where a value would be read as code, and the way out; empty when nowhere."""

    def fill(self, record: Record, number: int, slot: int) -> list[bytes]:
        """The words to start for *record*, the job's *number* in the run, on *slot*.

        Raises:
            BadRecord: the record lacks a field.
        """

    def display(self, record: Record, number: int, slot: int) -> str:
        """The same command for the eye, on one line: copied into bash, it does what the job does.

        Raises:
            BadRecord: the record lacks a field.
        """
