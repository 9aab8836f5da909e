"""Settings and options → how the pool is sized, and when the run gives up."""

from __future__ import annotations

from pipeline_config import Settings

from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.halting import HaltPolicy
from dynamic_pipeline.jobs_file import JobsFilePolicy
from dynamic_pipeline.scaling import FixedScaling, ScalingPolicy, ThresholdScaling


def make_policy(request: Request, settings: Settings) -> ScalingPolicy:
    """The policy that the settings name, within the bounds of `--jobs-file` where there is one.

    Raises:
        UsageError: the file holds something else than bounds.
    """
    pipeline = settings.pipeline
    is_fixed = settings.scaling.policy == "fixed"

    def make(least: int, most: int) -> ScalingPolicy:
        if is_fixed or least == most:
            return FixedScaling(most)
        return ThresholdScaling(least, most, pipeline.grow_threshold, pipeline.shrink_threshold)

    if request.jobs_file is None:
        return make(pipeline.min_workers, pipeline.max_workers)
    try:
        return JobsFilePolicy(request.jobs_file, (pipeline.min_workers, pipeline.max_workers), make)
    except ValueError as error:
        raise UsageError(f"--jobs-file {request.jobs_file}: {error}") from None


def make_halt(request: Request) -> HaltPolicy | None:
    """When too many jobs have failed; None: never.

    Raises:
        UsageError: no such rule.
    """
    try:
        return HaltPolicy.parse(request.halt or "never")
    except ValueError as error:
        raise UsageError(f"--halt {error}") from None
