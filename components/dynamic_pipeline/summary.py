"""How a run went, for those who asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamic_pipeline.events import JobFailed
from dynamic_pipeline.lifecycle import Ending, exit_code
from dynamic_pipeline.stats import Stats


@dataclass(frozen=True)
class Summary:
    """The end of a run. `accepted == succeeded + failed + unfinished`, or `exit_code` is 70."""

    accepted: int  # jobs made of records
    succeeded: int
    failed: int  # for good
    unfinished: int  # left undone by a forced or early stop
    retries: int  # resubmissions
    is_source_complete: bool  # the records were read to their end, or have none
    failures: tuple[JobFailed, ...]  # the first 1000 jobs that failed; of an input's records the beginning
    exit_code: int  # what the command line leaves with after such a run
    error: BaseException | None  # what stopped the run, if nobody asked for it
    is_abandoned: bool  # a job that would not end still runs on its thread
    is_mute: bool  # a sink would not end after an abort; what it held was not written
    # How many of all that failed, by what they have in common.
    causes: Mapping[str, int] = field(default_factory=dict)
    # Of earlier runs that this one resumed: passed by, because they were over. And those run although today's
    # input lacks them.
    succeeded_before: int = 0
    failed_before: int = 0
    held: int = 0  # they took the process down with them, and are not run until somebody asks for it
    missing: int = 0
    cut_short: int = 0  # those of the unfinished that had begun
    signal: int | None = None  # the first that stopped it

    @classmethod
    def of(cls, ending: Ending, stats: Stats, **others: Any) -> Summary:
        """What is known when all is over; *others* are fields that neither of the two has."""
        return cls(
            accepted=ending.accepted,
            succeeded=ending.succeeded,
            failed=ending.failed,
            unfinished=ending.unfinished,
            retries=stats.retries,
            is_source_complete=ending.is_source_complete,
            failures=tuple(stats.failures),
            exit_code=exit_code(ending),
            causes=dict(stats.causes),
            cut_short=stats.cut_short,
            signal=ending.signal,
            **others,
        )
