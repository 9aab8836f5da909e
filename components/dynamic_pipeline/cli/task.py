"""What is to be run, and what belongs to it until it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynamic_pipeline.attempts import Work
from dynamic_pipeline.cli.engine import Engine
from dynamic_pipeline.cli.report_files import ReportFiles
from dynamic_pipeline.collector import Sink

if TYPE_CHECKING:
    from dynamic_pipeline.cli.journaling import Journal
    from dynamic_pipeline.cli.outside import Outside


@dataclass
class Task:
    """What is to be run, and how it shows."""

    run_id: str
    source: Iterable[Any]
    work: Work
    is_real: bool  # records of the user's: the jobs own stdout, and the end is told
    sinks: Sequence[Sink]
    notes: Sequence[str]  # for the log, before the first job
    reports: ReportFiles
    engine: Engine
    after_work: Callable[[], object] = bool  # called when the work has been closed
    is_silent: bool = False  # on the console, if all goes well
    journal: Journal | None = None
    retries_failed: bool = False  # of earlier runs
    outside: Outside = field(init=False)  # set before it begins

    @property
    def keeps_time(self) -> bool:
        """The work sees to time limits itself; that of a Python call on a worker's thread is another's affair."""
        return getattr(self.work, "keeps_time", False)

    def remarks(self) -> list[str]:
        """What was noticed of the records, for the log at the end."""
        remarks = []
        if getattr(self.source, "has_cr", False):
            remarks.append("warning: the lines end with CR LF; the CR was dropped")
        if blank := getattr(self.source, "blank", 0):
            remarks.append(f"{blank} blank line{'s' * (blank > 1)} skipped")
        return remarks

    def abandon(self) -> None:
        """There will be no run after all."""
        self.close()
        if self.journal is not None:
            self.journal.abandon()

    def close(self) -> None:
        getattr(self.work, "close", bool)()
        self.engine.close()
        self.after_work()

    def drop(self) -> None:
        """The process is about to leave at once."""
        self.kill()
        self.reports.discard()
        if self.journal is not None:
            self.journal.leave()

    def kill(self) -> None:
        getattr(self.work, "kill", bool)()
        self.engine.kill()
