"""Layers: which value wins, where it is said to come from, and mistakes outside of files."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from pipeline_config import ConfigError, Override, Settings, config_keys, load
from pipeline_config.keys import KEYS, VARIABLES


def complaint(environ: Mapping[str, str] | None = None, *overrides: Override, path: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ=environ or {}, overrides=overrides)
    return str(caught.value)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file in the current folder that sets max_workers to 5."""
    monkeypatch.chdir(tmp_path)
    Path("site.yml").write_text("pipeline:\n  max_workers: 5\n", encoding="utf-8")
    return "site.yml"


def test_without_anything_the_embedded_defaults_hold() -> None:
    """The defaults are the original program's, plus those of the keys that it did not have."""
    loaded = load(environ={})

    assert loaded.settings.model_dump() == {
        "pipeline": {
            "min_workers": 2,
            "max_workers": 8,
            "grow_threshold": 50,
            "shrink_threshold": 10,
            "check_interval": 1.0,
            "failure_rate": 10,
            "queue_capacity": 200,
            "max_retries": 3,
            "timeout": None,
            "executor": "threads",
            "dask": None,
        },
        "scaling": {"policy": "threshold", "grow_age": None},
        "target": {
            "drain_goal": 10.0,
            "backlog_per_worker": None,
            "tolerance": 10,
            "up_stabilization": 0.0,
            "down_stabilization": 5.0,
            "max_step_up": None,
            "max_step_down": 1,
            "service_time_prior": 1.0,
            "service_time_window": 60.0,
        },
        "retry": {
            "base": 0.0,
            "factor": 2,
            "cap": 60.0,
            "jitter": "full",
            "on_exit": None,
            "not_on_exit": None,
            "fatal": None,
            "budget": None,
        },
        "guards": {
            "efficiency": None,
            "efficiency_jobs": 40,
            "efficiency_ttl": 60.0,
            "overload": None,
            "overload_factor": 70,
            "overload_recover": 10.0,
        },
        "breaker": {"errors": 0, "window": 30.0, "count": "attempts", "ratio": None, "min_attempts": 20},
        "shutdown": {"drain": "all", "drain_timeout": None, "kill_grace": 2.0},
        "load": {"profile": "seed"},
        "log": {"format": "text", "view": "live"},
        "journal": {"state_dir": "logs", "durability": "full", "orphans": "kill"},
    }
    assert {"embedded default"} == set(loaded.origins.values())


def test_each_layer_beats_the_ones_before_it(site: str) -> None:
    """File beats default, environment beats file, command line beats environment, later beats earlier option."""
    variable = {"PIPELINE_MAX_WORKERS": "6"}
    first = Override("pipeline.max_workers", "7", "--max-workers")
    second = Override.from_set("pipeline.max_workers=9")

    def effective(path: str | None, environ: Mapping[str, str], *overrides: Override) -> tuple[int, str]:
        loaded = load(path, environ=environ, overrides=overrides)
        return loaded.settings.pipeline.max_workers, loaded.origins["pipeline.max_workers"]

    assert (8, "embedded default") == effective(None, {})
    assert (5, "site.yml:2:16") == effective(site, {})
    assert (6, "environment PIPELINE_MAX_WORKERS") == effective(site, variable)
    assert (7, "command line --max-workers") == effective(site, variable, first)
    assert (9, "command line --set") == effective(site, variable, first, second)


def test_the_process_environment_counts_unless_another_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """load() reads the variables of the process by itself."""
    monkeypatch.setenv("PIPELINE_SHUTDOWN_DRAIN_TIMEOUT", "1m30s")

    assert 90.0 == load().settings.shutdown.drain_timeout
    assert load(environ={}).settings.shutdown.drain_timeout is None


@pytest.mark.parametrize("text", ["", "null", "~"])
def test_an_optional_value_can_be_taken_back(text: str) -> None:
    """A later layer can set an optional value to null again."""
    environ = {"PIPELINE_SHUTDOWN_DRAIN_TIMEOUT": "5s"}
    override = Override("shutdown.drain_timeout", text, "--drain-timeout")

    assert load(environ=environ, overrides=[override]).settings.shutdown.drain_timeout is None


@pytest.mark.parametrize("text", ["on", "010", "null", "1:30", "a: b", "# x", "'q'", " x "])
def test_a_path_from_the_shell_is_taken_as_it_is(text: str) -> None:
    """Outside of files a path needs no quotes, whatever YAML would make of it."""
    override = Override.from_set(f"journal.state_dir={text}")

    assert (
        text
        == load(environ={"PIPELINE_JOURNAL_STATE_DIR": "x"}, overrides=[override]).settings.journal.state_dir
    )
    assert text == load(environ={"PIPELINE_JOURNAL_STATE_DIR": text}).settings.journal.state_dir


def test_a_path_that_is_not_text_is_refused() -> None:
    """Bytes that are not UTF-8 are shown escaped, so that saying no cannot fail either."""
    text = complaint({"PIPELINE_JOURNAL_STATE_DIR": "logs\udcff"})

    assert text.startswith(
        r'error: PIPELINE_JOURNAL_STATE_DIR="logs\udcff" (environment): journal.state_dir must be valid UTF-8'
    )


