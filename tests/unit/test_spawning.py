"""Starting a program in a session of its own, its output into files."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dynamic_pipeline import spawning
from dynamic_pipeline.spawning import spawn

Ran = Callable[..., tuple[bytes, bytes]]


@pytest.fixture(params=["libc", "os"], autouse=True)
def way_to_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the interpreter lock as on Linux, and through Python as elsewhere."""
    if request.param == "os":
        monkeypatch.setattr(spawning, "_libc", None)
    elif spawning._libc is None:
        pytest.skip("this way is for Linux")


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    """What a program wrote that has run to its end."""

    def ran(*argv: str | bytes, env: tuple[bytes, ...] = ()) -> tuple[bytes, bytes]:
        words = [os.fsencode(word) for word in argv]
        out, err = tmp_path / "out", tmp_path / "err"
        pid = spawn(words[0], words, env, os.fsencode(out), os.fsencode(err))
        assert os.waitpid(pid, 0) == (pid, 0)
        return out.read_bytes(), err.read_bytes()

    return ran


def test_arguments_and_environment_arrive_byte_for_byte(ran: Ran) -> None:
    """Empty ones, those that are no text, and nothing of our own environment beside them."""
    shows = "import os, sys; print(ascii(sys.argv[1:]), sorted(os.environb.items()), file=sys.stderr)"
    argv: list[str | bytes] = ["", "a b", b"\xff\n", "ä"]
    _, written = ran(sys.executable, "-I", "-c", shows, *argv, env=(b"B=\xfe", b"A=1=2", b"LC_CTYPE=C.UTF-8"))
    seen = [(b"A", b"1=2"), (b"B", b"\xfe"), (b"LC_CTYPE", b"C.UTF-8")]

    assert f"{[os.fsdecode(word) for word in argv]!a} {seen}\n" == written.decode()


def test_each_stream_has_its_file_and_the_users_mask(ran: Ran, tmp_path: Path) -> None:
    """Whoever may read a new file may read these, once they are kept."""
    (tmp_path / "another").touch()

    assert (b"one\n", b"two\n") == ran("/bin/sh", "-c", "echo one; echo two >&2")
    assert len({(tmp_path / name).stat().st_mode for name in ("another", "out", "err")}) == 1


@pytest.fixture
def records_on_stdin() -> Iterator[None]:
    """Our standard input is a pipe in which records wait."""
    before, (reader, writer) = os.dup(0), os.pipe()
    os.dup2(reader, 0)
    os.write(writer, b"records")
    os.close(writer)
    yield
    os.dup2(before, 0)
    os.close(before)
    os.close(reader)


@pytest.mark.usefixtures("records_on_stdin")
def test_a_program_has_no_standard_input_and_none_of_our_files(ran: Ran) -> None:
    """It does not eat the records that we read, and sees nothing that Python has opened."""
    ours = os.open(os.devnull, os.O_RDONLY)
    seen, _ = ran("/bin/sh", "-c", "cat; cd /dev/fd && echo *")
    os.close(ours)

    assert {b"0", b"1", b"2"} <= set(seen.split())
    assert str(ours).encode() not in seen.split()


def test_it_leads_a_session_and_a_group(ran: Ran) -> None:
    """The Ctrl+C of the terminal is not for it."""
    shows = "import os; print(os.getpid(), os.getsid(0), os.getpgid(0))"

    assert 1 == len(set(ran(sys.executable, "-I", "-c", shows)[0].split()))


@pytest.mark.parametrize("ignored", [signal.SIGPIPE, signal.SIGXFSZ])
def test_a_program_hears_the_signals_that_python_ignores(tmp_path: Path, ignored: signal.Signals) -> None:
    """It would inherit that: `yes | head` would never end."""
    assert signal.SIG_IGN == signal.getsignal(ignored)
    argv = [b"/bin/sh", b"-c", b"kill -$1 $$; exit 3", b"sh", b"%d" % ignored]
    pid = spawn(argv[0], argv, [], os.fsencode(tmp_path / "out"), os.fsencode(tmp_path / "err"))

    assert -ignored == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ([b"/nowhere/x"], FileNotFoundError),
        ([b"/"], PermissionError),
        ([b""], (FileNotFoundError, ValueError)),
        ([b"/bin/sh", b"a\0b"], ValueError),
        ([b"/bin/sh", b"x" * (1 << 20)], OSError),
    ],
)
def test_what_cannot_be_started_raises(
    tmp_path: Path, argv: list[bytes], error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """The caller hears why, and there is nothing to reap."""
    with pytest.raises(error):
        spawn(argv[0], argv, [], os.fsencode(tmp_path / "out"), os.fsencode(tmp_path / "err"))
    try:
        ended = os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        ended = 0
    assert ended == 0


@pytest.mark.parametrize("name", ["out", "err"])
def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """Nor is the program started."""
    (tmp_path / name).write_bytes(b"kept")
    argv = [b"/bin/sh", b"-c", b'touch "$1"', b"sh", os.fsencode(tmp_path / "ran")]
    with pytest.raises(FileExistsError):
        spawn(argv[0], argv, [], os.fsencode(tmp_path / "out"), os.fsencode(tmp_path / "err"))

    assert b"kept" == (tmp_path / name).read_bytes()
    assert not (tmp_path / "ran").exists()


def test_a_file_that_cannot_be_made_raises(tmp_path: Path) -> None:
    """Its folder has gone."""
    with pytest.raises(FileNotFoundError):
        spawn(
            b"/bin/true", [b"true"], [], os.fsencode(tmp_path / "no" / "out"), os.fsencode(tmp_path / "err")
        )
