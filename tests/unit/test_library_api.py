"""What the library promises to those who import it."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dynamic_pipeline
import pytest
from dynamic_pipeline import (
    FixedScaling,
    JobFailed,
    JobSucceeded,
    PermanentError,
    ResizableThreadPoolExecutor,
    Summary,
    run,
    start,
)
from dynamic_pipeline.attempts import Attempt, Failed, Succeeded
from dynamic_pipeline.jobs import Job

from tests.doubles import Endless

PUBLIC = {
    "Decision",
    "FixedScaling",
    "Job",
    "JobFailed",
    "JobSucceeded",
    "Load",
    "PermanentError",
    "ResizableThreadPoolExecutor",
    "Run",
    "Sink",
    "Summary",
    "ThresholdScaling",
    "current_job",
    "run",
    "start",
}


def test_the_public_names_are_these() -> None:
    """Each can be imported and is listed; a new one is a decision, and there are fifteen at the most."""
    assert sorted(PUBLIC) == list(dynamic_pipeline.__all__)
    assert len(PUBLIC) <= 15
    assert set(dir(dynamic_pipeline)) >= PUBLIC
    assert None not in [getattr(dynamic_pipeline, name) for name in PUBLIC]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As with any module: `hasattr`, `from … import` and a typing error behave."""
    with pytest.raises(AttributeError, match="module 'dynamic_pipeline' has no attribute 'runn'"):
        getattr(dynamic_pipeline, "runn")  # noqa: B009 - a checker would see it


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_package_costs_nothing_until_it_is_used() -> None:
    """Importing it imports no other module of it."""
    names = modules_after("import dynamic_pipeline")

    assert not [name for name in names if name.startswith("dynamic_pipeline.")]


def test_a_run_needs_neither_log_nor_command_line() -> None:
    """No third party is imported for the library: no log sink of ours can be in the caller's way."""
    names = modules_after("from dynamic_pipeline import run\nassert run(len, ['ab']).succeeded == 1")

    assert not names & {
        "loguru",
        "typer",
        "click",
        "rich",
        "yaml",
        "pydantic",
        "pipeline_config",
        "durationpy",
    }


def test_each_end_of_a_job_is_delivered() -> None:
    """Once, with the job, how often it was tried, and what it returned or why it failed."""
    ends: dict[int, JobSucceeded | JobFailed] = {}

    def fn(record: int) -> int:
        if record == 0:
            raise PermanentError("no zero")
        return 10 // (record - 1)

    summary = run(
        fn, [0, 1, 2, 3], max_retries=1, on_result=lambda end: ends.update({end.attempt.job.id: end})
    )

    assert [
        (Attempt(Job(1, 0), 1), Failed, "PermanentError: no zero"),
        (Attempt(Job(2, 1), 2), Failed, "ZeroDivisionError: integer division or modulo by zero"),
        (Attempt(Job(3, 2), 1), Succeeded, 10),
        (Attempt(Job(4, 3), 1), Succeeded, 5),
    ] == [
        (
            end.attempt,
            type(end.outcome),
            end.outcome.error if isinstance(end, JobFailed) else end.outcome.value,
        )
        for _, end in sorted(ends.items())
    ]
    assert (4, 2, 2, 0, 1) == (
        summary.accepted,
        summary.succeeded,
        summary.failed,
        summary.unfinished,
        summary.retries,
    )
    assert ({1, 2}, 1) == ({failure.attempt.job.id for failure in summary.failures}, summary.exit_code)


def test_a_policy_of_ones_own_takes_the_place_of_the_bounds() -> None:
    """With one worker the jobs end in the order of the records."""
    order: list[int] = []
    run(order.append, range(50), policy=FixedScaling(1))

    assert list(range(50)) == order


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"min_workers": 0}, "min_workers is 0"),
        ({"min_workers": 9}, "max_workers is 8"),
        ({"max_workers": 0}, "max_workers is 0"),
        ({"min_workers": 2, "max_workers": 1}, "max_workers is 1"),
        ({"queue_capacity": 0}, "queue_capacity is 0"),
        ({"check_interval_s": 0.0}, "check_interval_s is 0.0"),
        ({"check_interval_s": -1.0}, "check_interval_s is -1.0"),
        ({"check_interval_s": math.nan}, "check_interval_s is nan"),
        ({"max_retries": -1}, "max_retries is -1"),
    ],
)
def test_a_number_out_of_its_range_is_refused(settings: dict[str, Any], key: str) -> None:
    """The error names the key and the value; no thread has been started, no record drawn."""
    source = Endless()
    with pytest.raises(ValueError, match=key):
        start(str, source, **settings)

    assert 0 == source.drawn


