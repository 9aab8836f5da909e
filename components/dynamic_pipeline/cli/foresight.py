"""What can be said of a run's dynamics before it begins: lines for the log, where the settings do not go together."""

from __future__ import annotations

from pipeline_config import Settings

from dynamic_pipeline.breaker import expected_false_trip_s
from dynamic_pipeline.pacing import Profile
from dynamic_pipeline.views.summary import duration

_SOON_S = 3600.0  # a breaker that ordinary failures trip within this time is told


def foresee(settings: Settings, profile: Profile | None = None) -> list[str]:
    """Of a simulated load with *profile* warnings; of real work, of which less is known, what would be.

    A job is taken for `target.service_time_prior`, or for what the profile says, its retries included. That
    backlog / workers x service time is what a drain takes follows from Little's law; the last job's tail is left out.
    """
    pipeline, shutdown, breaker = settings.pipeline, settings.shutdown, settings.breaker
    service_s = settings.target.service_time_prior
    attempt_s = None if profile is None else sum(profile.job_s) / 2
    chance = 1 / pipeline.failure_rate if pipeline.failure_rate else 0.0  # of an attempt to fail
    if attempt_s is not None:
        tries = pipeline.max_retries + 1
        service_s = attempt_s * (tries if chance == 1 else (1 - chance**tries) / (1 - chance))
    told = []
    most = pipeline.queue_capacity + pipeline.max_workers
    drain_s = most * service_s / pipeline.max_workers
    if shutdown.drain_timeout is not None and shutdown.drain == "all" and drain_s > shutdown.drain_timeout:
        take = "a full queue would take" if profile is None else f"warning: {most} accepted jobs take"
        told.append(
            f"{take} about {duration(drain_s)} to drain with {pipeline.max_workers} workers"
            f" at {duration(service_s)} a job; shutdown.drain_timeout is {duration(shutdown.drain_timeout)}"
        )
    if attempt_s and breaker.errors and breaker.count == "attempts":
        errors_per_s = pipeline.max_workers / attempt_s * chance
        trip_s = expected_false_trip_s(breaker.errors, breaker.window, errors_per_s)
        if trip_s < _SOON_S:
            told.append(
                f"warning: ordinary failures, {errors_per_s:.2g} a second, trip a breaker of {breaker.errors} errors"
                f" in {duration(breaker.window)} after about {duration(trip_s)}"
            )
    return told
