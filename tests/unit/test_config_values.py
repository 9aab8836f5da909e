"""Values in files: what each kind of key takes, and what it says about the rest."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pipeline_config import ConfigError, load

Write = Callable[[str], None]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes site.yml into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(content: str) -> None:
        Path("site.yml").write_text(content, encoding="utf-8")

    return write


def complaint() -> str:
    with pytest.raises(ConfigError) as caught:
        load("site.yml", environ={})
    return str(caught.value)


def messages() -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load("site.yml", environ={})
    places = [problem.place for problem in caught.value.problems]
    texts = [problem.text for problem in caught.value.problems]
    return [
        f"{place.line}:{place.column}: {text}" for place, text in zip(places, texts, strict=True) if place
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("eight", 'must be a whole number, got "eight"'),
        ('"8"', 'must be a whole number, got "8"'),
        ("8.0", "must be a whole number, got 8.0"),
        ("1e3", "must be a whole number, got 1e3"),
        ("true", "must be a whole number, got true"),
        ("yes", "must be a whole number, got yes"),
        ("010", "must be a whole number, got 010"),
        ("1_000", "must be a whole number, got 1_000"),
        ("0x10", "must be a whole number, got 0x10"),
        ("1:30", "must be a whole number, got 1:30"),
        ("2025-08-13", "must be a whole number, got 2025-08-13"),
        ("", "must be a whole number, got nothing"),
        ("null", "must be a whole number, got null"),
        ("[8]", "must be a whole number, got a list"),
        ("{a: 8}", "must be a whole number, got a mapping"),
        ("9999999999999999999", "must be a whole number, got 9999999999999999999"),
        ("0", "must be at least 1, got 0"),
        ("-3", "must be at least 1, got -3"),
    ],
)
def test_a_whole_number_is_only_a_whole_number(site: Write, value: str, text: str) -> None:
    """Text, quoted digits, booleans, fractions and all that YAML readers disagree on are no whole numbers."""
    site(f"pipeline:\n  queue_capacity: {value}\n")

    assert [f"2:{19 if value else 18}: pipeline.queue_capacity {text}"] == messages()


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ('"80"', "write 80 without quotes"),
        ("0080", "write 80: YAML readers do not agree on 0080"),
        ("1_000", "write 1000: YAML readers do not agree on 1_000"),
        ("9" * 30, "it has too many digits"),
    ],
)
def test_a_number_in_the_wrong_dress_gets_the_plain_form_as_hint(site: Write, value: str, hint: str) -> None:
    """The hint is what to type instead."""
    site(f"pipeline:\n  queue_capacity: {value}\n")

    assert f"\n  hint: {hint}\n" in complaint()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", ": 5 needs a unit"),
        ("1:30", ": 1:30 is not a duration"),
        ("true", ": true is not a duration"),
        ("null", ": null is not a duration"),
        ("[1s]", " must be a duration, got a list"),
        ("0s", ' must be more than 0s, got "0s"'),
    ],
)
def test_a_duration_needs_number_and_unit(site: Write, value: str, text: str) -> None:
    """A bare number, base sixty, a boolean, nothing, or no time at all is not a check interval."""
    site(f"pipeline: {{check_interval: {value}}}\n")

    assert [f"1:28: pipeline.check_interval{text}"] == messages()


@pytest.mark.parametrize(
    "value", ["on", "No", "y", "true", "null", "~", "010", "12", "1.5", "1_0", "0o17", "2025-08-13", "="]
)
def test_text_that_yaml_readers_take_for_something_else_must_be_quoted(site: Write, value: str) -> None:
    """A path that some reader of YAML takes for a number, a boolean or a date is refused until it is quoted."""
    site(f"journal:\n  state_dir: {value}\n")
    refused = complaint()
    site(f"journal:\n  state_dir: '{value}'\n")

    assert f"site.yml:2:14: error: journal.state_dir must be text, got {value}\n" in refused
    assert f'  hint: quote it: "{value}"\n' in refused
    assert value == load("site.yml", environ={}).settings.journal.state_dir


@pytest.mark.parametrize(
    "value", ["logs", "/var/log/x", "./a b", "~/logs", "1.2.3", "run-1", "once", "none", "日本"]
)
def test_ordinary_paths_need_no_quotes(site: Write, value: str) -> None:
    """Nothing is refused that every reader of YAML takes for text."""
    site(f"journal: {{state_dir: {value}}}")

    assert value == load("site.yml", environ={}).settings.journal.state_dir


@pytest.mark.parametrize("value", ['""', '"a\\0b"'])
def test_a_path_that_no_system_takes_is_refused(site: Write, value: str) -> None:
    """An empty path and one with a NUL are refused before anything opens them."""
    site(f"journal: {{state_dir: {value}}}")

    assert "journal.state_dir must be a path, neither empty nor with a NUL" in complaint()


def test_a_choice_names_its_choices_and_the_near_miss(site: Write) -> None:
    """A word that is none of the choices is answered with all of them, and the likely one."""
    site("scaling:\n  policy: treshold\nlog: {format: off}\nload: {profile: [seed]}\n")

    assert '2:11: scaling.policy must be threshold, target or fixed, got "treshold"' in messages()
    assert "3:15: log.format must be text or json, got off" in messages()
    assert "4:17: load.profile must be seed or demo, got a list" in messages()
    assert "  hint: did you mean threshold?\n" in complaint()
