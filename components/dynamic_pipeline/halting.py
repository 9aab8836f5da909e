"""When a run gives up because too many jobs have failed: a pure rule."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LEAST_ENDED = 20  # jobs; a share of fewer says little
_SPEC = re.compile(r"(?:(soon|now),fail=([0-9]+)(%?))")
_SHORT = {"1": "soon,fail=1", "2": "now,fail=1"}  # GNU parallel's


@dataclass(frozen=True)
class HaltPolicy:
    """Stop starting once this many jobs, or this share of them, have failed for good.

    A failed attempt does not count, only a job that has used up its retries.
    """

    is_now: bool  # end what runs as well
    most: int  # jobs, or percent
    is_share: bool = False

    @classmethod
    def parse(cls, text: str) -> HaltPolicy | None:
        """`never` (None), `soon,fail=N`, `now,fail=N`, `soon,fail=X%`, `now,fail=X%`; 1 and 2 as GNU parallel has them.

        Raises:
            ValueError: none of these.
        """
        if text == "never":
            return None
        found = _SPEC.fullmatch(_SHORT.get(text, text))
        most = int(found[2]) if found else 0
        if not found or not most or (found[3] and most > 100):  # noqa: PLR2004 - percent
            raise ValueError(
                f"{text}: it must be never, soon,fail=N, now,fail=N, or with a share such as fail=10%"
            )
        return cls(found[1] == "now", most, bool(found[3]))

    def is_reached(self, failed: int, ended: int, total: int | None) -> bool:
        """Whether *failed* of *ended* jobs are too many; *total* is how many there will be, if that is known.

        A share is of the total, or of those that have ended, once there are twenty of them.
        """
        if not self.is_share:
            return failed >= self.most
        if total is None and ended < _LEAST_ENDED:
            return False
        return failed * 100 >= self.most * (ended if total is None else total)

    def __str__(self) -> str:
        return f"{'now' if self.is_now else 'soon'},fail={self.most}{'%' * self.is_share}"
