"""One child process in a session of its own: started, waited for, ended with all that it started."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dynamic_pipeline import process_group
from dynamic_pipeline.process_group import ProcessGroup
from dynamic_pipeline.spawning import spawn

from tests.doubles import Spawned, wait_until

Start = Callable[..., ProcessGroup]
NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="without /proc the whole grace is waited for"
)


@pytest.fixture(params=["kernel", "polling"])
def way_to_wait(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's wake-up where there is one, and without it as on macOS."""
    if request.param == "polling":
        monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a shell script; whatever is left of it at the end is killed and reaped."""
    groups: list[ProcessGroup] = []

    def start(script: str, *args: str | Path) -> ProcessGroup:
        argv = [os.fsencode(word) for word in ("/bin/sh", "-c", script, "sh", *args)]
        out, err = (os.fsencode(tmp_path / f"{len(groups)}.{name}") for name in ("out", "err"))
        groups.append(ProcessGroup(spawn(argv[0], argv, [], out, err)))
        return groups[-1]

    yield start
    for group in groups:
        if group._code is None:  # not reaped: the number is still its own
            group.send(signal.SIGKILL)
            group.reap()


@pytest.fixture
def wake() -> Iterator[tuple[int, int]]:
    """A pipe whose reading end wakes a wait."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


class Alive:
    """A FIFO that every process of a script holds open: its end of file says that all of them have gone."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "alive"
        os.mkfifo(self.path)

    def wait_ready(self) -> None:
        """Block until the script has written a line to its descriptor 9."""
        self._file = self.path.open("rb", buffering=0)
        assert b"ready\n" == self._file.readline()

    def wait_gone(self) -> None:
        assert b"" == self._file.read()

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Alive]:
    made = Alive(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", -9)])
@pytest.mark.usefixtures("way_to_wait")
def test_a_leader_is_waited_for_then_reaped(
    start: Start, wake: tuple[int, int], script: str, code: int
) -> None:
    """Its exit code, or minus the signal; until it is reaped its number is nobody else's."""
    group = start(script)

    assert group.wait(wake[0])
    assert group.has_exited()
    os.kill(group.pid, 0)  # there is still such a process
    assert code == group.reap()
    with pytest.raises(ProcessLookupError):
        os.kill(group.pid, 0)


@pytest.mark.usefixtures("way_to_wait")
def test_a_wait_ends_when_it_is_woken(start: Start, wake: tuple[int, int]) -> None:
    """A readable descriptor ends the wait; the command goes on."""
    group = start("exec sleep 60")
    waiting = Spawned(lambda: group.wait(wake[0]))
    os.write(wake[1], b"x")

    assert not waiting.result()
    assert not group.has_exited()


@pytest.mark.usefixtures("way_to_wait")
def test_a_wait_ends_when_its_time_is_up(start: Start, wake: tuple[int, int]) -> None:
    """Without waking anybody."""
    group = start("exec sleep 60")

    assert not group.wait(wake[0], 0.03)
    assert not group.has_exited()


@pytest.mark.usefixtures("way_to_wait")
def test_a_leader_that_has_ended_counts_even_when_the_wait_is_woken(
    start: Start, wake: tuple[int, int]
) -> None:
    """What is done is done: it is not taken for interrupted."""
    group = start("exit 0")
    assert group.wait(wake[0])
    os.write(wake[1], b"x")

    assert group.wait(wake[0])


def test_a_child_lives_in_a_session_of_its_own(start: Start) -> None:
    """The terminal's Ctrl+C, a signal to our process group, does not reach it."""
    group = start("exec sleep 60")

    assert group.pid == os.getsid(group.pid) == os.getpgid(group.pid)
    assert group.pid != os.getsid(0)


IGNORES_TERM = "trap '' TERM; exec 9>\"$1\"; sleep 60 & echo ready >&9; wait"


