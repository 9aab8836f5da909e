"""What a run with a journal puts into its line."""

from __future__ import annotations

from collections.abc import Callable

from dynamic_pipeline.events import Event, Warned
from dynamic_pipeline.executors import ResizableExecutor
from dynamic_pipeline.gates import GatedEvents, GatedExecutor
from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.operations import Decide
from dynamic_pipeline.journal.writer import JournalWriter
from dynamic_pipeline.scaling import Decision, Load
from dynamic_pipeline.sources.journaled import JournaledSource

_TELLING = [Load._fields.index(name) for name in ("queued", "in_flight", "waiting", "delayed", "limit")]


class JournalLine:
    """A journal as a run sees it: who writes it, what it gives, and whom it tells."""

    writer: JournalWriter
    source: JournaledSource
    gate: GatedEvents | None = None  # of the run, once there is one

    def __init__(self) -> None:
        # Set by `stand_between`; called on the journal's thread.
        self.tell: Callable[[str], object] = bool
        self.crashed: Callable[[str, BaseException], object] = lambda *_: None
        self._looks = 0
        self._noted: tuple[object, ...] = ()

    def note_decision(self, load: Load, decision: Decision) -> None:
        """Of the supervisor's thread, at each look. One that is like the one before is not written down."""
        self._looks += 1
        news = (decision, *(load[at] for at in _TELLING))
        if (
            news != self._noted and not self.writer.is_closed
        ):  # a look that was held up may come after the end
            self._noted = news
            self.writer.post(Decide.of(self._looks, decision.limit, decision.reason, load))

    def stand_between(
        self,
        events: Handover[Event],
        executor: ResizableExecutor,
        room_bell: Bell,
        on_failed: Callable[[JournalError], object],
        crashed: Callable[[str, BaseException], object],
    ) -> tuple[GatedEvents, GatedExecutor]:
        """The doors to put in front of *events* and *executor*; *room_bell* is that of *events*.

        *on_failed* hears once that nothing can be recorded any more, *crashed* of an error of ours; neither
        may block.
        """
        self.tell = lambda text: events.put(Warned(text))
        self.crashed = crashed
        self.gate = GatedEvents(events, self.writer, events.capacity or 0, on_failed, room_bell)
        self.source.ends_at(self.gate)
        alone = self.source.alone
        return self.gate, GatedExecutor(executor, self.writer, lambda seq: seq in alone)
