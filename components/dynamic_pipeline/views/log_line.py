"""Event → log lines, in the seed's words. Pure text; the sink adds time and place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from dynamic_pipeline import events as ev
from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.records import Record
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.views.escape import escape


class Line(NamedTuple):
    """One line: how grave, what happened, the text, and the same as fields."""

    level: str
    event: str
    text: str
    fields: dict[str, Any]


def log_lines(event: ev.Event, stats: Stats, now_s: float) -> Iterator[Line]:
    """The lines for *event*; *stats* and *now_s* (a monotonic clock) give rates and estimates."""
    match event:
        case ev.JobSucceeded(attempt, outcome):
            who = worker_name(outcome.worker)
            fields = _job_fields(attempt, outcome.worker, outcome.elapsed_s)
            yield Line("INFO", "job_succeeded", f"✓ job {attempt.job.id} handled by {who}", fields)
            yield from _stragglers(attempt, outcome.value)
        case ev.JobRetrying(attempt, outcome, max_retries, delay_s):
            who = worker_name(outcome.worker)
            when = f" in {delay_s:.{1 if delay_s >= 1 else 3}f}s" if delay_s else ""
            text = f"[{who}] job {attempt.job.id} failed, retrying{when} ({attempt.number}/{max_retries})"
            fields = _job_fields(attempt, outcome.worker, outcome.elapsed_s) | {"error": outcome.error}
            yield Line("WARNING", "job_retrying", text, fields)
        case ev.JobFailed(attempt, outcome):
            who = worker_name(outcome.worker)
            fields = _job_fields(attempt, outcome.worker, outcome.elapsed_s) | {"error": outcome.error}
            if isinstance(record := attempt.job.payload, Record):
                fields |= {"record": str(record), "source": record.source, "line": record.line}
            yield Line("ERROR", "job_failed", f"[{who}] job {attempt.job.id} permanently failed", fields)
            text = f"✗ job {attempt.job.id} handled by {who}, ERROR: {escape(outcome.error)}"
            yield Line("ERROR", "job_handled", text, fields)
            yield from _stragglers(attempt, outcome.value)
        case ev.LimitChanged(old, new, backlog, reason):
            fields = {"old": old, "new": new, "backlog": backlog, "reason": reason}
            yield Line("INFO", "backlog_size", f"backlog size: {backlog}", {"backlog": backlog})
            text = f"↑ added worker (total {new})" if new > old else f"↓ removed worker (total {new})"
            yield Line("INFO", "limit_changed", text, fields)
            if not new:
                text = f"paused: {escape(reason)}; nothing is started until there are workers again"
                yield Line("WARNING", "paused", text, fields)
        case _:
            yield from _run_lines(event, stats, now_s)


def _run_lines(event: ev.Event, stats: Stats, now_s: float) -> Iterator[Line]:  # noqa: C901 - one case per event
    facts: dict[str, Any]
    match event:
        case ev.RunStarted(limit):
            text = "pipeline running — press Ctrl+C to start graceful drain"
            yield Line("INFO", "run_started", text, {"limit": limit})
        case ev.SourceStalled(target_per_s, queued, capacity):
            rate = stats.rate_per_s(now_s)
            wait = f"about {queued / rate:.0f}s" if rate > 0 else "unknown"
            text = f"rate target {target_per_s:.1f}/s, actual {rate:.1f}/s, queue {queued}/{capacity}, wait {wait}"
            fields = {"target_per_s": target_per_s, "actual_per_s": rate, "queued": queued}
            yield Line("INFO", "source_stalled", text, fields)
        case ev.SourceResumed(target_per_s):
            text = f"rate target {target_per_s:.1f}/s, the queue has room again"
            yield Line("INFO", "source_resumed", text, {"target_per_s": target_per_s})
        case ev.Warned(text):
            yield Line("WARNING", "warned", f"warning: {escape(text)}", {})
        case ev.Progress(backlog, retrying, limit, oldest):
            rate = stats.rate_per_s(now_s)
            text = (
                f"progress ok={stats.succeeded} failed={stats.failed} backlog={backlog} retrying={retrying}"
                f" workers={limit} rate={rate:.1f}/s oldest={f'job {oldest.id}' if oldest else 'none'}"
            )
            facts = {"succeeded": stats.succeeded, "failed": stats.failed, "backlog": backlog}
            facts |= {"retrying": retrying, "limit": limit, "rate_per_s": round(rate, 3)}
            yield Line("INFO", "progress", text, facts | {"oldest": oldest and oldest.id})
        case ev.DrainStarted(reason, signal, backlog, limit):
            why = "signal received" if signal is not None else escape(reason)
            facts = {"signal": signal, "backlog": backlog}
            # Also for those who asked for quiet: they must know that they are heard, and what a second one does.
            yield Line("WARNING", "drain_started", f"{why} — stopping producer, beginning drain", facts)
            yield Line("WARNING", "drain_estimate", _estimate(backlog, limit, stats), facts)
        case ev.Draining(backlog):
            yield Line("INFO", "draining", f"draining backlog={backlog}", {"backlog": backlog})
        case ev.AbortStarted(reason, unfinished):
            text = f"{escape(reason)} — ending what runs, {unfinished} jobs in hand"
            yield Line("WARNING", "abort_started", text, {"unfinished": unfinished})
        case ev.JobsClosed():
            yield Line("INFO", "jobs_closed", "jobs channel closed — stopping workers and supervisor", {})
        case ev.RunFinished(is_graceful):
            fields = {"succeeded": stats.succeeded, "failed": stats.failed, "unfinished": stats.unfinished}
            if is_graceful and not stats.unfinished:
                yield Line("INFO", "run_finished", "graceful exit complete", fields)
            else:
                text = f"stopped with {stats.unfinished} jobs unfinished"
                yield Line("WARNING", "run_finished", text, fields)


def worker_name(thread: str) -> str:
    """A worker's thread name in the seed's words: `worker-02` → `worker 02`."""
    return thread.replace("-", " ", 1)


def _job_fields(attempt: Any, worker: str, elapsed_s: float) -> dict[str, Any]:
    return {
        "job": attempt.job.id,
        "attempt": attempt.number,
        "worker": worker,
        "elapsed_s": round(elapsed_s, 6),
    }


def _stragglers(attempt: Attempt, value: object) -> Iterator[Line]:
    if isinstance(value, CommandReport) and value.has_left_some:
        text = f"job {attempt.job.id} has ended and left processes behind that run on"
        yield Line("WARNING", "job_left_some", text, {"job": attempt.job.id})


def _estimate(backlog: int, limit: int, stats: Stats) -> str:
    """About how long the drain will take: backlog x mean service time / workers (Little's law at saturation)."""
    service_s = stats.service_time_s()
    limit = max(1, limit)  # a paused run drains with one
    about = "" if service_s is None else f", about {backlog * service_s / limit:.0f}s"
    jobs, workers = f"{backlog} job{'s' * (backlog != 1)}", f"{limit} worker{'s' * (limit != 1)}"
    return f"{jobs} left{about} with {workers}; a second signal after a second or more stops now"
