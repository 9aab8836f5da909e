"""What is found at the journal's path, and what is made of it; what is not ours stays as it is, to the byte."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dynamic_pipeline.journal import schema
from dynamic_pipeline.journal.faults import JournalBroken, JournalError, JournalLocked
from dynamic_pipeline.journal.place import APPLICATION_ID, file_system
from dynamic_pipeline.journal.queries import queries
from dynamic_pipeline.journal.reader import Reader
from dynamic_pipeline.journal.store import Store

from tests.journaling import accept, begun, is_sound, new_run, open_store, resumed, rows, seqs

BIG = [b"%08d" % n * 100 for n in range(300)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1);")
    connection.close()


def named(path: Path) -> None:
    foreign(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 252006674")
    connection.close()


def truncated(path: Path) -> None:
    begun(path, *BIG).close()
    os.truncate(path, path.stat().st_size // 2)


def stomped(path: Path) -> None:
    begun(path, *BIG).close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)


def newer(path: Path) -> None:
    begun(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def with_trigger(path: Path) -> None:
    begun(path).close()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER t AFTER INSERT ON jobs BEGIN DELETE FROM runs; END")
    connection.close()


def open_to_others(path: Path) -> None:
    begun(path).close()
    path.chmod(0o666)


STATES: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_text("milk, eggs\n" * 100), "not a pipeline journal"),
    (lambda path: path.write_bytes(b"x"), "not a pipeline journal"),
    (lambda path: path.write_bytes(b"SQLite format 3\0"), "is damaged"),
    (foreign, "another application"),
    (named, "another application"),
    (truncated, "is damaged"),
    (stomped, "is damaged"),
    (newer, "newer version"),
    (with_trigger, "tables are not those"),
    (open_to_others, "others may have written"),
]


@pytest.mark.parametrize(("make", "text"), STATES, ids=lambda value: getattr(value, "__name__", None))
def test_a_file_that_cannot_be_used_is_refused_and_stays_as_it_is(
    path: Path, make: Callable[[Path], object], text: str
) -> None:
    """Exit 4, one line with the path, a way out, and not a byte or a file changed."""
    make(path)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}

    with pytest.raises(JournalError, match=text) as caught:
        open_store(path)

    assert before == {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert (4, True) == (caught.value.exit_code, bool(caught.value.hint))
    assert [True, False] == [str(path) in str(caught.value), "\n" in str(caught.value)]


def test_no_part_of_a_truncated_journal_is_taken_for_all_of_it(path: Path) -> None:
    """Cut at any page, it is refused, and never changed."""
    begun(path, *BIG).close()
    whole = path.read_bytes()

    for pages in range(1, len(whole) // 4096):
        path.write_bytes(whole[: pages * 4096])
        with pytest.raises(JournalError):
            open_store(path)
        assert whole[: pages * 4096] == path.read_bytes()


@pytest.mark.parametrize("kind", ["directory", "link", "dangling link", "fifo"])
def test_what_is_not_a_file_is_refused(path: Path, kind: str) -> None:
    """A link is not followed: what it points to could be anybody's."""
    canary = path.with_name("canary")
    match kind:
        case "directory":
            path.mkdir()
        case "link":
            canary.write_text("canary")
            path.symlink_to(canary)
        case "dangling link":
            path.symlink_to(path.with_name("nowhere"))
        case "fifo":
            os.mkfifo(path)

    with pytest.raises(JournalError, match=kind.rpartition(" ")[2] if kind != "fifo" else "regular"):
        open_store(path)

    assert not path.with_name("nowhere").exists()
    assert kind != "link" or canary.read_text() == "canary"