@pytest.mark.parametrize(
    "settings",
    [
        {"drain_timeout_s": -1.0},
        {"drain_timeout_s": math.nan},
        {"abort_grace_s": -1.0},
        {"abort_grace_s": math.nan},
        {"check_interval_s": math.inf},
    ],
)
def test_a_time_that_is_none_is_refused(settings: dict[str, Any]) -> None:
    """Less than nothing, no number, or for ever: refused when it is given, not found out by a thread."""
    (key,) = settings
    with pytest.raises(ValueError, match=key):
        run(str, [1, 2, 3], **settings)


def test_one_worker_can_be_asked_for_by_the_maximum_alone() -> None:
    """The minimum follows where it was not given."""
    assert 3 == run(str, [1, 2, 3], max_workers=1).succeeded


async def coroutine(record: int) -> None: ...


def generator(record: int) -> Iterator[int]:
    yield record


@pytest.mark.parametrize(
    ("fn", "text"),
    [(coroutine, "async function"), (generator, "generator function"), (3, "3 cannot be called")],
)
def test_a_function_whose_call_does_no_work_is_refused(fn: Any, text: str) -> None:
    """Every job would succeed without having run."""
    with pytest.raises(TypeError, match=text):
        run(fn, [1])


def test_an_unknown_setting_is_a_type_error() -> None:
    """A typing error is not ignored."""
    with pytest.raises(TypeError, match="max_worker"):
        run(str, [], max_worker=3)


def test_settings_are_given_by_name_only() -> None:
    """`run(fn, records, 8)` would say nothing about the 8."""
    positional: Any = start

    with pytest.raises(TypeError, match="positional"):
        positional(str, [], 8)


def test_on_end_is_called_whoever_listens_to_the_signals() -> None:
    """With `handle_signals` the run needs the call for itself too; the caller's is not lost."""
    calls: list[str] = []
    run(str, [1], on_end=lambda: calls.append("plain"))
    run(str, [1], on_end=lambda: calls.append("signals"), handle_signals=True)

    assert ["plain", "signals"] == calls


def test_a_summary_is_a_value() -> None:
    """It cannot be changed, and says how the command line would have left."""
    summary = run(str, [1])

    assert summary == Summary(1, 1, 0, 0, 0, True, (), 0, None, is_abandoned=False, is_mute=False)
    with pytest.raises(AttributeError):
        summary.failed = 1  # type: ignore[misc]  # the mistake under test


def test_a_signal_drains_a_run_that_handles_signals() -> None:
    """The accepted jobs finish, and the code is that of the signal: the source was not read to its end."""

    def fn(record: int) -> None:
        if record == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    summary = run(fn, Endless(), handle_signals=True, policy=FixedScaling(1), queue_capacity=5)

    assert summary.accepted == summary.succeeded >= 3
    assert 143 == summary.exit_code


def test_the_pool_is_a_standard_executor() -> None:
    """It can be used without the pipeline, and resized while it runs."""
    with ResizableThreadPoolExecutor(1) as pool:
        pool.resize(3)

        assert [1, 4, 9] == list(pool.map(pow, (1, 2, 3), (2, 2, 2)))


def test_a_function_of_the_load_sizes_the_pool() -> None:
    """Asked before the first job and at each check; what it raises comes out of the run."""
    asked: list[int] = []

    def policy(load: dynamic_pipeline.Load) -> int:
        asked.append(load.backlog)
        return 3

    assert 5 == run(str, range(5), policy=policy).succeeded
    assert [0] == asked[:1]
    with pytest.raises(TypeError, match="<lambda> gives None"):
        run(str, range(5), policy=lambda _: None)
