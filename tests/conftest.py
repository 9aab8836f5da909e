"""What holds for every test: it leaves no thread behind, and no setting of the caller's shell reaches it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from time import monotonic

import pytest
from hypothesis import settings

# A shared machine may stop for longer than hypothesis allows a single example.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

_GRACE_S = 5.0  # for threads that have been told to end; only a leak ever uses it up
_MARKS = ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "NO_COLOR")
_OFTEN_S = 1e-6
_FOR_LIFE = ("Dask-Offload",)  # Dask starts it once, and keeps it until the interpreter ends


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's `PIPELINE_…` settings and colour switches are not there."""
    for name in tuple(os.environ):
        if name.startswith("PIPELINE_") or name in _MARKS:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_leaked_thread(own_environment: None) -> Iterator[None]:
    """A test that leaves a thread behind fails."""
    before = set(threading.enumerate())
    yield
    deadline_s = monotonic() + _GRACE_S
    for thread in _new_since(before):
        thread.join(max(0.0, deadline_s - monotonic()))
    left = sorted(thread.name for thread in _new_since(before))
    if left:
        pytest.fail(f"threads left behind: {', '.join(left)}")


def _new_since(before: set[threading.Thread]) -> list[threading.Thread]:
    new = set(threading.enumerate()) - before
    return [thread for thread in new if not thread.name.startswith(_FOR_LIFE)]


@pytest.fixture
def switch_often() -> Iterator[None]:
    """Threads take turns after every few instructions: races that need hours elsewhere show in seconds."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_OFTEN_S)
    yield
    sys.setswitchinterval(before_s)
