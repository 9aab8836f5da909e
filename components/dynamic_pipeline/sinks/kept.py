"""Outputs kept in the files of a folder, one or two per job, instead of being shown."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from dynamic_pipeline import spool_folder
from dynamic_pipeline.errors import OutputError, UsageError
from dynamic_pipeline.sinks.output import Output
from dynamic_pipeline.spool import Spool

_SPOOLED = re.compile(r"([0-9]+)\.([0-9]+)\.(out|err)")
_NUMBERED = re.compile(r"[0-9]+\.(out|err)")


class KeptOutputs:
    """`ID.out` and, where something was written to it, `ID.err` in *folder*, which is made if missing.

    Nothing is ever overwritten, but by a resumed run what earlier runs of the same work have left of a job.

    Raises:
        UsageError: it is no folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._may_replace = False
        if os.path.lexists(self._folder) and not self._folder.is_dir():
            raise UsageError(f"--output {folder}: is not a folder")
        # Commands write here: a move from there is a change of name, however large the output is.
        self.spools = str(self._folder / ".running")

    def begin(self, *, is_resumed: bool) -> None:
        """The run is about to begin; the numbers of its jobs are those of earlier runs only if it *is_resumed*.

        Raises:
            UsageError: the folder holds outputs of other jobs. OSError: it cannot be made or read.
        """
        self._may_replace = is_resumed
        is_looked_at = self._folder.is_dir() and not is_resumed
        for name in os.listdir(self._folder) if is_looked_at else ():  # noqa: PTH208 - names are all that counts
            if _NUMBERED.fullmatch(name):
                raise UsageError(
                    f"--output {self._folder}: it holds outputs already, such as {name}",
                    hint="name a new folder, or remove what is in this one; --resume goes on with it",
                )
        os.makedirs(self.spools, exist_ok=True)  # noqa: PTH103 - text in, text out

    def adopt(self, run_ids: Iterable[str], is_over: Callable[[int, int], bool]) -> None:
        """Put what these killed runs had not put yet at its place, if *is_over* says so of job and attempt.

        Such a job is not run again. All else that they have left is removed.

        Raises:
            OSError: it cannot be put there.
        """
        for folder in chain.from_iterable(spool_folder.of_run(run_id, self.spools) for run_id in run_ids):
            for name in os.listdir(folder):  # noqa: PTH208 - same
                if (found := _SPOOLED.fullmatch(name)) is None or not is_over(int(found[1]), int(found[2])):
                    continue
                path = f"{folder}/{name}"
                if found[3] == "out" or os.stat(path).st_size:  # noqa: PTH116 - same
                    os.replace(path, self._folder / f"{found[1]}.{found[3]}")  # noqa: PTH105 - same
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, output: Output) -> None:
        """Put what the job wrote at its place.

        Raises:
            OutputError: it cannot be put there, or something is there.
        """
        self._keep(output.stdout, f"{output.job_id}.out")
        if output.stderr.size:
            self._keep(output.stderr, f"{output.job_id}.err")
        elif self._may_replace:
            (self._folder / f"{output.job_id}.err").unlink(missing_ok=True)
        output.stderr.discard()

    def close(self) -> None:
        """Remove the folder for outputs of running jobs, unless another run uses it."""
        with contextlib.suppress(OSError):
            os.rmdir(self.spools)  # noqa: PTH106 - same

    def _keep(self, spool: Spool, name: str) -> None:
        path = str(self._folder / name)
        try:
            if self._may_replace:
                spool.move(path)
                return
            # The name is taken first: a run beside this one, or a job, may have made it since we looked.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            try:
                spool.move(path)
            except BaseException:
                os.unlink(path)  # noqa: PTH108 - same
                raise
        except OSError as error:
            raise OutputError(
                f"the jobs' output cannot be kept at {path}: {error.strerror}", reader_gone=False
            ) from error
