"""What the keys are: each one's name, kind of value and variable, read off the models."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pipeline_config.models import Settings


class Kind(Enum):
    """How the text of a value is read."""

    WHOLE = auto()
    DURATION = auto()
    CHOICE = auto()
    TEXT = auto()


@dataclass(frozen=True)
class Key:
    """One setting, `pipeline.max_workers` for example."""

    section: str
    name: str
    kind: Kind
    is_optional: bool
    description: str

    @property
    def dotted(self) -> str:
        """Its full name."""
        return f"{self.section}.{self.name}"

    @property
    def short(self) -> str:
        """Its name where space is short: the section pipeline goes without saying."""
        return self.dotted.removeprefix("pipeline.")

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "PIPELINE_" + self.short.replace(".", "_").upper()


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The one of *known* that *name* was probably meant to be."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.7)), None)


def _keys() -> Iterator[Key]:
    for section, field in Settings.model_fields.items():
        model: Any = field.annotation
        for name, info in model.model_fields.items():
            is_union = get_origin(info.annotation) in (Union, UnionType)
            members = get_args(info.annotation) if is_union else (info.annotation,)
            yield Key(section, name, _kind(members[0]), type(None) in members, info.description or "")


def _kind(annotation: Any) -> Kind:
    base = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    if get_origin(base) is Literal:
        return Kind.CHOICE
    return {int: Kind.WHOLE, float: Kind.DURATION, str: Kind.TEXT}[base]


KEYS: Mapping[str, Key] = MappingProxyType({key.dotted: key for key in _keys()})
SECTIONS: tuple[str, ...] = tuple(Settings.model_fields)
VARIABLES: Mapping[str, Key] = MappingProxyType({key.variable: key for key in KEYS.values()})
