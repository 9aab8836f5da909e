"""A stream of jobs through a pool that sizes itself: retries, drains, tells the truth about what failed.

    from dynamic_pipeline import run

    summary = run(fetch, urls, max_workers=16, on_result=print)

Names are imported when they are first used: a command line or a worker process pays for what it needs.
"""

TYPE_CHECKING = False  # checkers know the name; importing `typing` would double the price of this package
__version__ = "0.1.0"

if TYPE_CHECKING:
    from dynamic_pipeline.collector import Sink
    from dynamic_pipeline.errors import PermanentError
    from dynamic_pipeline.events import JobFailed, JobSucceeded
    from dynamic_pipeline.executors.resizable import ResizableThreadPoolExecutor
    from dynamic_pipeline.job_context import current_job
    from dynamic_pipeline.jobs import Job
    from dynamic_pipeline.library import run, start
    from dynamic_pipeline.scaling import Decision, FixedScaling, Load, ThresholdScaling
    from dynamic_pipeline.summary import Summary
    from dynamic_pipeline.wiring import Run

__all__ = [
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
]

_HOMES = {
    "collector": ("Sink",),
    "errors": ("PermanentError",),
    "events": ("JobFailed", "JobSucceeded"),
    "executors.resizable": ("ResizableThreadPoolExecutor",),
    "job_context": ("current_job",),
    "jobs": ("Job",),
    "library": ("run", "start"),
    "scaling": ("Decision", "FixedScaling", "Load", "ThresholdScaling"),
    "summary": ("Summary",),
    "wiring": ("Run",),
}


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415 - not needed for `--version`

    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
