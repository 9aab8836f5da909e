"""Looks at the load once per check interval and asks the policy how many workers there should be."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from dynamic_pipeline.handover import Bell, Handover
from dynamic_pipeline.inbox import Message, Resize
from dynamic_pipeline.scaling import Decision, Load, ScalingPolicy
from dynamic_pipeline.stop import Stop


class Supervisor:
    """Owns its policy's memory; nothing but the interval triggers a decision. `note` hears of each, and must be quick."""

    def __init__(
        self,
        policy: ScalingPolicy,
        load: Callable[[], Load],
        inbox: Handover[Message],
        stop: Stop,
        interval_s: float,
    ) -> None:
        self._policy = policy
        self._load = load
        self._inbox = inbox
        self._stop = stop
        self._interval_s = interval_s
        self.note: Callable[[Load, Decision], object] = lambda _load, _decision: None  # set before `run`
        self._bell = Bell()
        stop.tell(self._bell.ring)

    def run(self) -> None:
        """Tick once per interval until *stop* is set. A late tick is not made up for."""
        due_s = monotonic() + self._interval_s
        while not self._stop.is_set:
            left_s = due_s - monotonic()
            if left_s > 0:
                self._bell.wait(lambda: self._stop.is_set, left_s)
                continue
            self.tick()
            due_s = max(due_s + self._interval_s, monotonic())

    def tick(self) -> None:
        """One decision; posts an absolute limit, and only if it differs from today's or comes with a warning."""
        load = self._load()
        decision = self._policy.decide(load)
        self.note(load, decision)
        if decision.limit != load.limit or decision.warning:
            self._inbox.put(Resize(decision, load))
