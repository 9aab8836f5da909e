"""Start-up, as ratios to a bare interpreter and a bare typer application, interleaved in one run.

Goals: `--version` at most 2.5 times `python -c pass`; `--help` at most 1.25 times a bare typer application's;
`run --jobs 1 --time-scale 0` at most a second.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 15
BARE_TYPER = """
import typer
app = typer.Typer()
@app.command()
def one(n: int = 1): "One."
@app.command()
def two(n: int = 1): "Two."
app()
"""


def main() -> None:
    pipeline = [sys.executable, str(ROOT / "pipeline.py")]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "--version": [*pipeline, "--version"],
        "bare typer --help": [sys.executable, "-c", BARE_TYPER, "--help"],
        "--help": [*pipeline, "--help"],
        "run --jobs 1 --time-scale 0": [*pipeline, "run", "--jobs", "1", "--time-scale", "0"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True)
                times[name].append(time.perf_counter() - began)
    median = {name: statistics.median(measured) for name, measured in times.items()}

    def ratio(name: str, base: str) -> float:
        return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))

    for name, seconds in median.items():
        print(f"{name:30}{seconds * 1000:8.1f} ms")
    print(f"--version / python -c pass     {ratio('--version', 'python -c pass'):8.2f}   goal <= 2.5")
    print(f"--help / bare typer --help     {ratio('--help', 'bare typer --help'):8.2f}   goal <= 1.25")
    print(f"run --jobs 1                   {median['run --jobs 1 --time-scale 0']:8.2f} s goal <= 1")


if __name__ == "__main__":
    main()