def test_the_end_takes_what_ignores_a_polite_request(start: Start, alive: Alive) -> None:
    """After the grace leader and children are killed; KILL is what ended the leader."""
    group = start(IGNORES_TERM, alive.path)
    alive.wait_ready()
    group.end(0.05)

    assert -signal.SIGKILL == group.reap()
    alive.wait_gone()


@NEEDS_PROC
def test_the_end_comes_as_soon_as_all_have_left(start: Start, alive: Alive) -> None:
    """Who obeys TERM is not made to wait for the grace, here more than the test's patience."""
    group = start('exec 9>"$1"; sleep 60 & echo ready >&9; wait', alive.path)
    alive.wait_ready()
    group.end(1000.0)

    assert -signal.SIGTERM == group.reap()
    alive.wait_gone()


@NEEDS_PROC
def test_children_may_clean_up_within_the_grace_too(
    start: Start, alive: Alive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that leaves at once does not cut the grace of its children short."""
    os.mkfifo(tmp_path / "go")
    go = os.open(tmp_path / "go", os.O_RDWR)
    handler = 'trap \'read x <"$2"; echo tidy >"$3"; exit\' TERM'
    script = f'({handler}; exec 9>"$1"; echo ready >&9; while :; do sleep 0.01; done) & wait'
    group = start(script, alive.path, tmp_path / "go", tmp_path / "tidy")
    alive.wait_ready()
    looks: list[bool] = []

    def look() -> bool:
        looks.append(ProcessGroup.has_exited(group))
        return looks[-1]

    monkeypatch.setattr(group, "has_exited", look)
    ending = Spawned(lambda: group.end(60.0))
    wait_until(lambda: looks.count(True) >= 2 or not ending.thread.is_alive())  # it still waits, or gave up
    os.write(go, b"on\n")
    ending.result()

    assert "tidy\n" == (tmp_path / "tidy").read_text()
    assert -signal.SIGTERM == group.reap()
    alive.wait_gone()
    os.close(go)


def test_a_leader_may_clean_up_within_the_grace(start: Start, alive: Alive, tmp_path: Path) -> None:
    """TERM can be handled: what the handler writes and the code it leaves with stand."""
    script = (
        'trap \'echo tidy >"$2"; exit 7\' TERM; exec 9>"$1"; echo ready >&9; while :; do sleep 0.01; done'
    )
    group = start(script, alive.path, tmp_path / "tidy")
    alive.wait_ready()
    group.end(60.0)

    assert 7 == group.reap()
    assert "tidy\n" == (tmp_path / "tidy").read_text()


def test_children_of_a_leader_that_has_left_are_ended_too(start: Start, alive: Alive) -> None:
    """The signal goes to the group, which outlives its leader."""
    group = start("(trap '' TERM; exec 9>\"$1\"; echo ready >&9; exec sleep 60) & exit 0", alive.path)
    alive.wait_ready()
    wait_until(group.has_exited)
    group.end(0.05)

    assert 0 == group.reap()
    alive.wait_gone()


def test_a_signal_to_a_group_that_has_gone_is_no_error(start: Start) -> None:
    """The command was faster."""
    group = start("exit 0")
    group.reap()
    group.send(signal.SIGTERM)


@pytest.mark.usefixtures("way_to_wait")
def test_a_wait_leaves_no_descriptor_open(start: Start, wake: tuple[int, int]) -> None:
    """A million commands are waited for with the same few descriptors."""
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        group = start("exit 0")
        group.wait(wake[0])
        group.reap()

    assert before == len(list(Path("/dev/fd").iterdir()))


@pytest.mark.usefixtures("way_to_wait")
def test_a_wait_of_a_month_is_no_error(start: Start, wake: tuple[int, int]) -> None:
    """The kernel counts milliseconds in 31 bits, which are 24 days."""
    group = start("exit 0")

    assert group.wait(wake[0], 720 * 3600.0)
    assert 0 == group.reap()


def test_a_long_wait_is_made_of_several(
    start: Start, wake: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends neither before its time nor after the leader."""
    monkeypatch.setattr(process_group, "_LONGEST_WAIT_S", 0.001)
    begun_s = time.monotonic()

    assert not start("exec sleep 60").wait(wake[0], 0.02)
    assert time.monotonic() - begun_s >= 0.02
    assert start("exit 0").wait(wake[0], 60.0)


def test_what_its_owner_gives_up_is_killed_and_collected(start: Start, alive: Alive) -> None:
    """The leader and its children, without a grace; again changes nothing."""
    group = start(IGNORES_TERM, alive.path)
    alive.wait_ready()
    group.destroy()
    group.destroy()

    alive.wait_gone()
    assert -signal.SIGKILL == group.reap()


ZOMBIE = """
import os, sys
ready, written = os.pipe()
if not os.fork():  # lives on in a group of its own, and does not collect its child
    member = os.fork()
    if not member:
        os._exit(0)
    os.waitid(os.P_PID, member, os.WEXITED | os.WNOWAIT)
    os.setpgid(0, 0)
    os.write(1, b"%d" % os.getpid())
    os.write(written, b"x")
    os.read(os.open(sys.argv[1], os.O_RDONLY), 1)  # nobody ever writes
    os._exit(0)
os.read(ready, 1)
"""


@pytest.fixture
def left_a_zombie(start: Start, wake: tuple[int, int], tmp_path: Path) -> Iterator[ProcessGroup]:
    """A group whose leader has exited, and whose other member has ended and is collected by nobody."""
    os.mkfifo(tmp_path / "never")
    group = start('exec "$@"', sys.executable, "-c", ZOMBIE, tmp_path / "never")
    assert group.wait(wake[0])
    yield group
    os.kill(int((tmp_path / "0.out").read_bytes()), signal.SIGKILL)


@NEEDS_PROC
def test_a_zombie_is_no_straggler(left_a_zombie: ProcessGroup) -> None:
    """What has ended, and is only not collected, does not run on; the kernel counts it as a member."""
    left_a_zombie.reap()
    os.killpg(left_a_zombie.pid, 0)  # raises if the group is empty

    assert not left_a_zombie.has_members()


@NEEDS_PROC
def test_the_end_does_not_wait_for_a_zombie(left_a_zombie: ProcessGroup) -> None:
    """No grace, here more than the test's patience, makes it go."""
    left_a_zombie.end(1000.0)

    assert 0 == left_a_zombie.reap()


@NEEDS_PROC
def test_what_runs_on_is_a_straggler(start: Start, alive: Alive) -> None:
    """A background process that the leader has left behind."""
    group = start('(exec 9>"$1"; echo ready >&9; exec sleep 60) & exit 0', alive.path)
    alive.wait_ready()
    group.reap()

    assert group.has_members()
    os.killpg(group.pid, signal.SIGKILL)
    alive.wait_gone()


@NEEDS_PROC
def test_groups_that_end_together_share_a_look_at_all_processes(
    start: Start, alive: Alive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each on its own would keep the interpreter from the others, and the grace would last several times as long."""
    script = "(trap '' TERM; exec 9>\"$1\"; echo ready >&9; exec sleep 60) & wait"
    groups = [start(script, alive.path) for _ in range(40)]
    with alive.path.open("rb", buffering=0) as file:
        assert 40 * b"ready\n" == b"".join(file.readline() for _ in groups)
    looks: list[str] = []
    list_names = os.listdir

    def look(path: str) -> list[str]:
        looks.append(path)
        return list_names(path)

    monkeypatch.setattr(os, "listdir", look)
    alive._file = alive.path.open("rb", buffering=0)
    for ending in [Spawned(lambda group=group: group.end(0.3)) for group in groups]:  # type: ignore[misc]
        ending.result()

    alive.wait_gone()
    assert 0 < looks.count("/proc") < 40  # each looks four times
