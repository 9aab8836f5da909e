"""What is saved of a damaged journal: all that can be read and is true, and never at the price of what was there."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from dynamic_pipeline.journal import salvage as salvaging
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.identity import job_key
from dynamic_pipeline.journal.operations import Finish, Start
from dynamic_pipeline.journal.salvage import Salvaged, salvage
from dynamic_pipeline.journal.schema import VERSION

from tests.journaling import TASK, accept, begun, is_sound, open_store, resumed, rows, seqs

FIXTURES = Path(__file__).parents[1] / "fixtures"

PAGE = 4096
COUNT = 400
PAYLOADS = [b"%08d " % n * 60 for n in range(COUNT)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def whole(path: Path, payloads: list[bytes] = PAYLOADS) -> None:
    """A run that was killed: half of its jobs are done, one is open."""
    store = begun(path, *payloads)
    half = len(payloads) // 2
    store.apply([Start.of(seq, 1) for seq in range(1, half + 2)])
    store.apply([Finish.of(seq, 1, "succeeded", result="[]") for seq in range(1, half + 1)])
    store.close()


def pages_of(path: Path, name: str) -> list[int]:
    """Numbers of the pages of a table or an index, its root first."""
    return [page for (page,) in rows(path, "SELECT pageno FROM dbstat WHERE name = ? ORDER BY path", name)]


def stomp(path: Path, *pages: int) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE)
            file.write(b"\xa5" * PAGE)


def leaves(path: Path, table: str) -> list[int]:
    found = rows(path, "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", table)
    return [page for (page,) in found]


def saved(path: Path) -> Salvaged:
    done = salvage(path)
    assert done is not None
    assert is_salvaged(path)
    return done


def is_salvaged(path: Path) -> bool:
    """Sound, but for successes of which the attempts were lost."""
    return (
        [("ok",)] == rows(path, "PRAGMA integrity_check")
        and [] == rows(path, "PRAGMA foreign_key_check")
        and []
        == rows(path, "SELECT job FROM jobs JOIN attempts USING(job) WHERE outcome IS NULL AND state = 'S'")
        and []
        == rows(
            path, "SELECT job FROM jobs JOIN attempts USING(job) WHERE outcome = 'succeeded' AND state != 'S'"
        )
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def test_a_whole_journal_is_left_alone(path: Path) -> None:
    """Nothing is changed, and that is said."""
    whole(path)
    before = contents(path.parent)

    assert salvage(path) is None
    assert before == contents(path.parent)


def test_with_damaged_indexes_nothing_is_lost(path: Path) -> None:
    """Numbers, states, attempts and payloads are what they were; the damaged file is kept to the byte."""
    whole(path)
    stored = "SELECT job, work, job_key, state, attempts, payload FROM jobs NOT INDEXED ORDER BY job"
    tried = "SELECT job, number, run, outcome, result FROM attempts ORDER BY job, number"
    jobs, attempts = rows(path, stored), rows(path, tried)
    stomp(path, *pages_of(path, "jobs_open")[:2])
    before = path.read_bytes()

    done = saved(path)

    assert Salvaged(1, 1, COUNT, COUNT // 2 + 1, 0, done.kept) == done
    assert (jobs, attempts) == (rows(path, stored), rows(path, tried))
    assert before == done.kept.read_bytes()
    assert sorted([path, done.kept]) == sorted(path.parent.iterdir())
    assert 0o600 == path.stat().st_mode & 0o777


def test_pages_are_passed_by_and_what_stands_between_them_is_found(path: Path) -> None:
    """From both ends, and from the middle of the hole."""
    whole(path)
    pages = leaves(path, "jobs")
    lost = [pages[10], pages[len(pages) // 2], pages[-10]]
    first = rows(path, "SELECT count(*) FROM jobs")[0][0]
    stomp(path, *lost)

    done = saved(path)

    per_page = -(-COUNT // len(pages))
    assert first == COUNT
    assert COUNT - 4 * per_page <= done.jobs < COUNT


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_damaged_journal_of_any_format_is_saved(path: Path, version: int) -> None:
    """A file that is damaged cannot climb first: what its format did not have is empty."""
    shutil.copy(FIXTURES / f"journal-v{version}.db", path)
    stomp(path, *(page for page in pages_of(path, "jobs_open") + pages_of(path, "jobs_lost")))
    found = saved(path)

    assert (1, 1, 8, 4) == found[:4]
    assert version - 1 == rows(path, "SELECT count(*) FROM decisions")[0][0]
    assert is_sound(path)


def test_jobs_are_numbered_without_a_gap_so_that_a_resume_meets_each_once(path: Path) -> None:
    """The lost ones are new to it, and all others are known, whatever the size of its batches."""
    whole(path)
    pages = leaves(path, "jobs")
    stomp(path, pages[5], pages[6], pages[-7])
    done = saved(path)
    numbers = [job for (job,) in rows(path, "SELECT job % 1099511627776 FROM jobs ORDER BY job")]

    store = resumed(path)
    answers = [
        accepted
        for at in range(0, COUNT, 7)
        for accepted in store.apply([accept(PAYLOADS[at : at + 7])])[0]  # type: ignore[union-attr]
    ]
    store.close()

    assert list(range(1, done.jobs + 1)) == numbers
    assert COUNT - done.jobs == sum(answer.is_new for answer in answers)  # type: ignore[union-attr]
    assert COUNT == len({answer.seq for answer in answers})  # type: ignore[union-attr]
    assert is_sound(path)


def test_equal_records_are_counted_without_a_gap(path: Path) -> None:
    """Where an earlier one of them is lost the next new one is not taken for a known one."""
    whole(path, [b"same" * 200] * 60)
    stomp(path, leaves(path, "jobs")[1])
    done = saved(path)
    store = resumed(path)

    answers = store.apply([accept([b"same" * 200] * 60)])
    store.close()

    assert [(60, 60)] == rows(path, "SELECT count(*), max(job) % 1024 FROM jobs")
    assert 0 < done.jobs < 60
    assert 60 == len(set(seqs(answers[0])))


def test_a_cut_file_gives_what_it_still_has(path: Path) -> None:
    """SQLite itself would not open it."""
    whole(path)
    os.truncate(path, path.stat().st_size * 3 // 4 // PAGE * PAGE)

    done = saved(path)

    assert 0 < done.jobs < COUNT


def test_a_record_whose_bytes_have_changed_is_never_run(path: Path) -> None:
    """Its key does not fit any more; a start without its job is left out with it."""
    whole(path)
    data = path.read_bytes()
    at = data.index(PAYLOADS[3])
    path.write_bytes(data[:at] + b"rm -rf *" + data[at + 8 :])
    stomp(path, pages_of(path, "works_by_task")[0])

    done = saved(path)

    assert (COUNT - 1, COUNT // 2, 2) == (done.jobs, done.attempts, done.left_out)
    assert [] == [p for (p,) in rows(path, "SELECT payload FROM jobs") if p.startswith(b"rm")]


def test_jobs_without_their_work_are_left_out(path: Path) -> None:
    """Nobody could tell what they are records of; so are runs and attempts."""
    whole(path)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO works(task, parts, created_us) VALUES (?, '{}', 0)", (TASK,))
    connection.execute("DELETE FROM works WHERE work = 1")
    connection.commit()
    connection.close()
    stomp(path, pages_of(path, "works_by_task")[0])

    done = saved(path)

    assert (1, 0, 0, 0) == done[:4]
    assert 1 + COUNT + COUNT // 2 + 1 == done.left_out


def test_attempts_without_their_run_are_left_out(path: Path) -> None:
    """Its number is given to the next run, which would find its own starts there already."""
    whole(path)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM runs")
    connection.commit()
    connection.close()
    stomp(path, pages_of(path, "works_by_task")[0])

    done = saved(path)
    store = resumed(path)
    answers = store.apply([Start.of(COUNT // 2 + 1, 1)])
    store.close()

    assert (0, COUNT, 0, COUNT // 2 + 1) == (done.runs, done.jobs, done.attempts, done.left_out)
    assert [True] == answers


def test_a_success_that_is_on_record_is_not_repeated(path: Path) -> None:
    """The job's own page may be of an earlier time."""
    whole(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE jobs SET state = 'Q', attempts = 0")
    connection.commit()
    connection.close()
    stomp(path, pages_of(path, "works_by_task")[0])

    saved(path)

    assert [(COUNT // 2,)] == rows(path, "SELECT count(*) FROM jobs WHERE state = 'S'")


def test_what_only_the_log_has_is_saved_too(path: Path, tmp_path: Path) -> None:
    """A killed run leaves it; it is kept beside the damaged file."""
    store = begun(path, *PAYLOADS)
    store.apply([Start.of(1, 1)])
    copies = {name: (path.parent / name).read_bytes() for name in ("journal.db", "journal.db-wal")}
    store.close()
    for name, data in copies.items():
        (path.parent / name).write_bytes(data)
    damage_in_log(path)

    done = saved(path)

    assert (COUNT, 1) == (done.jobs, done.attempts)
    assert Path(f"{done.kept}-wal").exists()
    assert {path, done.kept, Path(f"{done.kept}-wal")} == set(path.parent.iterdir())


def damage_in_log(path: Path) -> None:
    """Add a change to the log after which an index is where a table is; the file stays as it is."""
    wal = Path(f"{path}-wal")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'jobs_lost'")
    now = {each: each.read_bytes() for each in (path, wal)}
    connection.close()
    for each, data in now.items():
        each.write_bytes(data)


@pytest.mark.parametrize("fails", ["_fill", "_copy", "_name_too"])
def test_a_fault_on_the_way_changes_nothing(path: Path, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The damaged file is the only one there is."""
    whole(path)
    stomp(path, *pages_of(path, "jobs_open")[:2])
    before = contents(path.parent)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(salvaging, fails, fail)
    with pytest.raises(JournalError, match="cannot be salvaged: No space left on device"):
        salvage(path)

    assert before == contents(path.parent)
    assert [path] == list(path.parent.iterdir())


def test_killed_in_the_exchange_it_is_done_again_with_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has gone already, its second name has not."""
    whole(path)
    stomp(path, *pages_of(path, "jobs_open")[:2])
    Path(f"{path}-wal").write_bytes(b"log")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed_once(Path.replace))
        with pytest.raises(KeyboardInterrupt):
            salvage(path)
    assert not Path(f"{path}-wal").exists()

    done = saved(path)

    assert COUNT == done.jobs
    assert b"log" == Path(f"{done.kept}-wal").read_bytes()
    assert {path, done.kept, Path(f"{done.kept}-wal")} == set(path.parent.iterdir())


def killed_once(replace: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    """`Path.replace`, which is not reached for the file that takes the journal's place."""

    def kill(self: Path, target: Path) -> Path:
        if target.name == "journal.db":
            raise KeyboardInterrupt
        return replace(self, target)

    return kill


def test_what_a_killed_salvage_has_left_is_cleared_away(path: Path) -> None:
    """Only what bears the journal's own name."""
    whole(path)
    stomp(path, *pages_of(path, "jobs_open")[:2])
    (path.parent / "journal.db.salvage-old").mkdir()
    (path.parent / "journal.db.salvage-old" / "new.db").touch()
    (path.parent / "mine").touch()

    done = saved(path)

    assert {path, done.kept, path.parent / "mine"} == set(path.parent.iterdir())


@pytest.mark.parametrize("where", ["the schema", "the works"])
def test_a_journal_of_which_nothing_can_be_read_is_not_replaced(path: Path, where: str) -> None:
    """An empty one in its place would make a resume begin anew in silence."""
    whole(path)
    if where == "the works":
        stomp(path, pages_of(path, "works")[0])
    else:
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xa5" * (PAGE - 100))
    before = contents(path.parent)

    with pytest.raises(JournalError, match="nothing of it can be read"):
        salvage(path)

    assert before == contents(path.parent)
    assert [path] == list(path.parent.iterdir())


def newer(path: Path) -> None:
    whole(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    stomp(path, *pages_of(path, "jobs_open")[:2])


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t(a)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda _: None, "there is no journal"),
        (lambda path: path.write_text("milk, eggs\n"), "not a pipeline journal"),
        (foreign, "another application"),
        (newer, "newer version"),
    ],
)
def test_what_is_not_ours_is_refused(path: Path, make: Callable[[Path], object], text: str) -> None:
    """And stays as it is."""
    make(path)
    before = contents(path.parent)

    with pytest.raises(JournalError, match=text):
        salvage(path)

    assert before == contents(path.parent)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_damaged_the_new_one_is_sound(path: Path, seed: int) -> None:
    """Pages at random; what is in it afterwards was in it before."""
    dice = random.Random(seed)
    whole(path)
    known = set(rows(path, "SELECT job_key, payload FROM jobs"))
    last = path.stat().st_size // PAGE
    stomp(path, *dice.sample(range(2, last + 1), dice.choice([1, 3, 10])))
    try:
        done = salvage(path)
    except JournalError as error:
        assert "nothing of it can be read" in str(error)  # noqa: PT017
        return

    assert done is not None
    assert set(rows(path, "SELECT job_key, payload FROM jobs")) <= known
    assert is_salvaged(path)
    store = open_store(path)
    store.recover()
    store.close()
    assert all(job_key(TASK, payload) == key for key, payload in known)
