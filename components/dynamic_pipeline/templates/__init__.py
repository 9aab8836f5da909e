"""From a record to the command that is run for it."""

from dynamic_pipeline.templates.line import LineTemplate
from dynamic_pipeline.templates.placeholders import ANY_NAMES, BadRecord
from dynamic_pipeline.templates.shell import ShellTemplate
from dynamic_pipeline.templates.shell_text import display, quoted
from dynamic_pipeline.templates.template import Template
from dynamic_pipeline.templates.words import CommandTemplate

__all__ = [
    "ANY_NAMES",
    "BadRecord",
    "CommandTemplate",
    "LineTemplate",
    "ShellTemplate",
    "Template",
    "display",
    "quoted",
]