def test_a_folder_that_cannot_be_made_is_told(path: Path) -> None:
    """Here a file is in the way."""
    path.write_text("a file")

    with pytest.raises(JournalError, match=r"cannot be made: (Not a directory|File exists)"):
        open_store(path / "journal.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_journal_of_somebody_else_is_refused(path: Path) -> None:
    """What is in it becomes commands; not even root runs those of others."""
    begun(path).close()
    os.chown(path, 65534, -1)

    with pytest.raises(JournalError, match="owner 65534, mode 600"):
        open_store(path)


_AS_NOBODY = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from pathlib import Path
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.store import Store
try:
    Store.open(Path(sys.argv[1]), least_free=0).close()
except JournalError as error:
    print(error.exit_code, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
@pytest.mark.parametrize(
    ("mode", "file_mode", "text"),
    [
        (0o500, 0o600, "the folder cannot be written"),
        (0o700, 0o400, "cannot be written"),
        (0o700, 0o000, "cannot be read"),
        (0o000, 0o600, "cannot be opened: Permission denied"),
    ],
)
def test_missing_rights_are_told_before_anything_is_begun(mode: int, file_mode: int, text: str) -> None:
    """A read-only folder or file, or one that may not be entered: exit 4."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        folder = Path(top) / "state"
        folder.mkdir()
        begun(folder / "journal.db").close()
        (folder / "journal.db").chmod(file_mode)
        for owned in (folder / "journal.db", folder):
            os.chown(owned, 65534, 65534)
        folder.chmod(mode)

        # The imports come before the rights go.
        code = _AS_NOBODY.replace("import os, sys", "import os, sys, dynamic_pipeline.journal.store")
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder / "journal.db")],
            capture_output=True,
            text=True,
            check=True,
        )

    assert ("4 ", True) == (done.stdout[:2], text in done.stdout), done.stdout


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte."""
    with tempfile.TemporaryDirectory() as top:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", top], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("nothing can be mounted here")
        try:
            yield Path(top)
        finally:
            subprocess.run(["umount", top], check=True)


def test_a_read_only_file_system_is_told(small_disk: Path) -> None:
    """Also to root, whom no mode stops."""
    begun(small_disk / "journal.db").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    with pytest.raises(JournalError, match="the folder cannot be written"):
        open_store(small_disk / "journal.db")


def test_a_nearly_full_disk_is_refused_at_the_start(small_disk: Path) -> None:
    """It would only fill up later."""
    with pytest.raises(JournalError, match="bytes are free") as caught:
        Store.open(small_disk / "journal.db")

    assert [] == list(small_disk.iterdir())
    assert "16777216 are needed to begin" == caught.value.hint


def test_the_file_system_is_that_of_the_deepest_mount(small_disk: Path) -> None:
    """Its type decides whether a journal can live there."""
    (small_disk / "a").mkdir()

    assert ["tmpfs", "proc"] == [file_system(small_disk / "a"), file_system(Path("/proc/self"))]


@pytest.mark.parametrize("is_there", [False, True])
def test_nothing_and_an_empty_file_become_a_journal(path: Path, is_there: bool) -> None:
    """Readable by its owner only; its folder is made."""
    path = path.parent / "new" / "folder" / "journal.db"
    if is_there:
        path.parent.mkdir(parents=True)
        path.touch(0o600)

    begun(path, b"a").close()

    assert [path] == list(path.parent.iterdir())  # a clean end leaves one file
    assert [(APPLICATION_ID, schema.VERSION, "wal")] == [
        tuple(
            rows(path, f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version", "journal_mode")
        )
    ]
    assert (0o600, is_there or 0o700) == (
        path.stat().st_mode & 0o777,
        is_there or path.parent.stat().st_mode & 0o777,
    )
    assert is_sound(path)


def test_a_log_whose_database_was_removed_is_set_aside(path: Path) -> None:
    """SQLite would replay it into the new one."""
    store = begun(path, b"a")
    wal = Path(f"{path}-wal").read_bytes()
    store.close()
    path.unlink()
    Path(f"{path}-wal").write_bytes(wal)

    begun(path, b"x", b"y").close()

    assert wal == Path(f"{path}-wal.lost").read_bytes()
    assert [(2,)] == rows(path, "SELECT count(*) FROM jobs")
    assert is_sound(path)


def test_a_half_made_journal_is_made_again(path: Path) -> None:
    """A kill while it is made leaves files under other names."""
    for suffix in (".new", ".new-wal", ".new-journal"):
        Path(f"{path}{suffix}").write_bytes(b"half")

    begun(path, b"a").close()

    assert [path] == list(path.parent.iterdir())


def test_a_name_with_signs_of_a_uri_is_a_name(tmp_path: Path) -> None:
    """SQLite is asked with a URI."""
    path = tmp_path / "a b?mode=memory#%41é" / "journal.db"

    begun(path, b"a").close()

    assert path.stat().st_size > 0


def test_a_journal_that_somebody_else_has_locked_is_75(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody without our lock file, such as a database browser in a transaction."""
    begun(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.executescript("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; UPDATE runs SET pid = 1; COMMIT;")
    connect = schema.connect
    monkeypatch.setattr(schema, "connect", lambda path, mode: connect(path, mode, timeout_s=0))

    with pytest.raises(JournalLocked, match="another program") as caught:
        open_store(path)

    other.close()
    assert 75 == caught.value.exit_code


def test_a_journal_that_is_removed_or_replaced_underneath_is_noticed(path: Path) -> None:
    """SQLite would write on to a file that nobody will find."""
    store = begun(path, b"a")
    path.rename(path.with_name("elsewhere"))

    with pytest.raises(JournalBroken, match="was removed or replaced"):
        store.apply([accept([b"b"])])
    begun(path).close()
    with pytest.raises(JournalBroken, match="was removed or replaced"):
        store.apply([accept([b"b"])])
    store.abandon()


def test_without_a_free_descriptor_the_text_says_so(path: Path) -> None:
    """It is not the journal's fault."""
    begun(path).close()
    code = (
        "import resource, sys; from pathlib import Path; from dynamic_pipeline.journal.store import Store\n"
        "from dynamic_pipeline.journal.faults import JournalError\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4)); open('/dev/null')\n"
        "files = [open('/dev/null')] if False else []\n"
        "try:\n while True: files.append(open('/dev/null'))\nexcept OSError: pass\n"
        "try: Store.open(Path(sys.argv[1]), least_free=0)\n"
        "except JournalError as error: files.clear(); print(error.exit_code, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)

    assert [True, True] == ["4 " == done.stdout[:2], os.strerror(errno.EMFILE) in done.stdout], done


# --- readers ---


def test_a_reader_of_nothing_says_so(path: Path) -> None:
    """And makes nothing."""
    with pytest.raises(JournalError, match="there is no journal"), Reader.open(path):
        pass

    assert [] == list(path.parent.iterdir())


@pytest.mark.parametrize(("make", "text"), [(newer, "has format 99"), (foreign, "another application")])
def test_a_reader_refuses_what_it_cannot_understand(
    path: Path, make: Callable[[Path], object], text: str
) -> None:
    """Before a statement of its own runs on it."""
    make(path)

    with pytest.raises(JournalError, match=text), Reader.open(path):
        pass


def test_a_reader_sees_what_a_killed_run_has_committed(path: Path) -> None:
    """It is still in the WAL; the reader does not move it, nor put the run right."""
    store = begun(path, b"a", b"b")
    kept = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    store.abandon()
    for suffix, content in kept.items():
        Path(f"{path}{suffix}").write_bytes(content)
    path.chmod(0o600)

    with Reader.open(path) as reader:
        [run] = reader.runs()
        assert (2, None) == (sum(reader.counts(1).values()), run.outcome)

    assert kept[""] == path.read_bytes()


# --- migration ---


def add_name(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE works ADD COLUMN name TEXT")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE works SET name = 'x'")
    raise sqlite3.OperationalError("the step fails")


def test_the_ladder_is_climbed_in_one_transaction_after_a_copy(path: Path) -> None:
    """A step that fails leaves the file, and its version, as they were."""
    begun(path, b"a").close()
    connection = schema.connect(path, "rw")

    latest = schema.VERSION
    with pytest.raises(sqlite3.OperationalError, match="step fails"):
        schema.migrate(connection, path, latest, {latest: add_name, latest + 1: fail}, latest + 2)
    assert [(latest,)] == connection.execute("PRAGMA user_version").fetchall()
    schema.migrate(connection, path, latest, {latest: add_name}, latest + 1)
    schema.migrate(connection, path, latest + 1, {latest: add_name}, latest + 1)
    connection.close()

    assert [(latest + 1,)] == rows(path, "PRAGMA user_version")
    assert [(None,)] == rows(path, "SELECT name FROM works")
    copy = Path(f"{path}.v{latest}.bak")
    assert [(latest,), (1,)] == rows(copy, "PRAGMA user_version") + rows(copy, "SELECT count(*) FROM jobs")
    assert 0o600 == copy.stat().st_mode & 0o777


def test_a_version_without_a_way_up_is_refused(path: Path) -> None:
    """And nothing is copied."""
    begun(path).close()
    connection = schema.connect(path, "rw")

    with pytest.raises(JournalError, match="no way to 9"):
        schema.migrate(connection, path, schema.VERSION, {}, 9)
    connection.close()

    assert [path] == list(path.parent.iterdir())


def test_every_version_has_its_step() -> None:
    """The ladder reaches from the first to this one."""
    assert list(range(1, schema.VERSION)) == sorted(schema.LADDER)


# --- durability, statements ---


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_is_what_sqlite_calls_synchronous(path: Path, durability: str, level: int) -> None:
    """Full syncs with every commit, normal with every checkpoint."""
    store = open_store(path, durability)  # type: ignore[arg-type]

    found = {
        name: store._execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "trusted_schema")
    }
    store.close()

    assert {"synchronous": level, "trusted_schema": 0} == found


def test_every_statement_can_be_prepared(path: Path) -> None:
    """Also those that only rare cases need."""
    store = begun(path, b"a")

    names = [name for name in queries() if name != "make_unmet"]
    for name in names:
        statement = queries()[name]
        numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
        values: object = ("x",) * max([statement.count("?") - len(numbered), *numbered])
        if ":" in statement:
            values = dict.fromkeys(re.findall(r":(\w+)", statement))
        store._execute(f"EXPLAIN {statement}", values)
    store.close()

    assert 30 < len(names)


def test_a_new_start_of_the_program_continues_a_journal(path: Path) -> None:
    """The whole circle: made, closed, opened, resumed, closed."""
    begun(path, b"a").close()
    store = resumed(path)
    [answer] = store.apply([accept([b"a", b"b"])])
    store.close()
    store = open_store(path)
    store.begin_run(new_run("run-3"))
    store.close()

    assert [1, 2] == seqs(answer)
    assert [(1, "run"), (1, "resume"), (2, "run")] == rows(path, "SELECT work, mode FROM runs ORDER BY run")
