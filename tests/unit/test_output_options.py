"""How outputs are shown: which options go together, and what a quiet log holds."""

from pathlib import Path

import pytest
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.cli.outputs import plan_output
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.errors import SourceStopped, UsageError
from dynamic_pipeline.events import JobFailed, JobSucceeded, JobUnfinished
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.sinks.log import WARNING, LogSink, LogTarget
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.stop import Stop

ECHO, CALL = ("echo",), "pkg.mod:func"


@pytest.mark.parametrize(
    "request_",
    [
        Request(command=ECHO, inputs=("a",), keeps_order=True, is_tagged=True, is_quiet=True),
        Request(command=ECHO, inputs=("a",), output="out", is_quiet=True),
        Request(call=CALL, inputs=("a",), is_quiet=True),
        Request(jobs=3, is_quiet=True),
    ],
)
def test_what_goes_together(request_: Request) -> None:
    """Order, tags and quiet; a folder and quiet; and quiet is for every workload."""
    request_.check()


@pytest.mark.parametrize(
    ("request_", "text", "hint"),
    [
        (
            Request(command=ECHO, inputs=("a",), keeps_order=True, output="out"),
            "-k is about output that is shown, and --output shows none",
            "leave one of them out",
        ),
        (
            Request(command=ECHO, inputs=("a",), is_tagged=True, output="out"),
            "--tag is about output that is shown, and --output shows none",
            "leave one of them out",
        ),
        (Request(command=ECHO, inputs=("a",), output=" "), "--output needs the name of a folder", ""),
        (
            Request(call=CALL, inputs=("a",), keeps_order=True),
            "-k is for commands: what a Python call prints goes straight to stdout",
            "",
        ),
        (
            Request(call=CALL, inputs=("a",), is_tagged=True),
            "--tag is for commands: what a Python call prints goes straight to stdout",
            "",
        ),
        (
            Request(call=CALL, inputs=("a",), output="out"),
            "--output is for commands: what a Python call prints goes straight to stdout",
            "",
        ),
        (Request(jobs=3, keeps_order=True), "-k belongs to real work", "add -i FILE and -- CMD {}"),
    ],
)
def test_what_would_have_no_effect_is_refused(request_: Request, text: str, hint: str) -> None:
    """Each option that is given does what it says, or the run does not begin."""
    with pytest.raises(UsageError) as caught:
        request_.check()

    assert (text, hint) == (str(caught.value), caught.value.hint)


def test_in_order_source_and_sink_share_one_lead() -> None:
    """The source stops ten thousand jobs ahead of the oldest that has not ended; each that ends lets one more go."""
    stop = Stop()
    output = plan_output(Request(command=ECHO, keeps_order=True), stop)
    stop.set()  # so that it does not wait where it would
    source = iter(output.paced(range(20_000)))
    drawn: list[int] = [next(source), next(source)]
    output.sink.emit([JobUnfinished(Job(2, None)), JobUnfinished(Job(1, None))], Stats())

    with pytest.raises(SourceStopped):
        drawn.extend(source)
    assert 10_002 == len(drawn)


def test_a_quiet_target_gets_warnings_and_what_is_worse(tmp_path: Path) -> None:
    """The file beside it stays whole."""
    quiet, whole = (LogTarget.open_file(str(tmp_path / name)) for name in ("quiet", "whole"))
    quiet.least = WARNING
    sink = LogSink([quiet, whole])
    attempt = Attempt(Job(1, None), 1)
    sink.emit(
        [
            JobSucceeded(attempt, Succeeded(None, 0.1, "worker-01")),
            JobFailed(attempt, Failed("no", 0.1, "w")),
        ],
        Stats(),
    )
    sink.say("WARNING", "beware")
    sink.close()

    def texts(name: str) -> list[str]:
        return [line.split(" ", 2)[2] for line in (tmp_path / name).read_text().splitlines()]

    said = ["[w] job 1 permanently failed", "✗ job 1 handled by w, ERROR: no", "beware"]
    assert said == texts("quiet")
    assert ["✓ job 1 handled by worker 01", *said] == texts("whole")
