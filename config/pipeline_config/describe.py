"""The configuration described: as YAML, as a list of keys, as JSON Schema."""

from typing import Any, NamedTuple

from pipeline_config.keys import KEYS, SECTIONS, Key, Kind
from pipeline_config.loading import Loaded, load
from pipeline_config.models import Settings
from pipeline_config.values import spell


class ConfigKey(NamedTuple):
    """One key as documentation shows it; *default* is the text that config.yml has."""

    key: str
    default: str
    description: str


def config_keys() -> list[ConfigKey]:
    """All keys, in the order of config.yml."""
    defaults = load(environ={})
    return [ConfigKey(key.dotted, spell(_value(defaults, key)), key.description) for key in KEYS.values()]


def show(loaded: Loaded, *, with_origins: bool = False) -> str:
    """The settings as YAML that loads to the same settings; or a line a key, with its value's origin."""
    if with_origins:
        lines = {f"{key}: {value}": origin for key, (value, origin) in chosen_values(loaded).items()}
        width = max(map(len, lines))
        return "".join(f"{line:<{width}}  # {origin}\n" for line, origin in lines.items())
    text = ""
    for section in SECTIONS:
        text += f"{section}:\n"
        text += "".join(
            f"  {key.name}: {spell(_value(loaded, key))}\n" for key in KEYS.values() if key.section == section
        )
    return text


def chosen_values(loaded: Loaded) -> dict[str, tuple[str, str]]:
    """Of each key its value, as it is written in a file, and where that comes from."""
    return {key.dotted: (spell(_value(loaded, key)), loaded.origins[key.dotted]) for key in KEYS.values()}


def json_schema() -> dict[str, Any]:
    """A JSON Schema for configuration files, for completion and checks in an editor.

    It keeps to keywords of draft 7, which is what YAML language servers know. `schema.json` is a copy.
    """
    generated = Settings.model_json_schema()
    defaults = load(environ={})
    for key in KEYS.values():
        section = generated["$defs"][_definition(generated, key.section)]
        value = _value(defaults, key)
        default = spell(value) if key.kind is Kind.DURATION and value is not None else value
        section["properties"][key.name]["default"] = default
    sections = {name: _of_a_file(generated["$defs"][_definition(generated, name)]) for name in SECTIONS}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dynamic-pipeline configuration",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }


def _of_a_file(section: dict[str, Any]) -> dict[str, Any]:
    # A file names only what it changes, and a section that is left empty is not an error.
    del section["required"], section["title"]
    for field in section["properties"].values():
        del field["title"]
    return {**section, "type": ["object", "null"]}


def _definition(schema: dict[str, Any], section: str) -> str:
    reference: str = schema["properties"][section]["$ref"]
    return reference.rpartition("/")[2]


def _value(loaded: Loaded, key: Key) -> Any:
    return getattr(getattr(loaded.settings, key.section), key.name)
