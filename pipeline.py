#!/usr/bin/env python3
"""Starts the pipeline from a checkout: `python pipeline.py run`. An installed one is `dynamic-pipeline run`."""

import os.path
import sys

_ROOT = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - pathlib costs as much as all of `--version`
_SET_UP = """\
pipeline: the {name} package is not installed for this Python ({python})
  hint: python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/python pipeline.py run
        (Debian and Ubuntu need this once before it: sudo apt install python3-venv)"""


def main() -> None:
    """Put the two import roots on the path, take our own folder off it, and hand over."""
    if sys.path and os.path.realpath(sys.path[0] or ".") == _ROOT:
        del sys.path[0]  # or a user's `import pipeline` or `import tests` would find ours
    sys.path[:0] = [os.path.join(_ROOT, "config"), os.path.join(_ROOT, "components")]  # noqa: PTH118 - same
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before pip could check
        sys.exit(f"pipeline: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    try:
        from dynamic_pipeline.cli import main as command_line  # noqa: PLC0415 - not importable before

        command_line()
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "yaml", "pydantic", "loguru", "durationpy", "filelock"}:
            raise
        name = "pyyaml" if error.name == "yaml" else error.name
        print(_SET_UP.format(name=name, python=sys.version.split()[0]), file=sys.stderr)  # noqa: T201 - the answer itself
        sys.exit(2)


if __name__ == "__main__":
    main()
