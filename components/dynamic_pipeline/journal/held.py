"""When a job that keeps taking the process down with it is run alone, and when it is held. Pure."""

from __future__ import annotations

from enum import Enum

ALONE_AFTER = 3  # interruptions: its neighbours were cut short as well, and one of them may be the culprit
# Interruptions while it ran alone. More than one: a kill from outside must not condemn a job that had to be alone
# only because of earlier ones.
HELD_AFTER = 3


class Caution(Enum):
    """How a job may be run next."""

    NONE = "with others"
    ALONE = "alone, before the others"
    HELD = "not at all, until somebody asks for it"


def caution(interruptions: int, alone: int) -> Caution:
    """*interruptions* by a crash of the whole process, *alone* of them while nothing else ran."""
    if alone >= HELD_AFTER:
        return Caution.HELD
    return Caution.ALONE if interruptions >= ALONE_AFTER else Caution.NONE
