"""`config show`, `config check` and `config schema`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import pipeline_config
import typer

app = typer.Typer(help="Show, check and describe the configuration.", no_args_is_help=True)

_File = Annotated[str | None, typer.Option("--config", metavar="FILE", help="Read this configuration file.")]
_Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one key, section.key=value; repeats."),
]
_WithOrigins = Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")]


@app.command()
def show(config: _File = None, sets: _Sets = None, *, origin: _WithOrigins = False) -> None:
    """Print the settings in force, as a configuration file."""
    with _exit_2_on_mistakes():
        overrides = [pipeline_config.Override.from_set(argument) for argument in sets or ()]
        loaded = pipeline_config.load(config, overrides=overrides)
    typer.echo(pipeline_config.show(loaded, with_origins=origin), nl=False)


@app.command()
def check(file: Annotated[str, typer.Argument(metavar="FILE")]) -> None:
    """Look for mistakes in FILE alone, whatever the environment says. Exit code 2 if there are any."""
    with _exit_2_on_mistakes():
        pipeline_config.load(file, environ={})
    typer.echo(f"{file}: ok")


@app.command()
def schema() -> None:
    """Print a JSON Schema of configuration files, for completion in an editor."""
    typer.echo(json.dumps(pipeline_config.json_schema(), indent=2))


@contextmanager
def _exit_2_on_mistakes() -> Iterator[None]:
    try:
        yield
    except pipeline_config.ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
