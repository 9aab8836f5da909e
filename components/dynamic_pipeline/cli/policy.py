"""Settings and options → how the pool is sized, and when the run gives up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

from pipeline_config import Settings

from dynamic_pipeline.attempts import Failed
from dynamic_pipeline.breaker import Breaker
from dynamic_pipeline.ceilings import Efficiency, GuardedScaling, Overload, OverloadErrors
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.halting import HaltPolicy
from dynamic_pipeline.jobs_file import JobsFilePolicy
from dynamic_pipeline.retry import Backoff, RetryBudget, RetryPolicy, parse_codes, parse_names
from dynamic_pipeline.scaling import FixedScaling, ScalingPolicy, ThresholdScaling
from dynamic_pipeline.target_scaling import TargetScaling

_T = TypeVar("_T")


class Rules(NamedTuple):
    """All that decides in a run, as the settings and options have it."""

    scaling: ScalingPolicy
    retry: RetryPolicy
    halt: HaltPolicy | None
    breaker: Breaker | None
    is_overload: Callable[[Failed], bool]


def make_rules(request: Request, settings: Settings) -> Rules:
    """The rules of a run.

    Raises:
        UsageError: one of them cannot be.
    """
    return Rules(
        make_policy(request, settings),
        make_retry(settings, request.luck),
        make_halt(request),
        make_breaker(settings),
        make_overload(settings),
    )


def make_policy(request: Request, settings: Settings) -> ScalingPolicy:
    """The policy that the settings name, within the bounds of `--jobs-file` where there is one.

    Raises:
        UsageError: the file holds something else than bounds.
    """
    pipeline = settings.pipeline
    is_fixed = settings.scaling.policy == "fixed"

    guards = _guards(pipeline.min_workers, pipeline.max_workers, settings)

    def make(least: int, most: int) -> ScalingPolicy:
        nonlocal guards
        guards = [
            replace(guard, min_workers=least, max_workers=most) for guard in guards
        ]  # what they know stays
        policy = make_unguarded(least, most)
        return GuardedScaling(policy, guards) if guards and least < most else policy

    def make_unguarded(least: int, most: int) -> ScalingPolicy:
        if is_fixed or least == most:
            return FixedScaling(most)
        if settings.scaling.policy == "target":
            return _target(least, most, settings)
        age_s = settings.scaling.grow_age
        return ThresholdScaling(least, most, pipeline.grow_threshold, pipeline.shrink_threshold, age_s)

    if request.jobs_file is None:
        return make(pipeline.min_workers, pipeline.max_workers)
    try:
        return JobsFilePolicy(request.jobs_file, (pipeline.min_workers, pipeline.max_workers), make)
    except ValueError as error:
        raise UsageError(f"--jobs-file {request.jobs_file}: {error}") from None


def _guards(least: int, most: int, settings: Settings) -> list[Efficiency | Overload]:
    keys = settings.guards
    guards: list[Efficiency | Overload] = []
    if keys.efficiency is not None:
        gain, ttl_s = keys.efficiency / 100, keys.efficiency_ttl
        guards.append(Efficiency(least, most, gain, keys.efficiency_jobs, ttl_s))
    if keys.overload is not None:
        guards.append(Overload(least, most, keys.overload_factor / 100, keys.overload_recover))
    return guards


def make_overload(settings: Settings) -> OverloadErrors:
    """Which failures mean overload.

    Raises:
        UsageError: they cannot be read.
    """
    text = settings.guards.overload
    try:
        return OverloadErrors() if text is None else OverloadErrors.parse(text)
    except ValueError as error:
        raise UsageError(f"guards.overload: {error}") from None


def _target(least: int, most: int, settings: Settings) -> TargetScaling:
    target = settings.target
    return TargetScaling(
        least,
        most,
        target.drain_goal,
        target.backlog_per_worker,
        target.tolerance / 100,
        target.up_stabilization,
        target.down_stabilization,
        target.max_step_up,
        target.max_step_down,
        target.service_time_prior,
        target.service_time_window,
    )


def make_retry(settings: Settings, seed: int) -> RetryPolicy:
    """How often a failed job is tried again, and when.

    Raises:
        UsageError: a list of codes or names is none.
    """
    retry = settings.retry
    return RetryPolicy(
        settings.pipeline.max_retries,
        Backoff(retry.base, retry.factor, retry.cap, retry.jitter == "full", seed),
        _listed("retry.on_exit", retry.on_exit, parse_codes),
        _listed("retry.not_on_exit", retry.not_on_exit, parse_codes) or frozenset(),
        _listed("retry.fatal", retry.fatal, parse_names) or frozenset(),
        None if retry.budget is None else RetryBudget(retry.budget),
    )


def _listed(key: str, text: str | None, parse: Callable[[str], frozenset[_T]]) -> frozenset[_T] | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from None


def make_breaker(settings: Settings) -> Breaker | None:
    """What ends a run in which too much fails; None: nothing.

    Raises:
        UsageError: there is no window to count in.
    """
    breaker = settings.breaker
    if not breaker.errors and breaker.ratio is None:
        return None
    try:
        return Breaker(
            breaker.errors, breaker.window, breaker.ratio, breaker.min_attempts, breaker.count == "jobs"
        )
    except ValueError as error:
        raise UsageError(f"breaker: {error}") from None


def make_halt(request: Request) -> HaltPolicy | None:
    """When too many jobs have failed; None: never.

    Raises:
        UsageError: no such rule.
    """
    try:
        return HaltPolicy.parse(request.halt or "never")
    except ValueError as error:
        raise UsageError(f"--halt {error}") from None
