"""Outputs kept in the files of a folder."""

import os
from pathlib import Path

import pytest
from dynamic_pipeline.errors import OutputError, UsageError
from dynamic_pipeline.sinks.kept import KeptOutputs
from dynamic_pipeline.sinks.output import Output
from dynamic_pipeline.spool import Spool


def output(kept: KeptOutputs, job_id: int, stdout: bytes, stderr: bytes = b"") -> Output:
    """What a job wrote, as its work hands it over: sealed, in its file."""
    spools: list[Spool] = []
    for name, content in (("out", stdout), ("err", stderr)):
        spool = Spool(f"{kept.spools}/{job_id}.1.{name}", -1)
        Path(os.fsdecode(spool.hand_out())).write_bytes(content)
        spool.seal()
        spools.append(spool)
    return Output(job_id, spools[0], spools[1])


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def begun(folder: str, *, is_resumed: bool = False) -> KeptOutputs:
    kept = KeptOutputs(folder)
    kept.begin(is_resumed=is_resumed)
    return kept


def test_each_job_has_its_files(tmp_path: Path) -> None:
    """`.out` always, `.err` only if something was written to it, and nothing else is left in the folder."""
    kept = begun(str(tmp_path / "made" / "here"))
    kept.put(output(kept, 1, b"one\n\0", b"oh"))
    kept.put(output(kept, 10, b""))
    kept.close()

    assert {"1.out": b"one\n\0", "1.err": b"oh", "10.out": b""} == files(tmp_path / "made" / "here")


def test_a_command_that_could_not_be_started_has_an_empty_file(tmp_path: Path) -> None:
    """It was a job too; why it failed is in the log."""
    kept = begun(str(tmp_path))
    kept.put(Output(1, Spool(str(tmp_path / "x"), -1), Spool(str(tmp_path / "y"), -1)))
    kept.close()

    assert {"1.out": b""} == files(tmp_path)


def test_files_are_readable_as_any_other(tmp_path: Path) -> None:
    """The mode is that of a file made by a redirection: the user's mask decides."""
    kept = begun(str(tmp_path))
    kept.put(output(kept, 1, b"x"))
    (tmp_path / "another").touch()

    assert (tmp_path / "another").stat().st_mode == (tmp_path / "1.out").stat().st_mode


@pytest.mark.parametrize("name", ["1.out", "12.err"])
def test_a_folder_that_holds_outputs_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing of an earlier run is overwritten or mixed with this one's; nothing is made."""
    (tmp_path / name).touch()

    with pytest.raises(UsageError, match=f"it holds outputs already, such as {name}") as caught:
        begun(str(tmp_path))
    assert "name a new folder, or remove what is in this one; --resume goes on with it" == caught.value.hint
    assert [name] == names(tmp_path)


def test_a_folder_with_other_files_is_taken(tmp_path: Path) -> None:
    """Only numbered outputs stand in the way."""
    for name in ("a.out", "1.out.gz", "1", ".out"):
        (tmp_path / name).touch()

    begun(str(tmp_path)).close()
    assert 4 == len(names(tmp_path))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """Nor is a link that leads nowhere."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")

    for name in ("file", "link"):
        with pytest.raises(UsageError, match="is not a folder"):
            KeptOutputs(str(tmp_path / name))


def test_what_appears_later_is_not_overwritten(tmp_path: Path) -> None:
    """A run beside this one was faster: told as any output that cannot be written, and its file is whole."""
    kept = begun(str(tmp_path))
    (tmp_path / "1.out").write_bytes(b"theirs")

    with pytest.raises(OutputError) as caught:
        kept.put(output(kept, 1, b"ours"))
    assert f"the jobs' output cannot be kept at {tmp_path}/1.out: File exists" == str(caught.value)
    assert not caught.value.reader_gone
    assert b"theirs" == (tmp_path / "1.out").read_bytes()


def test_an_output_that_cannot_be_moved_leaves_no_empty_file(tmp_path: Path) -> None:
    """An empty file would say that the job wrote nothing."""
    kept = begun(str(tmp_path))
    lost = output(kept, 1, b"lost")
    Path(kept.spools, "1.1.out").unlink()

    with pytest.raises(OutputError, match=r"1\.out: No such file or directory"):
        kept.put(lost)
    assert not (tmp_path / "1.out").exists()


def test_the_hidden_folder_stays_while_another_run_uses_it(tmp_path: Path) -> None:
    """Its outputs are there; whoever ends last removes it."""
    kept = begun(str(tmp_path))
    theirs = Path(kept.spools, "theirs")
    theirs.touch()
    kept.close()

    assert theirs.exists()


def test_a_resumed_run_replaces_what_an_earlier_one_has_left_of_a_job(tmp_path: Path) -> None:
    """It was not on record as done; what it wrote to stderr then is gone too, and other jobs keep theirs."""
    for name in ("1.out", "1.err", "2.out"):
        (tmp_path / name).write_text("earlier")
    kept = begun(str(tmp_path), is_resumed=True)
    kept.put(output(kept, 1, b"now"))
    kept.close()

    assert {"1.out": b"now", "2.out": b"earlier"} == files(tmp_path)


def test_what_a_killed_run_had_not_put_yet_is_put_when_it_is_resumed(tmp_path: Path) -> None:
    """Of jobs that were over: nobody runs them again. All else goes; what another run writes stays."""
    begun(str(tmp_path)).close()
    left = tmp_path / ".running" / "dynamic-pipeline-run-1-x"
    living = tmp_path / ".running" / "dynamic-pipeline-run-2-x"
    for folder in (left, living):
        folder.mkdir(parents=True)
        for name, text in (
            ("1.1.out", b"first"),
            ("1.2.out", b"one"),
            ("1.2.err", b"E"),
            ("2.1.out", b"two"),
            ("2.1.err", b""),
        ):
            (folder / name).write_bytes(text)
        (folder / "3.1.out").write_bytes(b"cut sho")
    kept = begun(str(tmp_path), is_resumed=True)
    kept.adopt(["run-0", "run-1"], lambda job, attempt: (job, attempt) in {(1, 2), (2, 1)})

    assert {"1.out": b"one", "1.err": b"E", "2.out": b"two"} == {
        path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()
    }
    assert not left.exists()
    assert 6 == len(names(living))
