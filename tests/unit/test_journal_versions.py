"""A journal of every version that was ever written can still be resumed: one file of each, as a killed run left it.

`python -m tests.unit.test_journal_versions` writes that of the present version, if there is none yet. A file is never made
again: what it looks like is what users have.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from dynamic_pipeline.journal import schema
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.operations import Decide, Finish, InputMark, NewJob, Pending, Pid, Start
from dynamic_pipeline.journal.reader import Reader

from tests.journaling import TASK, accept, begun, is_sound, job_of, resumed, rows

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = range(1, schema.VERSION + 1)
DECISION = Decide.of(1, 3, "backlog 9 >= 8", (4, 2, 1, 2, 0, 77.5, 1.25, 6, 3, 200, 0), at_us=5)
RECORDS = [b"done", b"failed", b"again", b"open", b"same", b"same", b"\xff\x00 bytes"]


def fixture(version: int) -> Path:
    return FIXTURES / f"journal-v{version}.db"


def write(path: Path) -> None:
    """A run with something of everything, killed; all of it in the one file."""
    mark = InputMark(0, 44, len(RECORDS), b"\x01" * 16)
    store = begun(path)
    named = NewJob.of(
        job_of(b"1,2").key, b"1,2", record_format="csv", fields='{"a": "1"}', source="t.csv", line=2
    )
    store.apply([accept(RECORDS, mark), accept([b"behind the mark"])._replace(records=(named,))])
    store.apply([Start.of(seq, 1, worker="w") for seq in range(1, 5)])
    store.apply(
        [
            Pid.of(4, 1, 4321, 99),
            Finish.of(1, 1, "succeeded", exit_code=0, result='{"n": 1}'),
            Finish.of(2, 1, "failed", exit_code=3, error="exit 3", output=b"no \xff such file"),
            Finish.of(3, 1, "timeout", will_retry=True, error="timeout after 1 s", signal=15),
            DECISION,
        ]
    )
    store.close()


@pytest.fixture(params=VERSIONS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    copy = tmp_path / "journal.db"
    shutil.copy(fixture(request.param), copy)
    return copy


def test_it_is_resumed_where_it_was(path: Path) -> None:
    """Nothing that was done runs again, nothing that was open is lost, attempts count on."""
    store = resumed(path)
    assert store.run is not None
    known = (store.run.jobs, store.run.input_mark)
    answers = store.apply([accept([*reversed(RECORDS), b"new"]), Pending(0, 1000, is_unseen_only=True)])
    store.apply([Start.of(3, 2), Finish.of(3, 2, "succeeded")])
    store.close()

    assert (8, InputMark(0, 44, len(RECORDS), b"\x01" * 16, len(RECORDS))) == known
    found = {each.seq: (each.state.value, each.attempts) for each in answers[0]}  # type: ignore[union-attr]
    assert [7, 5, 6, 4, 3, 2, 1, 9] == list(found)
    assert [("succeeded", 1), ("failed", 1), ("retrying", 1), ("queued", 0)] == [
        found[seq] for seq in range(1, 5)
    ]
    assert [(8, b"1,2", '{"a": "1"}')] == [(job.seq, job.payload, job.fields) for job in answers[1]]  # type: ignore[union-attr]
    assert [("crashed",), (None,)] == rows(path, "SELECT outcome FROM runs ORDER BY run")
    assert [(4, "interrupted", 4321)] == rows(
        path, "SELECT job % 1024, outcome, pid FROM attempts WHERE pid IS NOT NULL"
    )
    assert is_sound(path)


def test_it_can_be_looked_at(path: Path) -> None:
    """`status` and `runs` of a new program, before anything has changed the file."""
    with Reader.open(path) as reader:
        (run,) = reader.runs(10)

    assert ("run-1", None) == (run.uuid, run.outcome)
    assert TASK == rows(path, "SELECT task FROM works")[0][0]


def test_an_older_one_with_something_of_a_stranger_does_not_climb(tmp_path: Path) -> None:
    """What it must look like is told from what it becomes; nothing has been changed then."""
    path = tmp_path / "journal.db"
    shutil.copy(fixture(1), path)
    connection = schema.connect(path, "rw")
    connection.execute("CREATE TRIGGER strange AFTER INSERT ON runs BEGIN DELETE FROM jobs; END")
    connection.close()
    with pytest.raises(JournalError, match="its tables are not those of a journal"):
        resumed(path)

    assert [(1,)] == rows(path, "PRAGMA user_version")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_policy_decided_is_kept_since_version_2(version: int, tmp_path: Path) -> None:
    """And a journal that had no place for it has one when it was opened for writing."""
    path = tmp_path / "journal.db"
    shutil.copy(fixture(version), path)
    with Reader.open(path) as reader:
        before = reader.decisions(1)
    store = resumed(path)
    store.apply([DECISION._replace(look=7)])
    store.close()
    resumed(path, "run-3").close()  # its tables are now those of this version, word for word
    with Reader.open(path) as reader:
        after = reader.decisions(2)

    assert ([DECISION] if version > 1 else []) == before
    assert [DECISION._replace(look=7)] == after


if __name__ == "__main__":
    if not fixture(schema.VERSION).exists():
        with tempfile.TemporaryDirectory() as made:
            write(Path(made) / "journal.db")
            shutil.copy(Path(made) / "journal.db", fixture(schema.VERSION))
