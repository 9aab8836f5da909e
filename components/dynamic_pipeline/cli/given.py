"""The options that a command line gave, so that another one can be made of them."""

from __future__ import annotations

from collections.abc import Iterator

import typer

# Inputs and what comes of earlier runs are said anew, the reports of the run before stay, and whoever types it
# wants to see what happens.
_LEFT_OUT = {"command", "inputs", "resume", "retry_failed", "junit", "summary_json", "cron"}
_GROWING = {"joblog", "results"}  # files that the next run would refuse as they are


def given_words(context: typer.Context) -> tuple[str, ...]:
    """The options of *context* but its inputs and reports, then the command, in the order in which the options are declared."""
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in _LEFT_OUT:
            words += _words(max(parameter.opts, key=len), name, context.params[name])
    command = context.params.get("command")
    return (*words, "--", *command) if command else tuple(words)


def _words(option: str, name: str, value: object) -> Iterator[str]:
    if isinstance(value, bool):  # none of them has a form that says no
        yield option
        return
    for one in value if isinstance(value, (list, tuple)) else (value,):
        text = str(one)
        yield option
        yield f"+{text}" if name in _GROWING and text[:1] not in {"+", "-"} else text
