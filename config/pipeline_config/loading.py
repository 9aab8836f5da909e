"""Loads the settings: four layers, one result, and every problem at once."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from types import MappingProxyType
from typing import Any

from pipeline_config.config_file import from_file, from_text
from pipeline_config.keys import KEYS
from pipeline_config.layers import Given, Override, from_environment, from_overrides
from pipeline_config.models import Settings
from pipeline_config.problems import ConfigError, Layer, Problem, quoted, shortened
from pipeline_config.rules import Conflict, conflicts
from pipeline_config.values import BadValueError, got, read_value, spell
from pipeline_config.yaml_text import Scalar

_MIN, _MAX = "pipeline.min_workers", "pipeline.max_workers"


@dataclass(frozen=True)
class Loaded:
    """The settings in force, and where each came from, by dotted key ("site.yml:4:16", "embedded default")."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    path: str | None = None, *, environ: Mapping[str, str] | None = None, overrides: Sequence[Override] = ()
) -> Loaded:
    """The settings from the embedded defaults, the file at *path*, *environ* and *overrides*; later ones win.

    *environ* is the process's own unless given. Raises ConfigError with all problems of all layers. Nothing is
    created or changed.
    """
    merge = _Merge()
    merge.add(from_text(_embedded(), "config.yml", Layer.EMBEDDED))
    if path is not None:
        merge.add(from_file(path))
    merge.add(from_environment(os.environ if environ is None else environ))
    merge.add(from_overrides(overrides))
    return merge.result()


def _embedded() -> str:
    return resources.files("pipeline_config").joinpath("config.yml").read_text("utf-8")


@dataclass(frozen=True)
class _Chosen:
    given: Given
    value: Any
    note: str | None = None

    @property
    def origin(self) -> str:
        return self.note or self.given.origin


class _Merge:
    """What has been found so far: the last value of each key, and the problems."""

    def __init__(self) -> None:
        self._chosen: dict[str, _Chosen] = {}
        self._problems: list[Problem] = []
        self._doubtful: set[str] = set()

    def add(self, layer: Iterable[Given | Problem]) -> None:
        for found in layer:
            if isinstance(found, Problem):
                self._problems.append(found)
                continue
            try:
                self._chosen[found.key.dotted] = _Chosen(found, read_value(found.key, found.node))
            except BadValueError as refusal:
                self._problems.append(_refused(found, refusal))
                self._doubtful.add(found.key.dotted)

    def result(self) -> Loaded:
        self._let_min_follow_max()
        # A rule about a value that is wrong by itself would only repeat the complaint.
        pipeline = {
            chosen.given.key.name: chosen.value
            for dotted, chosen in self._chosen.items()
            if chosen.given.key.section == "pipeline" and dotted not in self._doubtful
        }
        self._problems += [self._conflict(conflict) for conflict in conflicts(pipeline)]
        if self._problems:
            raise ConfigError(self._problems)
        sections: dict[str, dict[str, Any]] = {}
        for chosen in self._chosen.values():
            sections.setdefault(chosen.given.key.section, {})[chosen.given.key.name] = chosen.value
        origins = {dotted: self._chosen[dotted].origin for dotted in KEYS}
        return Loaded(Settings.model_validate(sections), MappingProxyType(origins))

    def _let_min_follow_max(self) -> None:
        """Who asks for one worker at most has said enough: a minimum that nobody set gives way."""
        low, high = self._chosen[_MIN], self._chosen[_MAX]
        if low.given.layer is Layer.EMBEDDED and low.value > high.value:
            self._chosen[_MIN] = replace(low, value=high.value, note="follows max_workers")

    def _conflict(self, conflict: Conflict) -> Problem:
        chosen = {name: self._chosen[f"pipeline.{name}"] for name in conflict.values}
        # max() keeps the first of equals: within a layer the first setting of the rule takes the blame.
        newcomer = max(chosen, key=lambda name: chosen[name].given.layer)
        blamed = chosen[newcomer].given

        def mention(name: str) -> str:
            value = spell(chosen[name].value)
            if name != newcomer:
                return f"{name} {value} ({chosen[name].origin})"
            return f"{blamed.key.dotted} {value}" if blamed.place else _argument(blamed, value)

        way_out = conflict.ways_out[newcomer]
        settings = [blamed.setting(KEYS[f"pipeline.{name}"], str(n)) for name, n in way_out.settings.items()]
        return blamed.problem(
            conflict.sentence(newcomer, mention), f"{way_out.phrase}: {' or '.join(settings)}"
        )


def _refused(given: Given, refusal: BadValueError) -> Problem:
    key, node = given.key, given.node
    if isinstance(node, Scalar) and not node.place:
        argument = _argument(given, quoted(shortened(node.text)))
        return given.problem(f"{argument}: {key.short} {refusal.rule}", refusal.hint)
    if refusal.verdict:
        return given.problem(f"{key.dotted}: {got(node)} {refusal.verdict}", refusal.hint)
    return given.problem(f"{key.dotted} {refusal.rule}, got {got(node)}", refusal.hint)


def _argument(given: Given, text: str) -> str:
    where = "environment" if given.layer is Layer.ENVIRONMENT else "command line"
    return f"{given.setting(given.key, text)} ({where})"
