"""Rules between settings: whom the message blames, and what it advises."""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pipeline_config import ConfigError, Loaded, Override, load

LoadSite = Callable[..., Loaded]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadSite:
    """Loads the keys of the section pipeline from site.yml, with variables and options on top."""
    monkeypatch.chdir(tmp_path)

    def load_site(keys: str, environ: Mapping[str, str] | None = None, *overrides: Override) -> Loaded:
        lines = "".join(f"  {line}\n" for line in keys.split("; ") if line)
        Path("site.yml").write_text(f"pipeline:\n{lines}", encoding="utf-8")
        return load("site.yml", environ=environ or {}, overrides=overrides)

    return load_site


def option(name: str, text: str) -> Override:
    return Override(f"pipeline.{name}", text, f"--{name.replace('_', '-')}")


def first_problem(
    load_site: LoadSite, keys: str, environ: Mapping[str, str] | None = None, *overrides: Override
) -> tuple[str, str | None]:
    with pytest.raises(ConfigError) as caught:
        load_site(keys, environ, *overrides)
    problem = caught.value.problems[0]
    return f"{problem.place.line}: {problem.text}" if problem.place else problem.text, problem.hint


def test_a_minimum_above_the_default_maximum_is_refused(site: LoadSite) -> None:
    """The whole text, for an option: what was typed, what it collides with, and the option that mends it."""
    with pytest.raises(ConfigError) as caught:
        site("", {}, option("min_workers", "9"))

    assert str(caught.value) == textwrap.dedent("""\
        error: --min-workers 9 (command line) is more than max_workers 8 (embedded default)
          hint: raise it too: --max-workers 9
        pipeline: 1 problem in the configuration, nothing was run (exit 2)""")


def test_in_a_file_the_rule_points_at_the_value(site: LoadSite) -> None:
    """The whole text, for a file: the place of the value that was set, and the line that mends it."""
    with pytest.raises(ConfigError) as caught:
        site("min_workers: 9")

    assert str(caught.value) == textwrap.dedent("""\
        site.yml:2:16: error: pipeline.min_workers 9 is more than max_workers 8 (embedded default)
            2 |   min_workers: 9
              |                ^
          hint: raise it too: max_workers: 9
        pipeline: 1 problem in site.yml, nothing was run (exit 2)
          hint: python pipeline.py config schema > pipeline.schema.json gives your editor completion""")


def test_a_default_minimum_follows_an_explicit_maximum(site: LoadSite) -> None:
    """One worker at most can be asked for with one setting, and the origin says what happened to the other."""
    loaded = site("", {}, option("max_workers", "1"))

    assert (1, 1) == (loaded.settings.pipeline.min_workers, loaded.settings.pipeline.max_workers)
    assert "follows max_workers" == loaded.origins["pipeline.min_workers"]


def test_an_explicit_minimum_follows_nothing(site: LoadSite) -> None:
    """Two explicit limits that collide are a mistake, blamed on the layer that had the last word."""
    assert (
        "--max-workers 3 (command line) is less than min_workers 4 (site.yml:2:16)",
        "lower it too: --min-workers 3",
    ) == first_problem(site, "min_workers: 4", {}, option("max_workers", "3"))
    assert (
        "PIPELINE_MIN_WORKERS=4 (environment) is more than max_workers 3 (site.yml:2:16)",
        "raise it too: PIPELINE_MAX_WORKERS=4",
    ) == first_problem(site, "max_workers: 3", {"PIPELINE_MIN_WORKERS": "4"})
    assert (
        "3: pipeline.min_workers 4 is more than max_workers 3 (site.yml:2:16)",
        "raise it too: max_workers: 4",
    ) == first_problem(site, "max_workers: 3; min_workers: 4")


def test_growing_and_shrinking_need_room_between_them(site: LoadSite) -> None:
    """A backlog may not ask for one worker more and one worker less at once."""
    assert (
        "2: pipeline.grow_threshold 10 must be more than shrink_threshold 10 (embedded default)",
        "lower it too: shrink_threshold: 9",
    ) == first_problem(site, "grow_threshold: 10")
    assert (
        "--set pipeline.shrink_threshold=60 (command line) must be less than grow_threshold 50 (embedded default)",
        "keep it below: --set pipeline.shrink_threshold=49",
    ) == first_problem(site, "", {}, Override.from_set("pipeline.shrink_threshold=60"))
    assert 11 == site("grow_threshold: 11").settings.pipeline.grow_threshold


def test_a_threshold_that_the_queue_can_never_show_is_refused(site: LoadSite) -> None:
    """The message names all three settings, and each of the two that mend it with the value that does."""
    assert (
        "2: pipeline.queue_capacity 20 and min_workers 2 (embedded default) never make a backlog of grow_threshold 50 (embedded default)",
        "for a pool that can grow: grow_threshold: 22 or queue_capacity: 48",
    ) == first_problem(site, "queue_capacity: 20")
    assert (
        "queue_capacity 200 (embedded default) and min_workers 2 (embedded default) never make a backlog of PIPELINE_GROW_THRESHOLD=203 (environment)",
        "for a pool that can grow: PIPELINE_GROW_THRESHOLD=202 or PIPELINE_QUEUE_CAPACITY=201",
    ) == first_problem(site, "", {"PIPELINE_GROW_THRESHOLD": "203"})
    assert 202 == site("grow_threshold: 202").settings.pipeline.grow_threshold
    assert 48 == site("queue_capacity: 48").settings.pipeline.queue_capacity


def test_advice_does_not_lead_into_the_next_mistake(site: LoadSite) -> None:
    """A threshold that would have to go below the other one is not proposed."""
    _, hint = first_problem(site, "queue_capacity: 5")

    assert "for a pool that can grow: queue_capacity: 48" == hint


def test_following_the_advice_mends_it(site: LoadSite) -> None:
    """Each proposed value, set in the same place, is accepted."""
    assert site("min_workers: 9; max_workers: 9")
    assert site("grow_threshold: 10; shrink_threshold: 9")
    assert site("shrink_threshold: 49")
    assert site("queue_capacity: 20; grow_threshold: 22")


def test_conflicts_stand_among_the_other_problems_in_order(site: LoadSite) -> None:
    """Problems are in the order of the file, however late they were found."""
    with pytest.raises(ConfigError) as caught:
        site("max_retries: x; min_workers: 9; failure_rate: x")

    assert [2, 3, 4] == [problem.place.line for problem in caught.value.problems if problem.place]


def test_a_value_that_is_wrong_by_itself_is_not_judged_again(site: LoadSite) -> None:
    """One mistake is one problem: rules are silent about values that are no values."""
    with pytest.raises(ConfigError) as caught:
        site("min_workers: 9; max_workers: eight")

    assert ["pipeline.max_workers"] == [problem.text.split()[0] for problem in caught.value.problems]
