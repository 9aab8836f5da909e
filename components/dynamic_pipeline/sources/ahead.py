"""A source that waits while it is too far ahead of what has been shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from dynamic_pipeline.errors import SourceStopped
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.lead import Lead


class Ahead:
    """The records, or jobs, of *source*, drawn no further ahead than *lead* allows; in all else it is that source."""

    def __init__(self, source: Iterable[Any], lead: Lead) -> None:
        self._source = source
        self._lead = lead

    def __iter__(self) -> Iterator[Any]:
        records = iter(self._source)
        for drawn in itertools.count():
            if not self._lead.wait_room(drawn):  # before it draws: a record in hand would have to be run
                raise SourceStopped
            try:
                record = next(records)
            except StopIteration:
                return
            self._lead.order.append(record.id if isinstance(record, Job) else drawn + 1)
            yield record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)
