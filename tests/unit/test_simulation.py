"""Runs on a virtual clock: the real orchestrator, supervisor and policies over a trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dynamic_pipeline.cli.app import app
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import FixedScaling, ScalingPolicy, ThresholdScaling
from dynamic_pipeline.simulation import traces
from dynamic_pipeline.simulation.figures import figures
from dynamic_pipeline.simulation.traces import TraceJob
from dynamic_pipeline.simulation.virtual_run import Measured, VirtualRun
from dynamic_pipeline.target_scaling import TargetScaling
from typer.testing import CliRunner


def measured(trace: list[TraceJob], policy: ScalingPolicy, *, queue_capacity: int = 200) -> Measured:
    return VirtualRun(trace, policy, retry=RetryPolicy(3), queue_capacity=queue_capacity).run()


def jobs(count: int, seconds: float) -> list[TraceJob]:
    return [TraceJob(0.0, ((seconds, True),))] * count


@pytest.mark.parametrize(
    ("trace", "policy", "changes", "end_s"),
    [
        (jobs(49, 2.95), TargetScaling(2, 8), [(1.0, 2, 8)], 20.65),
        (
            jobs(40, 30.0),
            TargetScaling(2, 8, 60.0, service_time_prior_s=0.1),
            [(2.0, 2, 3), (3.0, 3, 5), (4.0, 5, 8)],
            154.0,
        ),
        (jobs(49, 2.95), ThresholdScaling(2, 8), [], 73.75),
    ],
)
def test_a_run_is_what_it_is_by_hand(
    trace: list[TraceJob], policy: ScalingPolicy, changes: list[tuple[float, int, int]], end_s: float
) -> None:
    """The first changes of the limit, and the end."""
    run = measured(trace, policy)

    assert changes == [change[:3] for change in run.changes[: len(changes)]]
    assert pytest.approx(end_s) == run.end_s
    assert len(trace) == run.succeeded


def test_seconds_are_counted_by_hand() -> None:
    """Two workers, three jobs of 2 s at once, one of which fails once; then one more at 10."""
    trace = [*jobs(2, 2.0), TraceJob(0.0, ((2.0, False), (1.0, True))), TraceJob(10.0, ((1.0, True),))]
    run = measured(trace, FixedScaling(2))

    assert (4, 0, 11.0, 8.0) == (run.succeeded, run.failed, run.end_s, run.busy_s)
    assert (22.0, 2.0, 0.0, 3) == (run.allowed_s, run.waiting_s, run.blocked_s, run.most_backlog)
    assert [0.0, 0.0, 0.0, 2.0] == run.waits_s
    assert 22.5 == figures(run, 2)["cost_j"]


def test_a_full_queue_holds_the_producer() -> None:
    """What waits beyond it counts as waiting, from the time at which it was meant to come."""
    run = measured(jobs(6, 1.0), FixedScaling(1), queue_capacity=1)

    assert 6.0 == run.end_s
    assert run.blocked_s > 0
    assert 15.0 == run.waiting_s
    assert [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] == run.waits_s


def test_an_empty_trace_ends_at_once() -> None:
    """Nothing to do takes no time."""
    assert 0.0 == measured([], FixedScaling(1)).end_s


@pytest.mark.parametrize("name", traces.NAMES)
def test_a_named_trace_repeats_with_its_seed(name: str) -> None:
    """In order, within its ten minutes, another one for another seed."""
    trace = traces.named(name, 1)

    assert trace == traces.named(name, 1) != traces.named(name, 2)
    assert trace == sorted(trace, key=lambda job: job.at_s)
    assert 0 <= trace[0].at_s <= trace[-1].at_s < 600


def run(*args: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["simulate", *args])
    return done.exit_code, done.stdout, done.stderr


def test_policies_are_laid_side_by_side() -> None:
    """JSON is the same to the byte on a repeat; the table has the same figures. `target` costs less on a ramp."""
    code, told, _ = run("--trace", "ramp", "--compare", "--format", "json", "--seed", "3")
    found = json.loads(told)["policies"]

    assert (0, told) == (code, run("--trace", "ramp", "--compare", "--format", "json", "--seed", "3")[1])
    assert ["threshold", "target", "fixed"] == list(found)
    assert found["target"]["cost_j"] < found["threshold"]["cost_j"]
    table = run("--trace", "ramp", "--compare", "--seed", "3")[1]
    assert f"{found['target']['wait_p95_s']:.1f}" in table


def test_a_file_and_a_policy_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace of one's own, and a function that is imported."""
    (tmp_path / "trace.jsonl").write_text(
        '{"t": 1, "svc": [2.0, 1.0]}\n\n{"t": 0.5, "svc": [1], "ok": [true]}\n'
    )
    (tmp_path / "mine_for_simulation.py").write_text("def three(load):\n    return 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, told, _ = run(
        "--trace", str(tmp_path / "trace.jsonl"), "--policy", "mine_for_simulation:three", "--format", "json"
    )

    assert 0 == code
    found = json.loads(told)["policies"]["mine_for_simulation:three"]
    assert (2, 3, 4.0) == (found["jobs_succeeded"], found["most_workers"], found["makespan_s"])


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--trace", "nowhere"), "--trace nowhere: there is no such file; the named ones are steady"),
        (("--format", "xml"), "--format xml: it must be table or json"),
        (("--set", "target.tolerance=101"), "target.tolerance"),
    ],
)
def test_mistakes_are_told_in_one_line(args: tuple[str, ...], told: str) -> None:
    """With exit code 2."""
    code, _, error = run(*args)

    assert 2 == code
    assert told in error


@pytest.mark.parametrize(
    "line", ["[]", "{}", '{"t": -1, "svc": [1]}', '{"t": 0, "svc": []}', '{"t": 0, "svc": [1], "ok": [1]}']
)
def test_a_bad_line_of_a_trace_is_named(tmp_path: Path, line: str) -> None:
    """With the shape that it should have."""
    (tmp_path / "trace").write_text('{"t": 0, "svc": [1]}\n' + line)
    with pytest.raises(ValueError, match="line 2: it must be"):
        traces.read(tmp_path / "trace")
