"""The command line. Nothing heavy is imported before a command needs it."""

import sys

from dynamic_pipeline import __version__


def main() -> None:
    """The entry point of `dynamic-pipeline` and of `python pipeline.py`; leaves by `SystemExit`."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"dynamic-pipeline {__version__}")  # noqa: T201 - the answer itself
        return
    import signal  # noqa: PLC0415 - with `enum`, a quarter of the time of `--version`

    # Until a run listens for signals nothing has been accepted and nothing can be lost: a Ctrl+C during the
    # imports ends the process in the system's way, without a traceback. An inherited "ignore" stays.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Inherited as "ignore", the kernel would reap our children, and every exit code would read 0.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    from dynamic_pipeline.cli.app import app  # noqa: PLC0415 - typer costs more than all of `--version`

    app()