def test_mistakes_outside_of_files_name_the_variable_or_the_option() -> None:
    """Every layer is checked; messages name what was typed, and end with one line for all of them."""
    environ = {"PIPELINE_MAX_WORKERS": "lots", "PIPELINE_LOG_FORMT": "json", "PIPELINE_QUEUE_CAPACITY": "0"}
    overrides = [
        Override("pipeline.max_workers", "8.5", "--max-workers"),
        Override.from_set("pipeline.max_worker=3"),
        Override.from_set("shutdown.kill_grace=5"),
        Override.from_set("log.format"),
        Override.from_set("nonsense"),
    ]

    assert complaint(environ, *overrides) == textwrap.dedent("""\
        error: PIPELINE_LOG_FORMT (environment): unknown variable
          hint: did you mean PIPELINE_LOG_FORMAT?
        error: PIPELINE_MAX_WORKERS="lots" (environment): max_workers must be a whole number
        error: PIPELINE_QUEUE_CAPACITY="0" (environment): queue_capacity must be at least 1
        error: --max-workers "8.5" (command line): max_workers must be a whole number
        error: --set pipeline.max_worker=3: unknown key
          hint: did you mean pipeline.max_workers?
        error: --set shutdown.kill_grace="5" (command line): shutdown.kill_grace needs a unit
          hint: 5s or 5ms?
        error: --set log.format: no value
          hint: write --set log.format=VALUE
        error: --set nonsense: unknown key
          hint: python pipeline.py config show lists the keys
        pipeline: 8 problems in the configuration, nothing was run (exit 2)""")


def test_file_problems_come_first_and_a_mixed_bag_is_called_the_configuration(site: str) -> None:
    """A bad value is reported also where a later layer overrides it."""
    Path(site).write_text("log:\n  format: xml\n", encoding="utf-8")

    text = complaint({"PIPELINE_LOG_FORMAT": "yaml"}, Override.from_set("log.format=json"), path=site)

    assert text == textwrap.dedent("""\
        site.yml:2:11: error: log.format must be text or json, got "xml"
            2 |   format: xml
              |           ^^^
        error: PIPELINE_LOG_FORMAT="yaml" (environment): log.format must be text or json
        pipeline: 2 problems in the configuration, nothing was run (exit 2)
          hint: python pipeline.py config schema > pipeline.schema.json gives your editor completion""")


def test_what_a_run_gives_its_jobs_is_not_taken_for_a_setting() -> None:
    """A job may be a pipeline itself; what it inherits from its run is no setting, nor is Azure's variable."""
    names = [
        "PIPELINE_JOB_ID",
        "PIPELINE_JOB_KEY",
        "PIPELINE_RUN_ID",
        "PIPELINE_WORKSPACE",
        "PIPELINE",
        "PATH",
    ]

    assert load(environ={}) == load(environ=dict.fromkeys(names, "x"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PIPELINE_MAX_WORKER", "did you mean PIPELINE_MAX_WORKERS?"),
        ("PIPELINE_PIPELINE_MAX_WORKERS", "did you mean PIPELINE_MAX_WORKERS?"),
        ("PIPELINE_max_workers", "did you mean PIPELINE_MAX_WORKERS?"),
        ("PIPELINE_XQZXQZXQZ", "unset it, or name it without PIPELINE_ in front"),
    ],
)
def test_an_unknown_variable_is_refused(name: str, hint: str) -> None:
    """A variable that looks like ours and sets nothing is a mistake, most likely a slip of the keyboard."""
    assert f"error: {name} (environment): unknown variable\n  hint: {hint}\n" in complaint({name: "1"})


def test_every_key_can_be_set_from_everywhere(tmp_path: Path) -> None:
    """File, environment and --set reach every key, by a variable that belongs to no other key."""
    for key, default, _ in config_keys():
        section, name = key.split(".")
        path = tmp_path / "one.yml"
        path.write_text(f"{section}:\n  {name}: {default}\n", encoding="utf-8")

        assert f"{path}:2:{len(name) + 5}" == load(str(path), environ={}).origins[key]
        variable = KEYS[key].variable
        assert f"environment {variable}" == load(environ={variable: default}).origins[key]
        override = Override.from_set(f"{key}={default}")
        assert "command line --set" == load(environ={}, overrides=[override]).origins[key]
    assert len(KEYS) == len(VARIABLES)


def test_settings_and_origins_cannot_be_changed() -> None:
    """What was loaded is shared by all threads, and so nobody can write to it."""
    loaded = load(environ={})

    with pytest.raises(ValueError, match="frozen"):
        setattr(loaded.settings.pipeline, "max_workers", 3)  # noqa: B010 - plainly, it does not type-check
    assert isinstance(loaded.origins, MappingProxyType)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("pipeline", "max_workers", True),
        ("pipeline", "max_workers", 8.0),
        ("pipeline", "max_workers", "8"),
        ("pipeline", "check_interval", True),
        ("pipeline", "check_interval", "1s"),
        ("shutdown", "kill_grace", float("nan")),
        ("shutdown", "kill_grace", float("inf")),
        ("shutdown", "kill_grace", -1.0),
        ("pipeline", "min_workers", 9),
    ],
)
def test_settings_built_by_hand_are_checked_as_strictly(section: str, name: str, value: object) -> None:
    """Python code that builds settings gets no conversions, and the rules between the fields."""
    values = load(environ={}).settings.model_dump()
    assert load(environ={}).settings == Settings.model_validate(values)
    values[section][name] = value

    with pytest.raises(ValueError, match=name):
        Settings.model_validate(values)
