"""Forgets works that are over and old."""

from __future__ import annotations

from dynamic_pipeline.journal.numbers import first_of, last_of
from dynamic_pipeline.journal.queries import queries
from dynamic_pipeline.journal.transactions import Transactions

_ROWS = 1000  # of a transaction: a reader, or a kill, never has to wait for a long one


def prune(transactions: Transactions, *, before_us: int, keep_runs: int) -> int:
    """Remove works whose last run ended before *before_us*, but those of the latest *keep_runs* runs; how many.

    Whole works without open jobs only: what is gone of a work would run again on resume. A kill in the middle
    leaves some of a work for the next time, and it is not resumed meanwhile. Never while a run writes.

    Raises:
        JournalError: the file could not be written.
    """
    named, execute, write = queries(), transactions.connection.execute, transactions.write

    def prunable() -> list[int]:
        values = {"before_us": before_us, "keep_runs": keep_runs}
        return [work for (work,) in execute(named["prunable_works"], values)]

    def remove(statement: str, *values: int) -> int:
        return write(lambda: execute(named[statement], values).rowcount)

    def remove_rest(work: int) -> None:
        execute(named["prune_runs"], (work,))
        execute(named["prune_work"], (work,))

    works = transactions.guarded(prunable)
    for work in works:
        remove("set_pruned", work)
        while remove("prune_jobs", first_of(work), last_of(work), _ROWS):
            pass
        write(lambda work=work: remove_rest(work))  # type: ignore[misc]
    if works:
        for pragma in ("incremental_vacuum", "wal_checkpoint(TRUNCATE)"):
            transactions.guarded(lambda pragma=pragma: execute(f"PRAGMA {pragma}").fetchall())  # type: ignore[misc]
    return len(works)
