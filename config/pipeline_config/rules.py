"""Rules that tie several settings of the section pipeline together.

Plain values come in and conflicts go out. Where a value came from, and how to write it there, is the caller's
affair.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WayOut:
    """What to do about a conflict: a phrase, then the settings of which one is enough."""

    phrase: str
    settings: Mapping[str, int]


@dataclass(frozen=True)
class Conflict:
    """Settings that cannot all hold, told once for each of them, because any one may be the newcomer."""

    values: Mapping[str, int]
    told_from: Mapping[str, str]
    ways_out: Mapping[str, WayOut]

    def sentence(self, newcomer: str, mention: Callable[[str], str]) -> str:
        """The conflict in words with *newcomer* as the cause; *mention* words a setting with its value."""
        return self.told_from[newcomer].format_map({name: mention(name) for name in self.values})


def conflicts(pipeline: Mapping[str, int]) -> Iterator[Conflict]:
    """Each rule that *pipeline* breaks. Rules about a name that it lacks are left out."""
    for rule, names in _RULES.items():
        if pipeline.keys() >= set(names):
            yield from rule(*(pipeline[name] for name in names))


def _limits(min_workers: int, max_workers: int) -> Iterator[Conflict]:
    if min_workers > max_workers:
        yield Conflict(
            values={"min_workers": min_workers, "max_workers": max_workers},
            told_from={
                "min_workers": "{min_workers} is more than {max_workers}",
                "max_workers": "{max_workers} is less than {min_workers}",
            },
            ways_out={
                "min_workers": WayOut("raise it too", {"max_workers": min_workers}),
                "max_workers": WayOut("lower it too", {"min_workers": max_workers}),
            },
        )


def _thresholds(grow: int, shrink: int) -> Iterator[Conflict]:
    # Both bounds are inclusive: were they equal, one backlog would ask for a worker more and a worker less.
    if shrink >= grow:
        lower = {"shrink_threshold": grow - 1}
        yield Conflict(
            values={"grow_threshold": grow, "shrink_threshold": shrink},
            told_from={
                "grow_threshold": "{grow_threshold} must be more than {shrink_threshold}",
                "shrink_threshold": "{shrink_threshold} must be less than {grow_threshold}",
            },
            ways_out={
                "grow_threshold": WayOut("lower it too", lower),
                "shrink_threshold": WayOut("keep it below", lower),
            },
        )


def _reach(grow: int, capacity: int, min_workers: int, shrink: int) -> Iterator[Conflict]:
    # A full queue and every worker of the smallest pool busy: the producer waits, so this is the longest
    # backlog which that pool can see. A higher threshold is never reached, and the pool never grows.
    longest = capacity + min_workers
    if grow > longest:
        sentence = "{queue_capacity} and {min_workers} never make a backlog of {grow_threshold}"
        settings = {"grow_threshold": longest, "queue_capacity": grow - min_workers}
        if longest <= shrink:
            del settings["grow_threshold"]
        names = {"grow_threshold": grow, "queue_capacity": capacity, "min_workers": min_workers}
        way_out = WayOut("for a pool that can grow", settings)
        yield Conflict(names, dict.fromkeys(names, sentence), dict.fromkeys(names, way_out))


_RULES: Mapping[Callable[..., Iterator[Conflict]], tuple[str, ...]] = {
    _limits: ("min_workers", "max_workers"),
    _thresholds: ("grow_threshold", "shrink_threshold"),
    _reach: ("grow_threshold", "queue_capacity", "min_workers", "shrink_threshold"),
}
