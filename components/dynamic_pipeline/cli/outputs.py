"""What becomes of the outputs of commands."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.spool import IN_MEMORY
from dynamic_pipeline.stop import Stop

if TYPE_CHECKING:
    from dynamic_pipeline.lead import Lead
    from dynamic_pipeline.sinks.kept import KeptOutputs
    from dynamic_pipeline.sinks.output import OutputSink


class OutputPlan(NamedTuple):
    """What becomes of the outputs of commands, and what the work and the source need to know of it."""

    sink: OutputSink
    lead: Lead | None = None  # how far the source may run ahead of what is shown
    folder: str | None = None  # for outputs of running jobs
    in_memory: int = IN_MEMORY
    after_work: Callable[[], object] = bool
    kept: KeptOutputs | None = None

    def paced(self, source: Iterable[Any]) -> Iterable[Any]:
        """*source*, held where it would run too far ahead."""
        from dynamic_pipeline.sources.ahead import Ahead  # noqa: PLC0415 - not needed for the simulation

        return source if self.lead is None else Ahead(source, self.lead)


def plan_output(request: Request, stop: Stop) -> OutputPlan:
    """Where the outputs go.

    Raises:
        UsageError: the folder for them holds some already. OSError: it cannot be made.
    """
    from dynamic_pipeline.sinks.output import IN_MEMORY_IN_ORDER, OutputSink  # noqa: PLC0415 - not needed for the simulation

    if request.output is not None:
        from dynamic_pipeline.sinks.kept import KeptOutputs  # noqa: PLC0415 - same

        kept = KeptOutputs(request.output)  # of all jobs, also with -q: it was asked for
        if not request.is_resumed:  # else it is known when the journal is open
            kept.begin(is_resumed=False)
        sink = OutputSink(kept.put, spools=kept.spools)
        return OutputPlan(sink, None, kept.spools, -1, kept.close, kept)
    shown = partial(
        OutputSink,
        is_tagged=request.is_tagged,
        only_failed=request.is_quiet,
        spools=tempfile.gettempdir(),
    )
    if not request.keeps_order:
        return OutputPlan(shown())
    from dynamic_pipeline.lead import Lead  # noqa: PLC0415 - same

    lead = Lead(stop)
    sink = shown(lead=lead)
    return OutputPlan(sink, lead, in_memory=IN_MEMORY_IN_ORDER)
