"""Settings of the pipeline: typed, checked, with defaults embedded in `config.yml`.

Importing this package costs nothing; what a name needs is imported when the name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline_config.describe import ConfigKey, chosen_values, config_keys, json_schema, show
    from pipeline_config.durations import DurationError, format_duration, parse_duration
    from pipeline_config.layers import Override
    from pipeline_config.loading import Loaded, load
    from pipeline_config.models import Settings
    from pipeline_config.problems import ConfigError

__all__ = [
    "ConfigError",
    "ConfigKey",
    "DurationError",
    "Loaded",
    "Override",
    "Settings",
    "chosen_values",
    "config_keys",
    "format_duration",
    "json_schema",
    "load",
    "parse_duration",
    "show",
]

_HOMES = {
    "describe": ("ConfigKey", "chosen_values", "config_keys", "json_schema", "show"),
    "durations": ("DurationError", "format_duration", "parse_duration"),
    "layers": ("Override",),
    "loading": ("Loaded", "load"),
    "models": ("Settings",),
    "problems": ("ConfigError",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
