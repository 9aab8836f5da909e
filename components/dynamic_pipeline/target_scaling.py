"""The policy that measures the backlog in seconds of work, and wants it done within a goal."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil, isfinite

from dynamic_pipeline.scaling import Decision, Load, check_bounds

_ENOUGH = 5  # jobs that must have ended before their mean alone is trusted
_ROUNDING = 1e-9


@dataclass
class TargetScaling:
    """As many workers as clear the backlog within *drain_goal_s*: ``ceil(backlog x service time / goal)``.

    The idea is Dask's ``target_duration`` and the "acceptable backlog per instance" of AWS target tracking; tolerance and
    down window are those of the Kubernetes horizontal autoscaler. The service time is the work that a job takes, retries
    included: seconds worked over jobs ended, within a window. Jobs that still run count among the seconds, or long first
    jobs would not be seen before they end.

    Args:
        backlog_per_worker: jobs per worker, in place of the goal: the service time does not matter then.
        tolerance: no change where the need differs from the limit by less than this share of it.
        up_stabilization_s, down_stabilization_s: the pool grows to the least, and shrinks to the most, that was needed
            within this time.
        max_step_up, max_step_down: workers at once; None: any.
        service_time_prior_s: what a job is taken for as long as nothing is known.
        service_time_window_s: what is older does not count.

    Raises:
        ValueError: a value is out of its bounds.
    """

    min_workers: int
    max_workers: int
    drain_goal_s: float = 10.0
    backlog_per_worker: int | None = None
    tolerance: float = 0.1
    up_stabilization_s: float = 0.0
    down_stabilization_s: float = 5.0
    max_step_up: int | None = None
    max_step_down: int | None = 1
    service_time_prior_s: float = 1.0
    service_time_window_s: float = 60.0
    _needed: deque[tuple[float, int]] = field(default_factory=deque, repr=False)  # (when, workers)
    _worked: deque[tuple[float, float, int]] = field(default_factory=deque, repr=False)  # (when, busy, ended)

    def __post_init__(self) -> None:
        check_bounds(self.min_workers, self.max_workers)
        for name in ("drain_goal_s", "service_time_prior_s", "service_time_window_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be longer than 0 seconds")
        for name in ("tolerance", "up_stabilization_s", "down_stabilization_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        for name in ("backlog_per_worker", "max_step_up", "max_step_down"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")

    def start(self) -> int:
        return self.min_workers

    def decide(self, load: Load) -> Decision:
        limit = load.limit
        if not _is_sound(load) or (self._needed and load.now_s < self._needed[-1][0]):
            return Decision(limit, "stale signal")  # missing data is never a reason to shrink
        need, why = self._need(load)
        raw = min(max(ceil(need - _ROUNDING), self.min_workers), self.max_workers)
        if abs(need - limit) <= self.tolerance * limit and self.min_workers <= limit <= self.max_workers:
            raw = limit
        self._remember(load.now_s, raw)
        least = min(raw for at_s, raw in self._needed if at_s >= load.now_s - self.up_stabilization_s)
        most = max(raw for at_s, raw in self._needed if at_s >= load.now_s - self.down_stabilization_s)
        if least > limit:
            return Decision(least if self.max_step_up is None else min(least, limit + self.max_step_up), why)
        if most < limit:
            return Decision(
                most if self.max_step_down is None else max(most, limit - self.max_step_down), why
            )
        return Decision(limit, "as needed")

    def _need(self, load: Load) -> tuple[float, str]:
        """How many workers the load needs, as a fraction, and why."""
        backlog = load.runnable
        # The producer waits: there may be more by any number.
        if load.capacity and load.queued >= load.capacity:
            return float(self.max_workers), "the queue is full"
        if self.backlog_per_worker is not None:
            need = backlog / self.backlog_per_worker
            why = f"backlog {backlog} at {self.backlog_per_worker} per worker"
        else:
            service_s = self._service_s(load)
            need = backlog * service_s / self.drain_goal_s
            why = f"backlog {backlog} of {service_s:.3g}s in {self.drain_goal_s:g}s"
        if backlog > load.running:  # no fewer than work now, while others wait
            need = max(need, float(load.running))
        return need, why

    def _service_s(self, load: Load) -> float:
        worked = self._worked
        if not worked:
            worked.append((load.now_s, 0.0, 0))
        worked.append((load.now_s, load.busy_s, load.ended))
        while len(worked) > 1 and worked[1][0] <= load.now_s - self.service_time_window_s:
            worked.popleft()
        _, busy_before_s, ended_before = worked[0]
        busy_s, ended = load.busy_s - busy_before_s, load.ended - ended_before
        if ended >= _ENOUGH:
            return busy_s / ended
        return (busy_s + self.service_time_prior_s) / (ended + 1)

    def _remember(self, now_s: float, raw: int) -> None:
        self._needed.append((now_s, raw))
        oldest_s = now_s - max(self.up_stabilization_s, self.down_stabilization_s)
        while self._needed[0][0] < oldest_s:
            self._needed.popleft()


def _is_sound(load: Load) -> bool:
    return all(isfinite(value) and value >= 0 for value in load)
