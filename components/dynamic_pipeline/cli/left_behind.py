"""What killed runs have left behind, put in order before anything runs: processes, open attempts, folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline_config import Settings

from dynamic_pipeline import spool_folder
from dynamic_pipeline.errors import StoppedEarly
from dynamic_pipeline.journal import orphans
from dynamic_pipeline.journal.held import ALONE_AFTER, HELD_AFTER
from dynamic_pipeline.journal.store import Store

SHOWN = 10  # numbers of jobs, or processes, in a message


def put_in_order(
    store: Store, settings: Settings, stop_signal: Callable[[], int], tell: Callable[[str], object]
) -> list[str]:
    """Deal with what killed runs have left running, and only then write down that they have ended: a kill in between
    must not make the next run forget them. Lines for the log."""
    left = store.left()
    if not left.crashed:
        return []
    dealt = orphans.deal(
        left.orphans,
        left.crashed,
        settings.journal.orphans,
        grace_s=settings.shutdown.kill_grace,
        should_stop=stop_signal,
        on_wait=lambda pids: tell(
            f"pipeline: waiting for processes that a killed run has left: {', '.join(map(str, pids[:SHOWN]))}"
        ),
    )
    if signum := stop_signal():
        raise StoppedEarly(signum)
    marker = _marker(store.path)
    recovery = store.recover(forced=_read_marker(marker))
    marker.unlink(missing_ok=True)
    for run_id in left.crashed:
        spool_folder.remove(run_id)
    notes = [
        f"the run before was killed: {recovery.interrupted} attempts were cut short, and no retry is charged for them"
    ]
    if dealt.ended or dealt.awaited:
        notes.append(
            f"{dealt.ended + dealt.awaited} processes that it had left were {'ended' if dealt.ended else 'awaited'}"
        )
    if dealt.left:
        notes.append(f"warning: processes that it had left run on: {', '.join(map(str, dealt.left[:SHOWN]))}")
    if recovery.alone:
        notes.append(
            f"warning: {ALONE_AFTER} runs or more were killed while they ran, so these jobs run alone now:"
            f" {', '.join(map(str, recovery.alone[:SHOWN]))}"
        )
    if recovery.held:
        notes.append(
            f"warning: held, because {HELD_AFTER} runs were killed while they ran alone; --retry-failed runs them again:"
            f" jobs {', '.join(map(str, recovery.held[:SHOWN]))}"
        )
    return notes


def _marker(journal: Path) -> Path:
    """The file that names a run whose user has ended it with a third signal."""
    return Path(f"{journal}.forced")


def _read_marker(marker: Path) -> list[str]:
    try:
        return [marker.read_text()]
    except (OSError, UnicodeDecodeError):
        return []


def mark_forced(journal: Path, run_id: str) -> None:
    """Leave word that the user has ended this run with a third signal.

    Raises:
        OSError: it cannot be written.
    """
    _marker(journal).write_text(run_id)
