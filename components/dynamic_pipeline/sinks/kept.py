"""Outputs kept in the files of a folder, one or two per job, instead of being shown."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from dynamic_pipeline.errors import OutputError, UsageError
from dynamic_pipeline.sinks.output import Output
from dynamic_pipeline.spool import Spool

_NUMBERED = re.compile(r"[0-9]+\.(out|err)")


class KeptOutputs:
    """`ID.out` and, where something was written to it, `ID.err` in *folder*, which is made if missing.

    Nothing is ever overwritten.

    Raises:
        UsageError: it holds such files already. OSError: it cannot be made or read.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        if self._folder.is_dir():
            for name in os.listdir(self._folder):  # noqa: PTH208 - names are all that counts
                if _NUMBERED.fullmatch(name):
                    raise UsageError(
                        f"--output {folder}: it holds outputs already, such as {name}",
                        hint="name a new folder, or remove what is in this one",
                    )
        elif os.path.lexists(self._folder):
            raise UsageError(f"--output {folder}: is not a folder")
        # Commands write here: a move from there is a change of name, however large the output is.
        self.spools = str(self._folder / ".running")
        os.makedirs(self.spools, exist_ok=True)  # noqa: PTH103 - text in, text out

    def put(self, output: Output) -> None:
        """Put what the job wrote at its place.

        Raises:
            OutputError: it cannot be put there, or something is there.
        """
        self._keep(output.stdout, f"{output.job_id}.out")
        if output.stderr.size:
            self._keep(output.stderr, f"{output.job_id}.err")
        output.stderr.discard()

    def close(self) -> None:
        """Remove the folder for outputs of running jobs, unless another run uses it."""
        with contextlib.suppress(OSError):
            os.rmdir(self.spools)  # noqa: PTH106 - same

    def _keep(self, spool: Spool, name: str) -> None:
        path = str(self._folder / name)
        try:
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
