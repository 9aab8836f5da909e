"""The settings in force for a run: the layers, with what the command line adds."""

from __future__ import annotations

import pipeline_config
from pipeline_config import Loaded, Override

from dynamic_pipeline.cli.request import Request


def load_settings(request: Request) -> Loaded:
    """The settings in force.

    Raises:
        ConfigError: with every mistake in every layer.
    """
    overrides = [Override(key, text, option) for key, (option, text) in request.options.items()]
    if request.fixed_workers is not None:
        overrides += [
            Override("pipeline.max_workers", request.fixed_workers, "-j"),
            Override("scaling.policy", "fixed", "-j"),
        ]
    overrides += [Override.from_set(text) for text in request.sets]
    return pipeline_config.load(request.config, overrides=overrides)
