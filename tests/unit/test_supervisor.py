"""The supervisor: one decision per interval, and nothing else triggers one."""

from __future__ import annotations

import pytest
from dynamic_pipeline.handover import Handover
from dynamic_pipeline.inbox import Message, Resize
from dynamic_pipeline.scaling import Decision, Load, ThresholdScaling
from dynamic_pipeline.stop import Stop
from dynamic_pipeline.supervisor import Supervisor

from tests.doubles import PATIENCE_S, Spawned


def limits(inbox: Handover[Message]) -> list[int]:
    return [message.decision.limit for message in inbox.take_nowait() if isinstance(message, Resize)]


@pytest.mark.parametrize(
    ("queued", "limit", "sent"),
    [
        (50, 3, [4]),
        (49, 3, []),
        (11, 3, []),
        (10, 3, [2]),
        (0, 3, [2]),
        (50, 8, []),
        (10, 2, []),
        (1000, 7, [8]),
    ],
)
def test_tick_posts_a_new_limit_only_when_it_changes(queued: int, limit: int, sent: list[int]) -> None:
    """One step up at the grow threshold, one down at the shrink threshold, silence between and at the bounds."""
    inbox: Handover[Message] = Handover()
    load = Load(queued, in_flight=0, waiting=0, limit=limit)
    Supervisor(ThresholdScaling(2, 8), lambda: load, inbox, Stop(), 1.0).tick()
    assert limits(inbox) == sent


def test_the_message_holds_what_the_decision_was_made_on() -> None:
    """Running jobs and waiting retries belong to the backlog; the load and the reason go with the limit."""
    inbox: Handover[Message] = Handover()
    load = Load(queued=40, in_flight=6, waiting=4, limit=2)
    Supervisor(ThresholdScaling(2, 8), lambda: load, inbox, Stop(), 1.0).tick()
    assert inbox.take_nowait() == [Resize(Decision(3, "backlog 50 >= 50"), load)]


class _Policy:
    """Asks for one more worker at each decision, and tells when it has had *most*."""

    def __init__(self, stop: Stop, most: int) -> None:
        self._stop, self._most = stop, most
        self.decided = 0

    def start(self) -> int:
        return 1

    def decide(self, load: Load) -> Decision:
        self.decided += 1
        if self.decided == self._most:
            self._stop.set()
        return Decision(self.decided + 1, "more")


def test_run_ticks_once_per_interval_until_it_is_stopped() -> None:
    """Each interval brings one decision; the stop ends the thread."""
    inbox: Handover[Message] = Handover()
    stop = Stop()
    policy = _Policy(stop, 5)
    Spawned(Supervisor(policy, lambda: Load(0, 0, 0, 1), inbox, stop, 0.001).run).result()
    assert limits(inbox) == [2, 3, 4, 5, 6]


def test_a_stop_ends_the_wait_for_a_long_interval() -> None:
    """The thread leaves at once, not at the next tick, and makes no last decision."""
    inbox: Handover[Message] = Handover()
    stop = Stop()
    policy = _Policy(stop, 1)
    running = Spawned(Supervisor(policy, lambda: Load(0, 0, 0, 1), inbox, stop, PATIENCE_S * 100).run)
    stop.set()
    running.result()
    assert policy.decided == 0


def test_a_stop_before_the_start_is_seen() -> None:
    """A supervisor that is told to end before it began makes no decision."""
    inbox: Handover[Message] = Handover()
    stop = Stop()
    policy = _Policy(stop, 1)
    supervisor = Supervisor(policy, lambda: Load(0, 0, 0, 1), inbox, stop, PATIENCE_S * 100)
    stop.set()
    supervisor.run()
    assert policy.decided == 0
