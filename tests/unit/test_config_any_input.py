"""Whatever comes in, loading gives settings or a refusal that is safe to print; never another error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_config import ConfigError, Override, load, show
from pipeline_config.keys import VARIABLES

WORDS = ["pipeline", "max_workers", "journal", "state_dir", "on", "010", "1:30", "5s", "null", "9" * 30]
MARKS = [": ", "\n", "\n  ", "- ", "[", "]", "{", "}", "&a ", "*a", "!x ", "<<", "? ", "#", "|", ">"]  # fmt: skip
ODD = ["%YAML 1.1\n", "%TAG ! x\n", "---\n", '"', "'", "\t", "\r", "\\U", "\x85", "\u2028", "\ufeff", "\0"]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS + MARKS + ODD) | st.text(max_size=3), max_size=30).map("".join))
def test_any_text_is_settings_or_a_clear_refusal(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """No text makes loading fail in another way than ConfigError, whose own text is safe to print."""
    assert_loads_or_refuses(tmp_path_factory.getbasetemp() / "any.yml", text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_a_clear_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """The same for bytes that are no text at all."""
    assert_loads_or_refuses(tmp_path_factory.getbasetemp() / "any.yml", content)


def assert_loads_or_refuses(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    said = ""
    try:
        load(str(path), environ={})
    except ConfigError as error:
        said = str(error)

    assert said.replace("\n", "").isprintable()


@given(
    st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text() | st.sampled_from(["1", "5s", "all", "~"]))
)
def test_any_variables_are_settings_or_a_clear_refusal(environ: dict[str, str]) -> None:
    """No value makes loading fail in another way than ConfigError, whose own text is safe to print."""
    said = ""
    try:
        load(environ=environ)
    except ConfigError as error:
        said = str(error)

    assert said.replace("\n", "").isprintable()


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    st.integers(0, 10**9),
)
def test_what_show_prints_loads_to_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory, state_dir: str, microseconds: int
) -> None:
    """The printed settings are a configuration file for exactly these settings."""
    overrides = [
        Override("journal.state_dir", state_dir, "--state-dir"),
        Override("shutdown.drain_timeout", f"{microseconds}us", "--drain-timeout"),
    ]
    loaded = load(environ={}, overrides=overrides)
    path = tmp_path_factory.getbasetemp() / "shown.yml"
    path.write_text(show(loaded), encoding="utf-8")

    assert loaded.settings == load(str(path), environ={}).settings
