"""Whether the processes of a cluster can do the work: asked of each before the first job."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import dynamic_pipeline
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.work.callable import resolve


class Call(NamedTuple):
    """The function that will be called."""

    name: str  # pkg.mod:func
    folder: str  # where its module is looked for first
    file: str  # of the module, as the client has it; empty: it has none


class Facts(NamedTuple):
    """What a process tells of itself."""

    python: str
    version: str  # of this package
    problem: str = ""  # why the function cannot be called there
    sources: Mapping[str, str] = {}  # digests of the user's modules, as they were when they were loaded


_loaded: dict[str, tuple[str, str]] = {}  # file and digest by module, as they were when it was first seen


def facts(call: Call | None = None) -> Facts:
    """Of the calling process; what it needs for *call* is loaded."""
    here = Facts(f"{sys.version_info[0]}.{sys.version_info[1]}", dynamic_pipeline.__version__)
    if call is None:
        return here
    try:
        module = module_of(resolve(call.name, folder=call.folder))
    except UsageError as error:
        return here._replace(problem=str(error))
    file = getattr(module, "__file__", None) or ""
    if file != call.file and Path(call.file).is_file():
        text = f"another {call.name.partition(':')[0]}, {file}, was loaded there before {call.file}"
        return here._replace(problem=text)
    return here._replace(sources=sources(call, module))


def module_of(fn: Callable[..., Any]) -> ModuleType | None:
    """The one that *fn* comes from, if that is known."""
    return sys.modules.get(getattr(fn, "__module__", None) or "")


def sources(call: Call, module: ModuleType | None) -> dict[str, str]:
    """Digests of *module* and of all that was loaded from the folder of *call*, as they were when this saw them first."""
    found = {}
    for name, each in tuple(sys.modules.items()):
        file = getattr(each, "__file__", None)
        if file and (each is module or (Path(call.folder) in Path(file).parents and "-packages" not in file)):
            if _loaded.get(name, ("",))[0] != file:
                with contextlib.suppress(OSError):
                    _loaded[name] = file, hashlib.sha256(Path(file).read_bytes()).hexdigest()
            found[name] = _loaded.get(name, ("", ""))[1]
    return found


def refuse(who: str, said: object, here: Facts) -> None:
    """Refuse a cluster of which a process, *who*, has *said* that it cannot do the work as this program, *here*, would.

    Raises:
        UsageError: says what differs, and the way out.
    """
    if not isinstance(said, Facts):
        text = f"{who} cannot load dynamic-pipeline: {str(said).partition(chr(10))[0]}"
        raise UsageError(text, hint=f"pip install 'dynamic-pipeline[dask]=={here.version}' there")
    if (said.python, said.version) != (here.python, here.version):
        theirs = f"Python {said.python} with dynamic-pipeline {said.version}"
        raise UsageError(
            f"{who} is {theirs}, this is Python {here.python} with {here.version}",
            hint="they must be the same, since functions and records cross in pickled form",
        )
    if said.problem:
        raise UsageError(
            f"{who}: {said.problem}",
            hint="restart the workers"
            if " was loaded there before " in said.problem
            else "put the module on a file system that all machines share, or install it there",
        )
    for name, digest in here.sources.items():
        if said.sources.get(name, digest) != digest:
            raise UsageError(
                f"{who} has loaded another version of {name}",
                hint="restart the workers; where files are not shared, bring it up to date there",
            )
