"""Generated and duplicated descriptions: each says what the models say."""

import json
import re
import subprocess
import sys
from importlib import resources

import pipeline_config
import pytest
from pipeline_config import config_keys, json_schema, load
from pipeline_config.durations import DURATION_PATTERN

FILES = resources.files("pipeline_config")


def test_config_yml_documents_every_key_as_the_models_do() -> None:
    """The comment of each key in config.yml is its description, aligned, in the models' order."""
    lines = FILES.joinpath("config.yml").read_text("utf-8").splitlines()
    items = [match for line in lines if (match := re.fullmatch(r"  (\w+): (\S+) +# (.*)", line))]

    assert "# yaml-language-server: $schema=./schema.json" == lines[0]
    assert [(key.rpartition(".")[2], default, text) for key, default, text in config_keys()] == [
        match.groups() for match in items
    ]
    assert 1 == len({match.start(3) for match in items})
    assert len(lines) == 1 + len(items) + len(json_schema()["properties"])


def test_every_description_is_one_short_line() -> None:
    """A description fits behind its key in a terminal."""
    assert [] == [key for key, _, text in config_keys() if not text or "\n" in text or len(text) > 90]


def test_schema_json_is_current() -> None:
    """If this fails: python pipeline.py config schema > config/pipeline_config/schema.json"""
    assert FILES.joinpath("schema.json").read_text("utf-8") == json.dumps(json_schema(), indent=2) + "\n"


def test_the_schema_keeps_to_what_editors_know() -> None:
    """Only keywords up to draft 7, no reference, and a pattern for durations in place of Python's number."""
    keywords = set(re.findall(r'"(\$?\w+)":', json.dumps(json_schema())))
    names = {part for key, _, _ in config_keys() for part in key.split(".")}

    assert keywords - names == {
        "$schema", "title", "type", "properties", "additionalProperties",
        "description", "minimum", "maximum", "default", "pattern", "enum", "anyOf",
    }  # fmt: skip
    assert json_schema()["properties"]["shutdown"]["properties"]["kill_grace"] == {
        "description": "time a job has between being told to end and being killed",
        "pattern": DURATION_PATTERN,
        "type": "string",
        "default": "2s",
    }


def test_a_file_may_leave_out_everything_that_the_schema_lists() -> None:
    """No key and no section is required, and an empty section is fine, as in the loader."""
    assert "required" not in json.dumps(json_schema())
    assert {"object,null"} == {",".join(section["type"]) for section in json_schema()["properties"].values()}


def test_importing_the_package_imports_nothing_heavy() -> None:
    """`--help` of a program that uses this package does not wait for pydantic or yaml."""
    code = "import sys, pipeline_config; sys.exit(str({'pydantic', 'yaml', 'durationpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "set()" == done.stderr.strip()


def test_the_public_names_are_there_and_no_others() -> None:
    """Every listed name can be imported, and a wrong one is an AttributeError like anywhere else."""
    assert [] == [name for name in pipeline_config.__all__ if getattr(pipeline_config, name, None) is None]
    assert set(pipeline_config.__all__) <= set(dir(pipeline_config))
    assert load is pipeline_config.load
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = pipeline_config.laod
