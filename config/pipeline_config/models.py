"""The settings, typed and checked. What a field means stands in its description, and nowhere else.

There are no defaults here: `config.yml` has them.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from pipeline_config.durations import DURATION_PATTERN
from pipeline_config.rules import conflicts

Seconds = Annotated[float, Field(ge=0), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})]
"""A duration: float seconds in Python, Go's notation in every text."""

SomeSeconds = Annotated[float, Field(gt=0), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})]
"""A duration longer than zero."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Pipeline(_Section):
    """Size of the pool, of the queue, and when they change."""

    min_workers: int = Field(ge=1, description="the pool never has fewer workers; 1 or more")
    max_workers: int = Field(ge=1, description="the pool never has more workers; at least min_workers")
    grow_threshold: int = Field(ge=1, description="from this backlog up, one worker is added per check")
    shrink_threshold: int = Field(ge=0, description="from this backlog down, one worker is removed per check")
    check_interval: SomeSeconds = Field(description="time between two checks of the backlog")
    failure_rate: int = Field(
        ge=0, description="simulated work: about one attempt in this many fails; 0 never, 1 always"
    )
    queue_capacity: int = Field(ge=1, description="jobs the queue holds before the producer waits")
    max_retries: int = Field(ge=0, description="times a failed job is tried again; 3 makes 4 attempts")
    timeout: SomeSeconds | None = Field(description="time for one attempt; null: no limit")
    executor: Literal["threads", "processes", "dask"] = Field(
        description="where Python calls run: in threads, in processes, or on a Dask cluster"
    )
    dask: str | None = Field(
        pattern=r"^[^\x00-\x20]+$",
        description="the cluster: local, or the address of its scheduler; null: none",
    )


class Scaling(_Section):
    """How the size of the pool is chosen."""

    policy: Literal["threshold", "target", "fixed"] = Field(
        description="threshold: steps by the backlog; target: by the time it takes; fixed: always max_workers"
    )
    grow_age: SomeSeconds | None = Field(
        description="threshold grows also once the oldest queued job has waited so long; null: it does not"
    )


class Target(_Section):
    """The policy target: as many workers as do the backlog within a goal."""

    drain_goal: SomeSeconds = Field(description="time in which the backlog should be done")
    backlog_per_worker: int | None = Field(
        ge=1, description="jobs per worker, in place of drain_goal; null: not"
    )
    tolerance: int = Field(ge=0, le=100, description="percent of the pool by which the need may differ")
    up_stabilization: Seconds = Field(
        description="the pool grows to the least that was needed within this time"
    )
    down_stabilization: Seconds = Field(
        description="the pool shrinks to the most that was needed within this time"
    )
    max_step_up: int | None = Field(ge=1, description="workers that one check may add; null: any number")
    max_step_down: int | None = Field(ge=1, description="workers that one check may remove; null: any number")
    service_time_prior: SomeSeconds = Field(description="what a job is taken for until some have ended")
    service_time_window: SomeSeconds = Field(description="jobs that ended longer ago do not count")


class Guards(_Section):
    """Ceilings above which no policy goes; off by default."""

    efficiency: int | None = Field(
        ge=1,
        le=100,
        description="percent of the ideal that twice the workers must gain to be kept, as 25; null: off",
    )
    efficiency_jobs: int = Field(ge=1, description="jobs that must have ended before a size is judged")
    efficiency_ttl: SomeSeconds = Field(
        description="time until too many are tried again; twice as long each time, up to 10m"
    )
    overload: str | None = Field(
        description="failures that mean too much load, as TimeoutError,ConnectionError,75; null: none"
    )
    overload_factor: int = Field(ge=1, le=99, description="percent of the workers that stay after one")
    overload_recover: SomeSeconds = Field(
        description="time without one until a worker may come back, and then the next"
    )


class Retry(_Section):
    """Which failed jobs are tried again, and when; how often: pipeline.max_retries."""

    base: Seconds = Field(description="delay before the first retry; 0s: none")
    factor: int = Field(ge=1, description="each further delay is this many times as long")
    cap: Seconds = Field(description="no delay is longer")
    jitter: Literal["full", "none"] = Field(
        description="full: any time up to the delay, so that retries spread; none: the delay itself"
    )
    on_exit: str | None = Field(
        description='only these exit codes are tried again, as "75,100-110"; null: all'
    )
    not_on_exit: str | None = Field(
        description='these exit codes are not tried again, as "2,64-78"; null: none'
    )
    fatal: str | None = Field(
        description="exceptions that end a job at once, as ValueError,KeyError; null: none"
    )
    budget: int | None = Field(
        ge=0, description="retries per 100 first attempts within a minute, 10 are free; null: no limit"
    )


class Breaker(_Section):
    """Drains the run when too much fails; off by default."""

    errors: int = Field(
        ge=0, description="so many failures within the window trip it; 0: their number does not"
    )
    window: Seconds = Field(description="time in which failures are counted")
    count: Literal["attempts", "jobs"] = Field(
        description="attempts: each failed one; jobs: failures for good"
    )
    ratio: int | None = Field(
        ge=1,
        le=100,
        description="percent of failures within the window that trips it; null: the share does not",
    )
    min_attempts: int = Field(ge=1, description="the ratio counts once so many have ended within the window")


class Shutdown(_Section):
    """What the first stop signal does."""

    drain: Literal["all", "running"] = Field(
        description="all: accepted jobs are finished; running: only those that have started"
    )
    drain_timeout: Seconds | None = Field(
        description="time for the drain, then running jobs are ended; null: no limit"
    )
    kill_grace: Seconds = Field(description="time a job has between being told to end and being killed")


class Load(_Section):
    """The simulated workload."""

    profile: Literal["seed", "demo"] = Field(
        description="seed: 50 jobs/s and 1.7 jobs/s by turns; demo: short jobs, the pool grows and shrinks"
    )


class Log(_Section):
    """The log on the console and in pipeline.log."""

    format: Literal["text", "json"] = Field(description="text: lines to read; json: one object a line")
    view: Literal["live", "plain"] = Field(
        description="live: at a terminal the run is shown below its lines; plain: lines only"
    )


class Journal(_Section):
    """What a run leaves on disk."""

    state_dir: str = Field(
        pattern=r"^[^\x00]+$", description="folder of pipeline.log and journal.db, made when it is missing"
    )
    durability: Literal["full", "normal", "off"] = Field(
        description="full: survives a power cut; normal: a kill; off: there is no journal"
    )
    orphans: Literal["kill", "wait", "ignore"] = Field(
        description="what becomes of commands that outlived a killed run, before anything runs again"
    )


class Settings(_Section):
    """Everything that can be configured, checked; immutable.

    Building one by hand takes every field and Python's own types (durations in seconds) and raises
    pydantic.ValidationError. `load` gives the defaults, and better messages.
    """

    pipeline: Pipeline
    scaling: Scaling
    target: Target
    guards: Guards
    retry: Retry
    breaker: Breaker
    shutdown: Shutdown
    load: Load
    log: Log
    journal: Journal

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        for conflict in conflicts(dict(self.pipeline)):
            first = next(iter(conflict.values))
            raise ValueError(conflict.sentence(first, lambda name: f"{name} {getattr(self.pipeline, name)}"))
        return self
