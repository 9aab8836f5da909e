"""How fast a synthetic source makes jobs, and how long they take: profiles, as pure rules of the elapsed time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """A load that repeats: phases of (interval between jobs, length), in seconds; jobs of a uniform length."""

    phases: tuple[tuple[float, float], ...]
    job_s: tuple[float, float]  # shortest, longest

    def interval_s(self, elapsed_s: float) -> float:
        """Seconds between two jobs, *elapsed_s* seconds after the start."""
        return self._phase_at(elapsed_s)[0]

    def change_in_s(self, elapsed_s: float) -> float:
        """Seconds until the next phase begins."""
        return self._phase_at(elapsed_s)[1]

    def _phase_at(self, elapsed_s: float) -> tuple[float, float]:
        into_s = elapsed_s % (sum(length for _, length in self.phases) or 1.0)
        for interval, length in self.phases:
            if into_s < length:
                return interval, length - into_s
            into_s -= length
        return self.phases[-1][0], 0.0

    def scaled(self, factor: float) -> Profile:
        """The same load with every time multiplied by *factor*; 0 takes all waiting out.

        Raises:
            ValueError: factor is negative or not a number.
        """
        if not factor >= 0 or factor == float("inf"):
            raise ValueError(f"time scale is {factor}; it must be a number of at least 0")
        return Profile(
            tuple((interval * factor, length * factor) for interval, length in self.phases),
            (self.job_s[0] * factor, self.job_s[1] * factor),
        )


# The seed's load generator: 20 ms for 30 s, then 600 ms for 30 s. With the seed's jobs of 1-5 s eight
# workers never catch up, so the pool grows and stays; with jobs of 0.1-0.5 s it goes 2 → 8 → 2 a minute.
_SEED_PHASES = ((0.020, 30.0), (0.600, 30.0))
PROFILES = {
    "seed": Profile(_SEED_PHASES, (1.0, 5.0)),
    "demo": Profile(_SEED_PHASES, (0.1, 0.5)),
}
