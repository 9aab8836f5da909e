"""Those who look at a run from outside while it goes on: Prometheus, a browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from dynamic_pipeline import __version__
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.events import Event, LimitChanged
from dynamic_pipeline.stats import Stats

if TYPE_CHECKING:
    from pipeline_config import Settings

    from dynamic_pipeline.cli.request import Request
    from dynamic_pipeline.cli.serving import Server
    from dynamic_pipeline.collector import Sink
    from dynamic_pipeline.sinks.metrics import Metrics, MetricsFile
    from dynamic_pipeline.wiring import Run

_MISSING = "it needs prometheus_client"
_HINT = "pip install 'dynamic-pipeline[metrics]'"


class _Known:
    """A sink that remembers what a page without a journal can tell."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.decision = ""

    def emit(self, events: Sequence[Event], stats: Stats) -> None:
        self.stats = stats
        for event in events:
            if isinstance(event, LimitChanged):
                self.decision = f"{event.old} to {event.new}: {event.reason}"

    def close(self) -> None:
        pass


class Outside:
    """What `--metrics-file` and `--serve` ask for. A server listens at once, so that its address is told with the other mistakes.

    Raises:
        UsageError: an address that is none, or is taken; a library that is not there.
    """

    def __init__(self, request: Request, settings: Settings) -> None:
        self._path = request.metrics_file
        self._file: MetricsFile | None = None
        self._metrics = _metrics(settings) if request.metrics_file or request.serve else None
        if self._metrics is None and request.metrics_file:
            raise UsageError(f"--metrics-file {request.metrics_file}: {_MISSING}", hint=_HINT)
        self._known = _Known()
        self._server: Server | None = None
        self._run: Run | None = None
        self._begun_s = monotonic()
        self.notes: list[str] = []
        if request.serve:
            from dynamic_pipeline.cli.serving import Server  # noqa: PLC0415 - only where it was asked for

            self._server = Server(request.serve)
            self.notes = [f"served at {self._server.url}"]
            if not self._server.is_loopback:
                self.notes.append(f"warning: everybody who reaches {self._server.url} sees this run")

    def open(self) -> None:
        """Write the file for the first time.

        Raises:
            OutputError: it cannot be written.
        """
        if self._path and self._metrics is not None:
            from dynamic_pipeline.sinks.metrics import MetricsFile  # noqa: PLC0415 - only where it was asked for

            self._file = MetricsFile(self._path, self._metrics)

    @property
    def sinks(self) -> list[Sink]:
        found = (self._metrics, self._file, self._known if self._server is not None else None)
        return [sink for sink in found if sink is not None]

    def begin(self, run: Run, run_id: str, journal: Path | None) -> None:
        """The run has begun; its page is made of *journal*, where there is one."""
        self._run = run
        if self._metrics is not None:
            self._metrics.load = lambda: run.load
        if self._server is not None:
            from dynamic_pipeline.cli.serving import Pages  # noqa: PLC0415 - only where it was asked for

            metrics = None if self._metrics is None else self._metrics.text
            self._server.begin(
                Pages(lambda: self._page(run_id, journal), lambda: self._status(run_id), metrics)
            )

    def end(self, code: int) -> list[str]:
        """The run has ended; what went wrong on the way."""
        if self._metrics is not None:
            self._metrics.end(code)
        if self._file is None:
            return []
        self._file.update()
        return [self._file.problem] if self._file.problem else []

    def _status(self, run_id: str) -> dict[str, Any]:
        assert self._run is not None, "pages are made once it has begun"
        load, stats = self._run.load, self._known.stats
        return {
            "run": run_id,
            "state": "running",
            "elapsed_s": round(monotonic() - self._begun_s, 3),
            "succeeded": stats.succeeded,
            "failed": stats.failed,
            "retries": stats.retries,
            "queued": load.queued + load.in_flight - load.running,
            "running": load.running,
            "waiting": load.waiting,
            "workers": load.limit,
            "rate_per_s": round(stats.rate_per_s(monotonic()), 3),
            "decision": self._known.decision or None,
        }

    def _page(self, run_id: str, journal: Path | None) -> bytes:
        if journal is not None:
            from dynamic_pipeline.cli.report import page_of  # noqa: PLC0415 - brings Jinja

            return b"".join(page_of(journal, run_id)[1])
        status = escape(json.dumps(self._status(run_id), indent=2))
        policy = "default-src 'none'"
        text = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            f"<title>{escape(run_id)}</title><h1>Run {escape(run_id)}</h1><pre>{status}</pre></html>\n"
        )
        return text.encode()


def _metrics(settings: Settings) -> Metrics | None:
    """None where the library is not installed."""
    try:
        from dynamic_pipeline.sinks.metrics import Metrics  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return Metrics(__version__, (settings.pipeline.min_workers, settings.pipeline.max_workers))
