"""The errors that cross a room's border."""

from __future__ import annotations


class PipelineError(Exception):
    """Base of this package's errors; its text is one clear line for the user."""


class UsageError(PipelineError):
    """What was asked for cannot be done; found before the first job. *hint* tells the way out."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class PermanentError(PipelineError):
    """Raise it in a job to say that a retry cannot help: the job fails at once."""


class AttemptFailed(PipelineError):
    """An attempt that failed in a way whose text says it all; logged without the class name."""


class Interrupted(PipelineError):
    """Raised by work that was cut short by a forced stop; it is not an attempt and charges no retry."""

    value: object = None  # what there is to show of it


class StoppedEarly(PipelineError):
    """A signal came before the run had begun."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class SourceStopped(PipelineError):
    """Raised by a source that gave up waiting for its next record because the run stops producing."""


class IoFault(PipelineError):
    """Something around the jobs could not be read or written: exit code 4."""


class SourceError(IoFault):
    """The input could not be read to its end; the text names the input and what went wrong."""


class OutputError(IoFault):
    """The output of the jobs could not be written; the run stops, since a result would be lost."""

    def __init__(self, text: str, *, reader_gone: bool) -> None:
        super().__init__(text)
        self.reader_gone = reader_gone
