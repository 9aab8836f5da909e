"""What the environment and the command line give, and the common form of a given value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline_config.keys import KEYS, VARIABLES, Key, Kind, near_miss
from pipeline_config.problems import Layer, Place, Problem, printable, shortened
from pipeline_config.yaml_text import Node, Scalar

# A job may be a pipeline itself, and finds the first two in its environment, from the run that it is a job of.
# Azure Pipelines sets the third for everything that it starts.
_FOREIGN_PREFIX = "PIPELINE_JOB_"
_FOREIGN = frozenset({"PIPELINE_RUN_ID", "PIPELINE_WORKSPACE"})

# For advice; the options themselves are the command line's affair, and --set reaches every key.
_HAVE_OPTIONS = frozenset(
    {"min_workers", "max_workers", "grow_threshold", "shrink_threshold", "queue_capacity"}
)


@dataclass(frozen=True)
class Override:
    """One setting from the command line: key, text as typed, and the option that it came with.

    No text means that a `--set` had no equals sign.
    """

    key: str
    text: str | None
    name: str

    @classmethod
    def from_set(cls, argument: str) -> "Override":
        """The override that `--set argument` asks for."""
        key, equals, text = argument.partition("=")
        return cls(key, text if equals else None, "--set")


@dataclass(frozen=True)
class Given:
    """A value for a key, not yet read. *source* names its file, variable or option."""

    key: Key
    node: Node
    layer: Layer
    source: str

    @property
    def place(self) -> Place | None:
        """Where the value stands, if that is in a file."""
        return self.node.place

    @property
    def origin(self) -> str:
        """Where the value comes from, in words."""
        where = f":{self.place.line}:{self.place.column}" if self.place else ""
        return {
            Layer.EMBEDDED: "embedded default",
            Layer.FILE: printable(self.source) + where,
            Layer.ENVIRONMENT: f"environment {self.source}",
            Layer.COMMAND_LINE: f"command line {self.source}",
        }[self.layer]

    def setting(self, key: Key, text: str) -> str:
        """How this layer would write that *key* is *text*."""
        match self.layer:
            case Layer.ENVIRONMENT:
                return f"{key.variable}={text}"
            case Layer.COMMAND_LINE if self.source != "--set" and key == self.key:
                return f"{self.source} {text}"
            case Layer.COMMAND_LINE if self.source != "--set" and key.name in _HAVE_OPTIONS:
                return f"--{key.name.replace('_', '-')} {text}"
            case Layer.COMMAND_LINE:
                return f"--set {key.dotted}={text}"
            case _:
                return f"{key.name}: {text}"

    def problem(self, text: str, hint: str | None = None) -> Problem:
        """A problem with this value."""
        return Problem(self.layer, text, hint, self.source if self.place else None, self.place)


def from_environment(environ: Mapping[str, str]) -> Iterator[Given | Problem]:
    """What the variables named PIPELINE_… give, by name."""
    for name in sorted(environ):
        if not name.startswith("PIPELINE_") or name.startswith(_FOREIGN_PREFIX) or name in _FOREIGN:
            continue
        key = VARIABLES.get(name)
        if key is not None:
            yield Given(key, _argument(key, environ[name]), Layer.ENVIRONMENT, name)
            continue
        close = near_miss(name.upper(), VARIABLES)
        hint = f"did you mean {close}?" if close else "unset it, or name it without PIPELINE_ in front"
        text = f"{printable(shortened(name))} (environment): unknown variable"
        yield Problem(Layer.ENVIRONMENT, text, hint)


def from_overrides(overrides: Sequence[Override]) -> Iterator[Given | Problem]:
    """What the command line gives, in its order."""
    for override in overrides:
        key = KEYS.get(override.key)
        argument = printable(
            shortened(override.key if override.text is None else f"{override.key}={override.text}")
        )
        if key is None:
            close = near_miss(override.key, KEYS)
            hint = f"did you mean {close}?" if close else "python pipeline.py config show lists the keys"
            yield Problem(Layer.COMMAND_LINE, f"{override.name} {argument}: unknown key", hint)
        elif override.text is None:
            hint = f"write {override.name} {key.dotted}=VALUE"
            yield Problem(Layer.COMMAND_LINE, f"{override.name} {argument}: no value", hint)
        else:
            yield Given(key, _argument(key, override.text), Layer.COMMAND_LINE, override.name)


def _argument(key: Key, text: str) -> Scalar:
    # Nobody quotes for YAML in a shell: where text is wanted, `on` and `010` are text.
    return Scalar(text, is_plain=key.kind is not Kind.TEXT)
