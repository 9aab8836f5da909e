"""The arrangement of the code: the floors, one door per third party, sizes, and what the map says of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "components" / "dynamic_pipeline"
CONFIG = ROOT / "config" / "pipeline_config"
MAP = (ROOT / "components" / "README.md").read_text()

# From the ground up; a file imports only from floors above its own line here, and the top imports all.
FLOORS = [
    line.split()
    for line in re.search(r"```floors\n(.*?)```", MAP, re.DOTALL)[1].replace("·", " ").splitlines()  # type: ignore[index]
]
ALONE = {
    "rooms"
}  # rooms never import each other; elsewhere a floor has several lines where it needs an order
DOORS = {
    "typer": ["cli"],
    "loguru": ["sinks/log.py"],
    "sqlite3": ["journal/"],
    "filelock": ["journal/lock.py"],
    "prometheus_client": ["sinks/metrics.py"],
    "http": ["cli/serving.py"],
    "multiprocessing": ["executors/worker_process.py", "executors/fork_server.py", "executors/child.py"],
    "distributed": ["executors/dask"],  # and dask_…: the client, the task, the cluster
    "dask": ["executors/dask_local.py"],
    "cloudpickle": ["executors/dask.py"],
    "jinja2": ["report/page.py"],
    "markupsafe": ["report/page.py"],
    "rich": ["views/live.py", "sinks/screen.py"],
    "click": [],
    "pydantic": [],
    "yaml": [],
    "durationpy": [],
    "pipeline_config": ["cli"],
}
CONFIG_DOORS = {
    "pydantic": {"models.py", "values.py"},
    "yaml": {"yaml_text.py"},
    "durationpy": {"durations.py"},
}


def modules() -> Iterator[Path]:
    yield from sorted(ENGINE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that *path* imports, those for type checkers only included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """The name under which a file stands in the list of floors: its module, or its folder."""
    relative = path.relative_to(ENGINE)
    return relative.parts[0].removesuffix(".py")


def floor_of(name: str) -> int:
    found = [number for number, floor in enumerate(FLOORS) if name in floor]
    assert len(found) == 1, f"{name} must stand once in the floors of components/README.md"
    return found[0]


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(ENGINE)))
def test_a_file_imports_only_from_floors_above_its_own(path: Path) -> None:
    """Upward imports, and imports between rooms, make a maze."""
    own = room(path)
    if own == "__init__":
        return  # the public names, resolved lazily
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "dynamic_pipeline" or len(parts) < 2:
            continue
        other = parts[1]
        if other in (own, "__version__") or not (
            (ENGINE / other).is_dir() or (ENGINE / f"{other}.py").exists()
        ):
            continue
        assert floor_of(other) < floor_of(own), f"{own} imports {other}, which is not above it"


def test_every_module_stands_on_a_floor() -> None:
    """The list of floors names all modules, and nothing that is not there."""
    listed = {name for floor in FLOORS for name in floor}

    assert listed == {room(path) for path in modules()} - {"__init__"}


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(ENGINE)))
def test_each_third_party_has_one_door(path: Path) -> None:
    """A library that is used in one place can be replaced in one place."""
    where = str(path.relative_to(ENGINE))
    for name in imports(path):
        top = name.split(".")[0]
        if top in DOORS:
            assert any(where.startswith(door) for door in DOORS[top]), f"{where} imports {top}"


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.py")), ids=lambda path: path.name)
def test_the_configuration_knows_nothing_of_the_engine(path: Path) -> None:
    """It is a module of its own, and its third parties have their doors too."""
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in ("dynamic_pipeline", "typer", "loguru")
        assert path.name in CONFIG_DOORS.get(top, {path.name}), f"{path.name} imports {top}"


def test_modules_stay_small() -> None:
    """A module has one job; the orchestrator may have 250 lines, everything stays below 270."""
    sizes = {path: len(path.read_text().splitlines()) for path in [*modules(), *CONFIG.glob("*.py")]}

    assert {str(path): size for path, size in sizes.items() if size > 270} == {}
    assert sizes[ENGINE / "orchestrator.py"] <= 250


def test_no_module_is_a_bucket() -> None:
    """Names that say nothing fill with everything."""
    banned = {"utils", "util", "common", "helpers", "types", "base", "misc"}

    assert not [path for path in [*modules(), *CONFIG.rglob("*.py")] if path.stem in banned]


def test_the_public_names_are_few() -> None:
    """At most fifteen, each of which can be imported."""
    import dynamic_pipeline  # noqa: PLC0415 - looked at here only

    assert len(dynamic_pipeline.__all__) <= 15
    assert all(getattr(dynamic_pipeline, name) is not None for name in dynamic_pipeline.__all__)


def test_the_top_level_is_what_was_asked_for() -> None:
    """Exactly these, and dot-files."""
    asked = {"pyproject.toml", "README.md", "pipeline.py", "components", "config", "tests", "noxfile.py"}
    made_by_use = {"logs", "runs", "dist"}

    assert {p.name for p in ROOT.iterdir() if not p.name.startswith(".")} - made_by_use == asked
    assert not (ROOT / "components" / "__init__.py").exists()
    assert not (ROOT / "config" / "__init__.py").exists()


def test_the_map_names_every_thread_and_state() -> None:
    """components/README.md stays true: its thread table and its states are those of the code."""
    wiring = (ENGINE / "wiring.py").read_text()
    threads = set(re.findall(r'OwnedThread\("(\w+)"', wiring)) | {"main", "worker"}
    from dynamic_pipeline.jobs import JobState  # noqa: PLC0415 - looked at here only

    table = MAP[MAP.index("## Threads") : MAP.index("## A job's life")]
    assert {name for name in threads if f"| {name}" not in table} == set()
    assert {
        state.value for state in JobState if state.value not in MAP[MAP.index("## A job's life") :]
    } == set()
