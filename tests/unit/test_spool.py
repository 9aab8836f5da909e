"""The output of one command: in a file while it runs, in memory afterwards if it is small."""

import os
import resource
from pathlib import Path

import pytest
from dynamic_pipeline.spool import Spool, has_disk_room

IN_MEMORY = 16 * 1024


def filled(path: Path, content: bytes) -> Spool:
    spool = Spool(str(path))
    Path(os.fsdecode(spool.hand_out())).write_bytes(content)
    spool.seal()
    return spool


@pytest.mark.parametrize(
    ("size", "is_kept"), [(0, False), (1, False), (IN_MEMORY, False), (IN_MEMORY + 1, True), (3 << 20, True)]
)
def test_only_large_output_stays_in_its_file(tmp_path: Path, size: int, is_kept: bool) -> None:
    """Up to 16 KiB come into memory and the file goes; more stays where it is; either way all of it is there."""
    content = os.urandom(size)
    spool = filled(tmp_path / "out", content)

    assert is_kept == (tmp_path / "out").exists()
    assert content == b"".join(spool.chunks())


def test_large_output_is_read_in_pieces(tmp_path: Path) -> None:
    """No piece is larger than a mebibyte, however much was written."""
    spool = filled(tmp_path / "out", b"x" * (3 << 20))

    assert max(len(chunk) for chunk in spool.chunks()) <= 1 << 20


@pytest.mark.parametrize("in_memory", [IN_MEMORY, -1])
def test_pieces_may_be_smaller(tmp_path: Path, in_memory: int) -> None:
    """Whoever makes more of each piece asks for less at once, from memory or from the file."""
    spool = Spool(str(tmp_path / "out"), in_memory)
    Path(os.fsdecode(spool.hand_out())).write_bytes(b"0123456789")
    spool.seal()

    assert [b"0123", b"4567", b"89"] == list(spool.chunks(4))


@pytest.mark.parametrize("size", [5, IN_MEMORY + 1])
def test_discard_leaves_nothing_behind(tmp_path: Path, size: int) -> None:
    """File and bytes are gone; once more changes nothing."""
    spool = filled(tmp_path / "out", b"x" * size)
    spool.discard()
    spool.discard()

    assert [] == list(tmp_path.iterdir())
    assert b"" == b"".join(spool.chunks())


def test_a_file_that_somebody_removed_is_no_error(tmp_path: Path) -> None:
    """A cleaner of temporary folders may have been faster."""
    spool = filled(tmp_path / "out", b"x" * (IN_MEMORY + 1))
    (tmp_path / "out").unlink()
    spool.discard()

    assert b"" == b"".join(spool.chunks())


def test_it_opens_nothing_before_it_is_shown(tmp_path: Path) -> None:
    """However many commands run and outputs wait to be shown, descriptors do not run out."""
    spool = Spool(str(tmp_path / "out"))
    fds = len(list(Path("/dev/fd").iterdir()))
    Path(os.fsdecode(spool.hand_out())).write_bytes(b"x" * (IN_MEMORY + 1))
    spool.seal()

    assert fds == len(list(Path("/dev/fd").iterdir()))


def test_it_knows_whether_its_file_was_made(tmp_path: Path) -> None:
    """Handed out is not made yet; one that was never made is no error when it is discarded."""
    spool = Spool(str(tmp_path / "out"))
    path = Path(os.fsdecode(spool.hand_out()))
    before = spool.is_made
    path.touch()

    assert (False, True) == (before, spool.is_made)
    path.unlink()
    spool.discard()
    assert not spool.is_made


@pytest.mark.parametrize("in_memory", [IN_MEMORY, 3, -1])
def test_the_end_of_what_was_written(tmp_path: Path, in_memory: int) -> None:
    """From memory or from the file, never more than was asked for."""
    spool = Spool(str(tmp_path / "out"), in_memory)
    Path(os.fsdecode(spool.hand_out())).write_bytes(b"0123456789")
    spool.seal()

    assert (b"789", b"0123456789", 10) == (spool.tail(3), spool.tail(99), spool.size)


@pytest.mark.parametrize("in_memory", [IN_MEMORY, -1])
def test_what_is_kept_leaves_the_folder_of_the_run(tmp_path: Path, in_memory: int) -> None:
    """Moved, it is at its new place whole, and a later discard does not take it away."""
    spool = Spool(str(tmp_path / "out"), in_memory)
    Path(os.fsdecode(spool.hand_out())).write_bytes(b"kept")
    spool.seal()
    spool.move(str(tmp_path / "1.out"))
    spool.discard()

    assert ["1.out"] == [path.name for path in tmp_path.iterdir()]
    assert b"kept" == (tmp_path / "1.out").read_bytes()


def test_a_disk_with_room_is_not_full(tmp_path: Path) -> None:
    """Nor is one that cannot be asked: whoever needs it tells of that."""
    assert has_disk_room(str(tmp_path))
    assert has_disk_room(str(tmp_path / "gone"))


def test_one_that_was_never_opened_is_empty(tmp_path: Path) -> None:
    """A command that could not be started has written nothing, and there is no file to remove."""
    spool = Spool(str(tmp_path / "out"))
    spool.seal()
    spool.discard()

    assert (b"", 0) == (b"".join(spool.chunks()), spool.size)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_opened_now_stays_in_its_file(tmp_path: Path) -> None:
    """The command was run: its outcome must not depend on a descriptor that we lack."""
    spool = Spool(str(tmp_path / "out"))
    Path(os.fsdecode(spool.hand_out())).write_bytes(b"kept")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        spool.seal()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert (4, [b"kept"]) == (spool.size, list(spool.chunks()))
    spool.discard()
    assert [] == list(tmp_path.iterdir())
