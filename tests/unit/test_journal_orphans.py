"""Commands that outlived a killed run: found by what makes them unique, and ended or awaited."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from dynamic_pipeline.journal import orphans
from dynamic_pipeline.journal.orphans import MARK, Dealt, OrphanPolicy, deal, find
from dynamic_pipeline.journal.processes import (
    Process,
    boot_id,
    environment,
    look_up,
    own_processes,
    start_tick,
)
from dynamic_pipeline.journal.recovery import Orphan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of its processes in /proc")
UUID = f"dead-run-{os.getpid()}"
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start `sh -c` in a session of its own; it has said a word when this returns."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *, uuid: str | None = UUID, **others: Any) -> subprocess.Popen[str]:
        env = {"PATH": os.environ["PATH"], **({MARK: uuid} if uuid else {})}
        process = subprocess.Popen(
            ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
            start_new_session=True, **others,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip()
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def orphan(pid: int, *, later: int = 0, boot: str | None = None) -> Orphan:
    return Orphan(UUID, boot_id() if boot is None else boot, 1, 1, pid, (start_tick(pid) or 0) + later)


def pids(found: list[Process]) -> set[int]:
    return {process.pid for process in found}


def test_a_process_on_record_is_found_with_all_of_its_session(spawn: Spawn) -> None:
    """Also where nothing of it carries the mark."""
    process = spawn("sleep 99 & echo $!; read x", uuid=None)
    members = {each.pid for each in own_processes() if each.session == process.pid}

    assert {process.pid} < members
    assert members == pids(find([orphan(process.pid)], []))


def test_a_process_that_only_has_the_number_is_a_strangers(spawn: Spawn) -> None:
    """Another start, or another boot."""
    process = spawn("echo up; read x", uuid=None)

    assert [] == find([orphan(process.pid, later=1), orphan(process.pid, boot="another")], [])
    assert {process.pid} == pids(find([orphan(process.pid)], []))


def test_a_process_with_the_mark_is_found_without_a_record(spawn: Spawn) -> None:
    """It was started just before the kill; what carries another run's mark is left alone."""
    mine = spawn("echo up; read x")
    other = spawn("echo up; read x", uuid=f"{UUID}-other")

    assert {mine.pid} == pids(find([], [UUID]))
    assert f"{MARK}={UUID}-other".encode() in environment(other.pid)


def test_the_run_that_looks_and_those_above_it_are_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a command of the dead run itself."""
    code = f"from dynamic_pipeline.journal.orphans import find\nimport sys\nprint(len(find([], [{UUID!r}])))"
    script = f"{sys.executable} -c '{code.replace(chr(39), chr(34))}'; true"
    monkeypatch.setenv(MARK, UUID)

    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)

    assert "0\n" == done.stdout


def test_a_polite_process_ends_with_term(spawn: Spawn) -> None:
    """It is gone when the answer comes, and had the time to tidy up."""
    process = spawn("trap 'echo tidy; exit 0' TERM; echo up; while :; do sleep 0.01; done")

    dealt = deal([orphan(process.pid)], [UUID], "kill", grace_s=20)

    assert (True, ()) == (dealt.ended >= 1, dealt.left)
    assert process.stdout is not None
    assert "tidy\n" == process.stdout.readline()
    assert 0 == process.wait()


def test_a_stubborn_process_and_all_it_started_are_killed(spawn: Spawn) -> None:
    """Whatever session they have moved to: the mark goes with them."""
    process = spawn("trap '' TERM; setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 99; done' & wait")

    dealt = deal([orphan(process.pid)], [UUID], "kill", grace_s=0.05)

    assert (True, ()) == (dealt.ended >= 3, dealt.left)
    assert -signal.SIGKILL == process.wait()
    assert [] == find([], [UUID])


def test_who_waits_goes_on_when_they_have_ended(spawn: Spawn) -> None:
    """By themselves."""
    process = spawn("echo up; read x")
    asked = threading.Event()
    found: list[Dealt] = []

    def should_stop() -> bool:
        asked.set()
        return False

    waiter = threading.Thread(target=lambda: found.append(deal([], [UUID], "wait", should_stop=should_stop)))
    waiter.start()
    assert asked.wait(20)
    assert [] == found
    process.communicate("go\n")
    waiter.join(20)

    assert [Dealt(0, 1, ())] == found


@pytest.mark.parametrize(("policy", "calls"), [("ignore", 0), ("wait", 1)])
def test_what_is_left_is_told(spawn: Spawn, policy: OrphanPolicy, calls: int) -> None:
    """Ignored on purpose, or because the waiting was cut short."""
    process = spawn("echo up; read x")
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return True

    dealt = deal([], [UUID], policy, should_stop=should_stop)

    assert Dealt(0, 0, (process.pid,)) == dealt
    assert calls <= len(asked)
    assert process.poll() is None


def test_nothing_to_deal_with_is_nothing() -> None:
    """Nothing on record, or only what has long been over."""
    assert Dealt(0, 0, ()) == deal([], [], "kill")
    assert Dealt(0, 0, ()) == deal([Orphan(UUID, boot_id(), 1, 1, 1 << 22, 5)], [UUID], "kill")


def test_a_process_that_waits_to_be_reaped_is_over(spawn: Spawn) -> None:
    """It does nothing any more, and could be waited for in vain."""
    process = spawn("echo up; read x; exit 0")
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert look_up(process.pid) is None
    assert [] == find([], [UUID])


def test_a_process_that_is_another_users_by_now_is_found(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command may be `setpriv …` or `sudo …`: it is not among the user's own, but it is on record."""
    process = spawn("echo up; read line", uuid=None)
    monkeypatch.setattr(orphans, "own_processes", lambda: iter(()))

    assert {process.pid} == pids(find([orphan(process.pid)], []))
    assert set() == pids(find([orphan(process.pid, later=1)], []))


def test_before_a_wait_it_is_told_for_whom(spawn: Spawn) -> None:
    """It may take long, and somebody may sit before it."""
    process = spawn("echo up; read line")
    told: list[list[int]] = []
    dealt = deal([], [UUID], "wait", should_stop=lambda: told, on_wait=told.append)

    assert [[process.pid]] == told
    assert Dealt(0, 0, (process.pid,)) == dealt
