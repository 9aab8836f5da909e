"""Who worked when: a bar for each attempt, or, where there are too many of them, shares of busy time. Pure."""

from __future__ import annotations

from typing import NamedTuple

MOST_BARS = 2000
_MOST_ROWS = 64
_MOST_CELLS = 6000
_SHADES = 4


class GanttBar(NamedTuple):
    """One attempt."""

    start_s: float
    end_s: float
    seq: int
    number: int
    outcome: str


class Cell(NamedTuple):
    """A stretch of a worker's time that was equally busy, and whether an attempt failed in it."""

    start_s: float
    end_s: float
    shade: int  # 0 to 4 quarters, rounded
    has_failure: bool


class Row:
    """A worker."""

    def __init__(self, slots: int) -> None:
        self.bars: list[GanttBar] = []
        self.tries = 0
        self.failed = 0
        self.busy_s = 0.0
        self._busy_s = [0.0] * slots
        self._failed = [False] * slots

    def add(self, bar: GanttBar, slot_s: float) -> None:
        has_failed = bar.outcome in {"failed", "timeout"}
        self.tries += 1
        self.failed += has_failed
        self.busy_s += bar.end_s - bar.start_s
        if not self._busy_s:
            self.bars.append(bar)
            return
        last = len(self._busy_s) - 1
        for slot in range(min(int(bar.start_s / slot_s), last), min(int(bar.end_s / slot_s), last) + 1):
            begin, end = max(bar.start_s, slot * slot_s), min(bar.end_s, (slot + 1) * slot_s)
            self._busy_s[slot] += max(end - begin, 0.0)
        if has_failed:
            self._failed[min(int(bar.end_s / slot_s), last)] = True

    def cells(self, slot_s: float) -> list[Cell]:
        """Equal neighbours are one."""
        cells: list[Cell] = []
        for slot, (busy_s, has_failure) in enumerate(zip(self._busy_s, self._failed, strict=True)):
            shade = min(_SHADES, max(round(busy_s / slot_s * _SHADES), 1)) if busy_s else 0
            start_s, end_s = slot * slot_s, (slot + 1) * slot_s
            if cells and cells[-1][2:] == (shade, has_failure):
                cells[-1] = cells[-1]._replace(end_s=end_s)
            else:
                cells.append(Cell(start_s, end_s, shade, has_failure))
        return [cell for cell in cells if cell.shade or cell.has_failure]


class Gantt:
    """Rows by worker. *tries* is how many attempts will be added, which decides how they are shown."""

    def __init__(self, span_s: float, tries: int) -> None:
        self.is_summed = tries > MOST_BARS
        self._slots = _MOST_CELLS // _MOST_ROWS * 2 if self.is_summed else 0
        self.slot_s = max(span_s, 0.001) / max(self._slots, 1)
        self.rows: dict[str, Row] = {}
        self.left_out = 0  # attempts of workers that have no row
        self._unlisted: set[str] = set()
        self._free_s: list[float] = []  # when each row without a worker has room again

    @property
    def unlisted(self) -> int:
        """Workers without a row."""
        return len(self._unlisted)

    @property
    def has_unknown(self) -> bool:
        """Whether attempts were added whose worker is not on record."""
        return bool(self._free_s)

    def add(self, worker: str, bar: GanttBar) -> None:
        """Without a name of a worker it gets the first row where it is alone; those are the last ones."""
        if not worker:
            place = next(
                (at for at, free_s in enumerate(self._free_s) if free_s <= bar.start_s), len(self._free_s)
            )
            self._free_s[place : place + 1] = [bar.end_s]
            worker = f"(not known) {place + 1}"
        row = self.rows.get(worker)
        if row is None:
            if len(self.rows) >= _MOST_ROWS:
                self.left_out += 1
                self._unlisted.add(worker)
                return
            row = self.rows[worker] = Row(self._slots)
        row.add(bar, self.slot_s)

    def named_rows(self) -> list[tuple[str, Row]]:
        return sorted(self.rows.items(), key=lambda item: (len(item[0]), item[0]))
