"""What a Python function can learn of the job that it is called for, and whether it should stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynamic_pipeline.attempts import this_thread


class StopFlags:
    """Which calls of a run should end early. Any thread may ask and set; nothing is ever taken back."""

    def __init__(self) -> None:
        self._all = False
        self._jobs: set[int] = set()  # those that took too long

    def set_all(self) -> None:
        self._all = True

    def set(self, job_id: int) -> None:
        self._jobs.add(job_id)

    def asks(self, job_id: int) -> bool:
        return self._all or job_id in self._jobs


_NEVER = StopFlags()


@dataclass(frozen=True)
class JobContext:
    """The job that runs on this thread."""

    id: int  # counts from 1 in the order of the input
    attempt: int  # 1 for the first try
    _flags: StopFlags = field(repr=False)

    @property
    def should_stop(self) -> bool:
        """Whether nobody waits for this call any more: a forced stop, or its time is up. Ask often, and return."""
        return self._flags.asks(self.id)


def current_job() -> JobContext:
    """The job that runs on the calling thread. Keep it to ask from a thread of your own.

    Raises:
        LookupError: none does.
    """
    call = getattr(this_thread, "call", None)
    if call is None or call.attempt is None:
        raise LookupError("no job runs on this thread")
    return JobContext(call.attempt.job.id, call.attempt.number, getattr(call.work, "stop_flags", _NEVER))
