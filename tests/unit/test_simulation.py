"""Runs on a virtual clock: the real orchestrator, supervisor and policies over a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from dynamic_pipeline.cli import simulate
from dynamic_pipeline.cli.app import app
from dynamic_pipeline.retry import RetryPolicy
from dynamic_pipeline.scaling import FixedScaling, ScalingPolicy, ThresholdScaling
from dynamic_pipeline.simulation import traces
from dynamic_pipeline.simulation.figures import figures
from dynamic_pipeline.simulation.traces import Trace, TraceJob
from dynamic_pipeline.simulation.virtual_run import Change, Measured, VirtualRun
from dynamic_pipeline.target_scaling import TargetScaling
from pipeline_config.models import Scaling
from typer.testing import CliRunner


def measured(trace: list[TraceJob], policy: ScalingPolicy, *, queue_capacity: int = 200) -> Measured:
    return VirtualRun(Trace(trace), policy, retry=RetryPolicy(3), queue_capacity=queue_capacity).run()


def jobs(count: int, seconds: float) -> list[TraceJob]:
    return [TraceJob(0.0, ((seconds, True),))] * count


def limits(run: Measured) -> list[tuple[float, int, int]]:
    """When it was changed, from what, to what."""
    return [change[:3] for change in run.changes]


_UP = [(float(tick), tick + 1, tick + 2) for tick in range(1, 7)]


@pytest.mark.parametrize(
    ("count", "changes", "end_s"),
    [
        (49, [], 73.75),  # one below the grow threshold: two workers to the end
        (50, [(1, 2, 3), (2, 3, 4), (32, 4, 3), (33, 3, 2)], 43.30),
        (60, [*_UP, (23, 8, 7), (24, 7, 6), (25, 6, 5), (26, 5, 4)], 26.55),
    ],
)
def test_the_seeds_thresholds_by_hand(
    count: int, changes: list[tuple[float, int, int]], end_s: float
) -> None:
    """Jobs of 2.95 s that are all there at the start: the pool grows at each look, and shrinks at the end."""
    run = measured(jobs(count, 2.95), ThresholdScaling(2, 8))

    assert changes == limits(run)
    assert pytest.approx(end_s) == run.end_s
    assert count == run.succeeded


def test_target_grows_at_the_first_look_at_a_short_queue() -> None:
    """49 jobs of 2.95 s, which the thresholds 50 and 10 leave to two workers."""
    run = measured(jobs(49, 2.95), TargetScaling(2, 8))

    assert (1.0, 2, 8) == limits(run)[0]
    assert pytest.approx(20.65) == run.end_s


def test_target_sees_long_jobs_before_the_first_has_ended() -> None:
    """40 jobs of 30 s, a goal of 60 s, taken for 0.1 s at first: what runs counts, so the pool is whole after 4 s."""
    run = measured(jobs(40, 30.0), TargetScaling(2, 8, 60.0, service_time_prior_s=0.1))

    assert [(2.0, 2, 3), (3.0, 3, 5), (4.0, 5, 8)] == limits(run)[:3]
    assert pytest.approx(154.0) == run.end_s


def test_a_completion_at_the_time_of_a_look_comes_before_it() -> None:
    """51 jobs of 1 s on 2 workers: at the first look 49 are left, and the pool does not grow."""
    assert [] == limits(measured(jobs(51, 1.0), ThresholdScaling(2, 8)))
    assert (1, 2, 3) == limits(measured(jobs(52, 1.0), ThresholdScaling(2, 8)))[0]


def test_failures_do_not_trigger_a_decision() -> None:
    """Jobs that fail and come back change the limit at looks only, one step each."""
    run = measured([TraceJob(0.0, ((0.3, False), (0.3, True)))] * 80, ThresholdScaling(2, 8))

    assert run.changes
    assert all(at_s == int(at_s) and abs(new - old) == 1 for at_s, old, new in limits(run))
    assert len({at_s for at_s, *_ in run.changes}) == len(run.changes)
    assert pytest.approx(80 * 0.6) == run.busy_s


def test_seconds_are_counted_by_hand() -> None:
    """Two workers, three jobs of 2 s at once, one of which fails once; then one more at 10."""
    trace = [*jobs(2, 2.0), TraceJob(0.0, ((2.0, False), (1.0, True))), TraceJob(10.0, ((1.0, True),))]
    run = measured(trace, FixedScaling(2))

    assert (4, 0, 11.0, 8.0) == (run.succeeded, run.failed, run.end_s, run.busy_s)
    assert (22.0, 2.0, 0.0, 3) == (run.allowed_s, run.waiting_s, run.blocked_s, run.most_backlog)
    assert [0.0, 0.0, 0.0, 2.0] == run.waits_s
    assert 22.5 == figures(run, 2, None, 1.0)["cost_j"]


def test_a_full_queue_holds_the_producer() -> None:
    """What waits beyond it counts as waiting, from the time at which it was meant to come."""
    run = measured(jobs(6, 1.0), FixedScaling(1), queue_capacity=1)

    assert 6.0 == run.end_s
    assert run.blocked_s > 0
    assert 15.0 == run.waiting_s
    assert [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] == run.waits_s


def test_figures_by_hand() -> None:
    """Quantiles are values that occurred; a reversal is a change against the one before."""
    changes = [Change(1.0, 2, 8, ""), Change(9.0, 8, 7, ""), Change(10.0, 7, 6, ""), Change(20.0, 6, 7, "")]
    waits_s = [float(number) for number in range(1, 11)]
    found = figures(Measured(30.0, 9, 1, changes, waits_s, 100.0, 50.0, 40.0, 0.0, 12), 2, None, 1.0)

    assert (5.0, 10.0, 10.0) == (found["wait_p50_s"], found["wait_p95_s"], found["wait_p99_s"])
    assert (4, 2, 8, 1.0) == tuple(
        found[name] for name in ("scale_events", "reversals", "most_workers", "first_growth_s")
    )
    assert 100 + 0.25 * 40 + 0.5 * 9 == found["cost_j"]


def test_an_empty_trace_ends_at_once() -> None:
    """Nothing to do takes no time."""
    assert 0.0 == measured([], FixedScaling(1)).end_s


@pytest.mark.parametrize("name", [name for name in traces.NAMES if name != traces.CYCLE])
def test_a_named_trace_repeats_with_its_seed(name: str) -> None:
    """In order, within its ten minutes, another one for another seed."""
    trace, again, other = (traces.named(name, seed).jobs for seed in (1, 1, 2))

    assert trace == again != other
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
        (("--policy", "nowhere"), '--policy nowhere: write it as "pkg.mod:func"'),
        (("--policy", "math:sqrt"), "--policy math:sqrt: raised TypeError: must be real number, not Load"),
        (("--policy", "builtins:str"), "gives 'Load("),
        (("--trace", "."), "--trace .: Is a directory"),
        (("--trace", "nowhere"), "--trace nowhere: there is no such file; the named ones are steady"),
        (("--format", "xml"), "--format xml: it must be table or json"),
        (("--set", "target.tolerance=101"), "target.tolerance must be at most 100"),
    ],
)
def test_mistakes_are_told_in_one_line(args: tuple[str, ...], told: str) -> None:
    """With exit code 2."""
    code, _, error = run(*args)

    assert 2 == code
    assert told in error


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        '{"t": -1, "svc": [1]}',
        '{"t": 0, "svc": []}',
        '{"t": 0, "svc": [1], "ok": [1]}',
        '{"t": 1' + 400 * "0" + ', "svc": [1]}',
    ],
)
def test_a_bad_line_of_a_trace_is_named(tmp_path: Path, line: str) -> None:
    """With the shape that it should have."""
    (tmp_path / "trace").write_bytes(b'{"t": 0, "svc": [1]}\n' + line.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="line 2: it must be"):
        traces.read(tmp_path / "trace")


def test_all_policies_of_the_settings_are_compared() -> None:
    """A new one in the settings is one here."""
    assert get_args(Scaling.model_fields["policy"].annotation) == simulate._POLICIES
