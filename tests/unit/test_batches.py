"""Records on their way to the journal."""

from __future__ import annotations

from dynamic_pipeline.journal.operations import InputMark
from dynamic_pipeline.records import Record
from dynamic_pipeline.sources.batches import MOST_RECORDS, Batch, Batches

MARKS = [InputMark(0, offset, offset, b"") for offset in range(3)]


def records(*names: int) -> list[Record]:
    return [Record(b"%d" % name, "in", name) for name in names]


def test_what_comes_while_a_batch_is_on_its_way_is_the_next_one() -> None:
    """The first goes at once; then everything that has waited, up to a limit."""
    sent: list[Batch] = []
    batches = Batches(sent.append)
    numbers = range(MOST_RECORDS + 3)
    for record in records(*numbers):
        batches.add(record, None)
    for _ in range(3):
        batches.arrived()

    assert [1, MOST_RECORDS, 2] == [len(batch.records) for batch in sent]
    assert records(*numbers) == [record for batch in sent for record in batch.records]


def test_a_batch_ends_at_a_mark() -> None:
    """The mark stands behind the last of its records, and is sent once."""
    sent: list[Batch] = []
    batches = Batches(sent.append, MARKS[0])
    first, second, third = records(1, 2, 3)
    batches.add(first, MARKS[0])
    batches.add(second, MARKS[1])
    batches.add(third, MARKS[1])
    batches.add(None, MARKS[2])
    for _ in range(3):
        batches.arrived()

    assert [Batch([first]), Batch([], MARKS[1]), Batch([second, third], MARKS[2])] == sent


def test_the_rest_goes_without_waiting() -> None:
    """In order, behind what is on its way; nothing follows it."""
    sent: list[Batch] = []
    batches = Batches(sent.append)
    for record in records(*range(MOST_RECORDS + 5)):
        batches.add(record, None)
    batches.send_rest()
    batches.arrived()

    assert [1, MOST_RECORDS, 4] == [len(batch.records) for batch in sent]


def test_a_batch_is_sent_before_anybody_else_may_send() -> None:
    """Who ends after `send_rest` has every batch before that end: the sending happens under the lock."""
    sent: list[Batch] = []
    batches = Batches(lambda batch: sent.append(batch) if batches._lock.locked() else None)
    one, two = records(1, 2)
    batches.add(one, None)
    batches.add(two, None)
    batches.arrived()
    batches.send_rest()

    assert [[one], [two]] == [batch.records for batch in sent]
