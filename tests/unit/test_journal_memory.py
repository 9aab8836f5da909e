"""A journal of any length is resumed in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_RESUME = """
import sys, time
from pathlib import Path
from dynamic_pipeline.journal.operations import Pending
from tests.journaling import accept, begun, resumed
def peak_kib():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
path, count = Path(sys.argv[1]), int(sys.argv[2])
def batches(of):
    for at in range(0, count, 250):
        yield accept([b"record %d" % (count - 1 - n if of == "reversed" else n) for n in range(at, at + 250)])
store = begun(path)
began = time.perf_counter()
for batch in batches("input"):
    store.apply([batch])
accepted_s = time.perf_counter() - began
store.close()
store = resumed(path, "run-2")
began = time.perf_counter()
for batch in batches("input"):
    [answer] = store.apply([batch])
    assert not any(job.is_new for job in answer)
followed_s = time.perf_counter() - began
store.close()
store = resumed(path, "run-3")
began = time.perf_counter()
for batch in batches("reversed"):
    [answer] = store.apply([batch])
    assert not any(job.is_new for job in answer)
matched_s = time.perf_counter() - began
assert [[]] == store.apply([Pending(0, 1 << 39, is_unseen_only=True)])
store.close()
print(peak_kib(), f"accepted in {accepted_s:.1f} s, followed in {followed_s:.1f} s, matched in {matched_s:.1f} s")
"""


def peak_mib(path: Path, count: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _RESUME, str(path), str(count)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    print(count, done.stdout)
    return int(done.stdout.split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "count", [100_000, pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
)
def test_matching_an_input_with_the_journal_costs_no_memory(tmp_path: Path, count: int) -> None:
    """In the reverse order, which suits nothing; what was met today is counted on the disk."""
    few = peak_mib(tmp_path / "few.db", 10_000)
    many = peak_mib(tmp_path / "many.db", count)

    assert many - few < 16, (few, many)
    assert many < 150
