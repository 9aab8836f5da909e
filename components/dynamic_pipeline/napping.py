"""How long a thread of the line naps before it looks again: what comes meanwhile costs one wake-up.

Each wake-up takes the interpreter from the workers. Measured (`nox -s bench`): at 64 workers and calls of 1 ms a
tenth more calls per second; at 8 workers and commands of half a millisecond a sixth less time per command.
"""

from __future__ import annotations

COLLECTOR_S = 0.005  # after each batch; below what a person or a file notices
_LEAST_S = 0.0005  # a shorter nap costs more than it saves
_LONGEST_S = 0.002  # how late a message may be heard


def nap_s(reserve: int, ended: int, elapsed_s: float) -> float:
    """Seconds in which *reserve* calls are not used up, if calls go on ending as *ended* did in *elapsed_s*; 0: none.

    It is a third of the time that the reserve lasts, so that calls may end much faster and no worker waits.
    """
    if reserve <= 0 or ended * _LEAST_S >= reserve * elapsed_s:
        return 0.0
    if not ended:
        return _LEAST_S
    return min(max(reserve * elapsed_s / ended / 3, _LEAST_S), _LONGEST_S)
