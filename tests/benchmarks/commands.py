"""What a command costs: `run -i FILE -j 8 -- true` against other ways to start as many, interleaved in one run.

Each contender starts N times /bin/true, eight at a time, with its output collected where it can. The cost of a job
is the whole time less that of a run with one job, over N - 1, so that start-up is not in it.

Goals: at least 6 times as many a second as GNU parallel and 1.2 times `xargs -P8`; a job costs at most 1.3 times
one of a bare loop of eight threads over `subprocess.Popen` with a session and an output file each, and a third of
GNU parallel's; with `-c` at most 1.3 times `sh -c` in that loop.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5
JOBS = {"GNU parallel": 300}  # of the slow one fewer
DEFAULT_JOBS = 2000
LOOP = """
import itertools, os, subprocess, sys, tempfile, threading
lines = iter(open(sys.argv[1], "rb").read().split())
lock = threading.Lock()
folder = tempfile.mkdtemp()
def work(number):
    while True:
        with lock:
            line = next(lines, None)
        if line is None:
            return
        path = f"{folder}/{number}"
        with open(path, "wb") as out:
            argv = [*sys.argv[2:], line]
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, start_new_session=True).wait()
        os.unlink(path)
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.rmdir(folder)
"""


def contenders(records: Path) -> dict[str, list[str]]:
    journalled = [sys.executable, str(ROOT / "pipeline.py"), "run", "-i", str(records), "-j", "8"]
    ours = [*journalled, "--durability", "off"]
    loop = [sys.executable, "-c", LOOP, str(records)]
    found = {
        "ours --": [*ours, "--", "true"],
        "ours -c": [*ours, "-c", "true {}"],
        "ours, journal normal": [*journalled, "--durability", "normal", "--", "true"],
        "ours, journal full": [*journalled, "--", "true"],
        "bare loop, true": [*loop, "true"],
        "bare loop, sh -c": [*loop, "/bin/sh", "-c", 'true "$1"', "sh"],
        "xargs -P8": ["xargs", "-a", str(records), "-P8", "-n1", "true"],
    }
    if shutil.which("parallel"):  # it is no part of the project: `apt install parallel`
        found["GNU parallel"] = ["parallel", "-j8", "-a", str(records), "true"]
    return found


def seconds(command: list[str], folder: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records"
        costs: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, command in contenders(records).items():
                count = JOBS.get(name, DEFAULT_JOBS)
                records.write_text("1\n")
                least_s = seconds(command, folder)
                records.write_text("".join(f"{number}\n" for number in range(count)))
                costs.setdefault(name, []).append((seconds(command, folder) - least_s) / (count - 1))
    for name, measured in costs.items():
        print(f"{name:22}{statistics.median(measured) * 1000:8.2f} ms a job")

    def ratio(name: str, base: str) -> str:
        if base not in costs:
            return "   n/a"
        return f"{statistics.median(a / b for a, b in zip(costs[name], costs[base], strict=True)):6.2f}"

    print(
        f"GNU parallel / ours        {ratio('GNU parallel', 'ours --') if 'GNU parallel' in costs else '   n/a'}   goal >= 6"
    )
    print(f"xargs -P8 / ours           {ratio('xargs -P8', 'ours --')}   goal >= 1.2")
    print(f"ours / bare loop           {ratio('ours --', 'bare loop, true')}   goal <= 1.3")
    print(f"ours -c / bare loop sh -c  {ratio('ours -c', 'bare loop, sh -c')}   goal <= 1.3")
    for durability in ("normal", "full"):
        print(
            f"journal {durability:6} / without    {ratio(f'ours, journal {durability}', 'ours --')}   goal <= 1.15"
        )


if __name__ == "__main__":
    main()
