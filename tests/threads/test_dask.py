"""Runs over a real Dask cluster, from Python: its workers are killed, its scheduler goes, and somebody else meddles."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline import FixedScaling, JobFailed, JobSucceeded, Load, Run, run, spool_folder, start
from dynamic_pipeline.attempts import Attempt
from dynamic_pipeline.errors import Interrupted, IoFault
from dynamic_pipeline.events import JobRetrying, LimitChanged, RunStarted
from dynamic_pipeline.executors.dask_check import facts
from dynamic_pipeline.executors.dask_cluster import Cluster
from dynamic_pipeline.executors.dask_commands import MOST_BYTES, DaskCommands
from dynamic_pipeline.executors.elsewhere import FailedElsewhere, FailedElsewhereForGood
from dynamic_pipeline.executors.turns import Turns
from dynamic_pipeline.jobs import Job
from dynamic_pipeline.journal.processes import look_up
from dynamic_pipeline.reports import CommandReport
from dynamic_pipeline.spool import Spool
from dynamic_pipeline.stats import Stats
from dynamic_pipeline.work.local_commands import Filled

from tests.dask_cluster import RealCluster, connected, real_cluster
from tests.doubles import PATIENCE_S, RecordingSink, Spawned, wait_until, wait_until_waiting
from tests.elsewhere import FileGate, double, hang_or_pass, note, wait_until_told
from tests.living import children, lives, wait_gone

_NOTED_S = 0.2  # the reaper has heard of a command that is as old
_TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A scheduler and two workers of two threads each."""
    with real_cluster(tmp_path_factory.mktemp("cluster"), 2, threads=2) as one:
        yield one


@pytest.fixture(scope="module", autouse=True)  # before the first test looks which threads there are
def client(cluster: RealCluster) -> Iterator[Any]:
    with connected(cluster, 2) as one:
        yield one


@pytest.fixture(autouse=True)
def whole(client: Any) -> Iterator[None]:
    """Whatever a test has killed is there again for the next one, and nothing of it runs."""
    yield
    wait_until(lambda: len(client.nthreads()) >= 2)
    wait_until(lambda: not any(client.processing().values()))


def pids(client: Any) -> dict[str, int]:
    """Of the processes that do the work, by address; nannies are above them."""
    found: dict[str, int] = client.run(os.getpid)
    return found


def begin(client: Any, fn: Callable[[Any], Any], records: Any, **settings: Any) -> Run:
    settings.setdefault("policy", FixedScaling(4))
    return start(fn, records, executor=client, **settings)


def tries(sink: RecordingSink) -> set[int]:
    """The numbers of all attempts that ended a job."""
    return {event.attempt.number for event in sink.events if isinstance(event, JobSucceeded | JobFailed)}


# ── workers that die ────────────────────────────────────────────────────────────────────────────────


def test_a_worker_that_is_killed_costs_nobody_a_try(client: Any, tmp_path: Path) -> None:
    """Its two calls begin again on another one: all succeed at their first attempt, and none ends twice."""
    sink = RecordingSink()
    with FileGate(tmp_path) as gate:
        running = begin(client, gate, range(8), sinks=[sink])
        gate.wait_arrivals(4)
        os.kill(min(pids(client).values()), signal.SIGKILL)
        gate.wait_arrivals(6)
        gate.let_out(100)
        summary = running.result()

    assert (8, 0, 0, 0) == (summary.succeeded, summary.failed, summary.unfinished, summary.retries)
    assert ({1}, 0) == (tries(sink), sink.count(JobRetrying))
    assert sorted(gate.left) == sorted(map(str, range(8)))


def test_a_worker_that_is_killed_with_its_nanny_costs_nobody_a_try(
    cluster: RealCluster, client: Any, tmp_path: Path
) -> None:
    """The same where nobody starts it again: a third worker, killed with all that is in its group."""
    third = cluster.worker("third", threads=2)
    client.wait_for_workers(3, timeout=PATIENCE_S)
    sink = RecordingSink()
    with FileGate(tmp_path) as gate:
        running = begin(client, gate, range(12), policy=FixedScaling(6), sinks=[sink])
        gate.wait_arrivals(6)
        os.killpg(third.pid, signal.SIGKILL)
        third.wait(PATIENCE_S)
        gate.let_out(100)
        summary = running.result()

    assert (12, 0, 0, 0) == (summary.succeeded, summary.failed, summary.unfinished, summary.retries)
    assert ({1}, 2) == (tries(sink), len(client.nthreads()))
    assert sorted(gate.left) == sorted(map(str, range(12)))


class DiesEachTime:
    """Takes the process down for the record `dies`, each time, the first time when *others* have begun beside it.

    The others wait until they are let go.
    """

    def __init__(self, folder: Path, others: int) -> None:
        self._folder, self._others = str(folder), others

    def __call__(self, record: str) -> str:
        if record == "dies":
            wait_until(lambda: len(self._words("began")) >= self._others)
            note(f"{self._folder}/deaths", os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)
        note(f"{self._folder}/began", record)
        wait_until(Path(self._folder, "go").exists)
        return record

    def let_others_end(self) -> None:
        Path(self._folder, "go").touch()

    @property
    def deaths(self) -> list[str]:
        return self._words("deaths")

    def _words(self, name: str) -> list[str]:
        path = Path(self._folder, name)
        return path.read_text().split() if path.exists() else []


def test_a_call_that_kills_its_worker_each_time_fails_alone(tmp_path: Path) -> None:
    """Two that were lost with it as often run alone and succeed at their first attempt; it has failed for good."""
    sink = RecordingSink()
    with (
        pytest.MonkeyPatch.context() as environment,
        contextlib.ExitStack() as stack,
    ):
        environment.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
        cluster = stack.enter_context(real_cluster(tmp_path / "cluster", 1, threads=3))
        client = stack.enter_context(connected(cluster, 1))
        calls = DiesEachTime(tmp_path, 2)
        running = begin(client, calls, ["a", "b", "dies"], policy=FixedScaling(3), sinks=[sink])
        wait_until(lambda: len(calls.deaths) >= 2)  # with both beside it
        calls.let_others_end()
        summary = running.result()

    assert (2, 1, 0, 0) == (summary.succeeded, summary.failed, summary.unfinished, summary.retries)
    assert {1} == tries(sink)
    (failed,) = (event for event in sink.events if isinstance(event, JobFailed))
    assert "dies" == failed.attempt.job.payload
    assert "its worker died, and another one when it ran alone" == failed.outcome.error
    assert not failed.outcome.is_retryable
    assert 4 == len(calls.deaths)  # two together, two alone


# ── somebody else's hands ───────────────────────────────────────────────────────────────────────────


def cancel_all(client: Any, address: str) -> None:
    """As another program would that is connected to the same scheduler."""
    from distributed import Client, Future  # noqa: PLC0415 - half of a second

    with Client(address, timeout=PATIENCE_S, set_as_default=False) as other:
        other.cancel([Future(key, other) for key in tuple(client.futures)], force=True)


def test_a_task_that_somebody_cancels_is_asked_for_again(
    cluster: RealCluster, client: Any, tmp_path: Path
) -> None:
    """It is nobody's failure, and uses up no try."""
    sink = RecordingSink()
    with FileGate(tmp_path) as gate:
        running = begin(client, gate, ["a"], sinks=[sink])
        gate.wait_arrivals(1)
        cancel_all(client, cluster.address)
        gate.wait_arrivals(2)
        gate.let_out(100)
        summary = running.result()

    assert (1, 0, 0) == (summary.succeeded, summary.failed, summary.retries)
    assert {1} == tries(sink)


def test_the_scheduler_is_gone(tmp_path: Path) -> None:
    """The run ends by itself, soon: one error that says so, and the rest is unfinished and not failed."""
    with real_cluster(tmp_path / "cluster", 1, threads=2) as own, connected(own, 1) as client:
        with FileGate(tmp_path) as gate:
            running = begin(client, gate, range(50), policy=FixedScaling(2), max_retries=0)
            gate.wait_arrivals(2)
            own.scheduler.kill()
            began_s = time.monotonic()
            assert running.wait(PATIENCE_S)
            took_s = time.monotonic() - began_s
        summary = running.result()

    assert isinstance(summary.error, IoFault)
    assert "the connection to the Dask scheduler is lost" == str(summary.error)
    assert (0, 0) == (summary.succeeded, summary.failed)
    assert summary.unfinished == summary.accepted > 0
    assert took_s < 5


@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_a_connection_that_was_closed_is_no_hang(cluster: RealCluster, timeout_s: float | None) -> None:
    """A run over it ends with the error that tells so, and nothing was done."""
    from distributed import Client  # noqa: PLC0415 - half of a second

    closed = Client(cluster.address, timeout=PATIENCE_S, set_as_default=False)
    closed.close()

    with pytest.raises(IoFault, match="the connection to the Dask scheduler is lost"):
        run(double, range(5), executor=closed, timeout_s=timeout_s)


# ── time limits ─────────────────────────────────────────────────────────────────────────────────────


def test_a_call_that_takes_too_long_has_failed_at_once(client: Any, tmp_path: Path) -> None:
    """While it goes on, the job is over and not tried again; what it returns later counts for nothing."""
    sink = RecordingSink()
    with FileGate(tmp_path) as gate:
        running = begin(client, gate, ["a"], timeout_s=0.3, max_retries=3, sinks=[sink])
        summary = running.result()
        assert ["a"] == gate.arrived
        assert [] == gate.left
        gate.let_out(1)
        gate.wait_left(1)

    assert (0, 1, 0) == (summary.succeeded, summary.failed, summary.retries)
    (failed,) = (event for event in sink.events if isinstance(event, JobFailed))
    assert failed.outcome.error.startswith("timeout after 0.3 s; a call on a cluster cannot be ended")
    assert 0 == sink.count(JobSucceeded)


def test_a_call_is_told_that_its_time_is_up(client: Any, tmp_path: Path) -> None:
    """`should_stop` becomes true where it runs, and only there."""
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    both = begin(client, slow_or_quick, [str(slow), str(quick)], timeout_s=1.0)
    summary = both.result()
    wait_until(lambda: slow.read_text().split() == ["began", "told"])

    assert (1, 1) == (summary.succeeded, summary.failed)
    assert "False\n" == quick.read_text()


def slow_or_quick(path: str) -> None:
    from dynamic_pipeline import current_job  # noqa: PLC0415 - as a user's module would

    if path.endswith("slow"):
        wait_until_told(path)
    else:
        note(path, current_job().should_stop)


def test_the_time_begins_on_the_worker(client: Any) -> None:
    """Twelve calls for four threads: the last ones wait for longer than the limit before they begin, and do well."""
    summary = run(nap, range(12), policy=FixedScaling(12), executor=client, timeout_s=0.9)

    assert (12, 0) == (summary.succeeded, summary.failed)


def nap(number: int) -> int:
    time.sleep(0.5)
    return number


# ── the client is its owner's ───────────────────────────────────────────────────────────────────────


def test_a_lambda_and_a_closure_can_be_called_there(client: Any) -> None:
    """What has no name that a worker could import goes by value."""
    factor, results = 3, []
    first = run(
        lambda number: number * factor,
        range(4),
        executor=client,
        on_result=lambda result: results.append(result.outcome.value),
    )

    def add(number: int) -> int:
        return number + factor

    second = run(
        add,
        range(4),
        executor=client,
        on_result=lambda result: results.append(result.outcome.value),
    )

    assert (4, 4) == (first.succeeded, second.succeeded)
    assert sorted([0, 3, 6, 9, 3, 4, 5, 6]) == sorted(results)


def test_what_cannot_be_sent_is_refused_before_anything_starts(client: Any) -> None:
    """A function that holds a lock: a TypeError of `start`, not a failure per record."""
    lock = threading.Lock()

    with pytest.raises(TypeError, match="it cannot be sent to a cluster"):
        start(lambda _: lock.locked(), [1], executor=client)


@pytest.mark.parametrize("executor", ["dask", "", None, 3])
def test_another_executor_is_refused(executor: Any) -> None:
    """A ValueError that tells what there is."""
    with pytest.raises(ValueError, match="it must be threads, processes or a Dask client"):
        start(double, [1], executor=executor)


def test_the_client_stays_open(client: Any) -> None:
    """After a run that went well, one that was aborted, and one with a limit it does other work, and no thread is left."""
    before = set(threading.enumerate())
    assert 5 == run(double, range(5), executor=client).succeeded
    aborted = begin(client, nap, range(8), abort_grace_s=0.0)
    aborted.abort()
    aborted.result()
    assert 5 == run(double, range(5), executor=client, timeout_s=5.0).succeeded

    assert "running" == client.status
    assert 42 == client.submit(double, 21, pure=False).result(PATIENCE_S)
    wait_until(lambda: not {t for t in set(threading.enumerate()) - before if "Offload" not in t.name})


def test_two_runs_over_one_client_do_not_know_of_each_other(client: Any, tmp_path: Path) -> None:
    """Job 1 of both runs at once; the one is aborted, and the other's calls neither stop nor are charged."""
    (tmp_path / "gate").mkdir()
    told = tmp_path / "told"
    with FileGate(tmp_path / "gate") as gate:
        kept = begin(client, gate, ["a", "b"], policy=FixedScaling(2))
        gate.wait_arrivals(2)
        cut = begin(client, wait_until_told, [str(told)], policy=FixedScaling(1), abort_grace_s=PATIENCE_S)
        wait_until(told.exists)
        cut.abort()
        assert 0 == cut.result().failed
        assert ["began", "told"] == told.read_text().split()
        assert not kept.wait(0)
        gate.let_out(2)
        summary = kept.result()

    assert (2, 0, 0) == (summary.succeeded, summary.unfinished, summary.retries)


def test_an_aborted_run_takes_back_what_waits_at_the_scheduler(client: Any, tmp_path: Path) -> None:
    """Of twenty calls for four threads those that have not begun never do."""
    with FileGate(tmp_path) as gate:
        running = begin(client, gate, range(20), policy=FixedScaling(20), abort_grace_s=0.2)
        gate.wait_arrivals(4)
        running.abort()
        summary = running.result()
        gate.let_out(100)
        wait_until(lambda: not any(client.processing().values()))

    assert (0, 20) == (summary.failed, summary.succeeded + summary.unfinished)
    assert 4 == len(gate.arrived)


# ── commands ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def commands(client: Any, tmp_path: Path) -> Iterator[Any]:
    """`DaskCommands` with a grace of one second; the name of the run is the test's own."""
    one = DaskCommands(client, run_id=run_id(tmp_path), kill_grace_s=1.0)
    yield one
    one.close()


def run_id(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode()).hexdigest()[:12]


def sh(commands: DaskCommands, script: str, *args: object, job: int = 1, number: int = 1) -> CommandReport:
    words = ("/bin/sh", "-c", script, "sh", *map(str, args))
    return commands.run(
        Filled([os.fsencode(word) for word in words], 7, "c0ffee"), Attempt(Job(job, None), number)
    )


def content(spool: Spool) -> bytes:
    return b"".join(spool.chunks())


def is_noted(path: Path) -> bool:
    """The command whose pid is in *path* runs for so long that its worker has told the reaper."""
    if not path.exists() or not path.read_text().endswith("\n"):
        return False
    process = look_up(int(path.read_text().split()[-1]))
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    return process is not None and uptime_s - int(process.start) / _TICKS > _NOTED_S


def test_outputs_come_back_byte_for_byte(commands: DaskCommands) -> None:
    """Five megabytes of any byte on stdout, others on stderr, and what is large waits on our disk."""
    script = 'exec "$1" -c "import os; d = bytes(range(256)) * 20480; os.write(2, d[:300]); open(1, \'wb\').write(d)"'
    report = sh(commands, script, sys.executable)
    (folder,) = spool_folder.of_run(commands._folder.rpartition("/")[2].split("-")[2])

    assert bytes(range(256)) * 20480 == content(report.stdout)
    assert (bytes(range(256)) * 2)[:300] == content(report.stderr)
    assert ["1.1.out"] == os.listdir(folder)  # noqa: PTH208 - names only


@pytest.mark.parametrize("stream", [1, 2])
def test_output_above_the_limit_fails_the_job(commands: DaskCommands, stream: int) -> None:
    """With a text that says how much it was and what to do; not tried again. What is just as large comes back."""
    script = f"head -c $1 /dev/zero >&{stream}"
    with pytest.raises(FailedElsewhereForGood) as caught:
        sh(commands, script, MOST_BYTES + 1)
    report = sh(commands, script, MOST_BYTES, job=2)

    name = ("stdout", "stderr")[stream - 1]
    assert str(caught.value).startswith(
        f"it wrote 16777217 bytes to {name}; a cluster brings back 16777216 at the most"
    )
    assert MOST_BYTES == (report.stdout, report.stderr)[stream - 1].size


def test_a_command_that_fails_brings_its_output_and_code(commands: DaskCommands) -> None:
    """As one of this machine."""
    with pytest.raises(FailedElsewhere) as caught:
        sh(commands, "echo out; echo err >&2; exit 3")
    report = caught.value.value

    assert "exit 3" == str(caught.value)
    assert isinstance(report, CommandReport)
    assert (3, 7, b"out\n", b"err\n") == (
        report.code,
        report.slot,
        content(report.stdout),
        content(report.stderr),
    )


def test_a_command_runs_in_our_folder_and_knows_its_job(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers were started elsewhere; a folder with a quote and a newline in its name is no matter."""
    odd = tmp_path / "it's\n$HOME"
    odd.mkdir()
    monkeypatch.chdir(odd)
    commands = DaskCommands(client, run_id=run_id(tmp_path), kill_grace_s=1.0)
    variables = "$PIPELINE_JOB_ID $PIPELINE_JOB_ATTEMPT $PIPELINE_JOB_SLOT $PIPELINE_JOB_KEY $PIPELINE_RUN_ID"
    report = sh(commands, f'echo "{variables}"; pwd', job=5, number=2)
    commands.close()

    assert f"5 2 7 c0ffee {run_id(tmp_path)}\n{odd}\n".encode() == content(report.stdout)


def test_what_a_command_leaves_behind_does_not_hold_it(commands: DaskCommands, tmp_path: Path) -> None:
    """The grandchild has the output open and runs on; the job is over, and the report says so."""
    report = sh(commands, 'sleep 100 & echo $! > "$1"; echo done', tmp_path / "pid")
    pid = int((tmp_path / "pid").read_text())
    was_alive = lives(pid)
    os.kill(pid, signal.SIGKILL)

    assert was_alive
    assert (b"done\n", True) == (content(report.stdout), report.has_left_some)


ONE_AT_A_TIME = """
if test -e "$1/pid" && grep -qs '^State:[[:space:]]*[RSDTtI]' "/proc/$(tail -n 1 "$1/pid")/status"; then touch "$1/twice"; fi
echo $$ >> "$1/pid"
until test -e "$1/go"; do sleep 0.01; done
echo done
"""


def test_the_command_of_a_killed_worker_is_ended_and_begins_again(
    client: Any, commands: DaskCommands, tmp_path: Path
) -> None:
    """By the reaper, which outlives the worker; the two never run at once, and it is one attempt."""
    running = Spawned(lambda: sh(commands, ONE_AT_A_TIME, tmp_path))
    wait_until(lambda: is_noted(tmp_path / "pid"))
    first = int((tmp_path / "pid").read_text())
    os.kill(above(first, pids(client).values()), signal.SIGKILL)
    wait_until(lambda: not lives(first))
    wait_until(lambda: len((tmp_path / "pid").read_text().split()) == 2)
    (tmp_path / "go").touch()

    assert b"done\n" == content(running.result().stdout)
    assert not (tmp_path / "twice").exists()


SUICIDAL = """
echo $$ >> "$1/pid"
if test "$(wc -l < "$1/pid")" = 1; then kill -KILL $PPID; fi
until test -e "$1/go"; do sleep 0.01; done
test "$(wc -l < "$1/pid")" = 1 || echo done
"""


def test_a_command_that_has_just_begun_does_not_outlive_its_worker(
    client: Any, commands: DaskCommands, tmp_path: Path
) -> None:
    """The worker dies within the first milliseconds of it: the command is ended, and runs elsewhere."""
    running = Spawned(lambda: sh(commands, SUICIDAL, tmp_path))
    wait_until(lambda: (tmp_path / "pid").exists() and len((tmp_path / "pid").read_text().split()) == 2)
    wait_until(lambda: not lives(int((tmp_path / "pid").read_text().split()[0])))
    (tmp_path / "go").touch()

    assert b"done\n" == content(running.result().stdout)


def test_a_killed_worker_leaves_no_folder(client: Any, commands: DaskCommands, tmp_path: Path) -> None:
    """Soon after, nothing of its commands is in the folder for temporary files."""
    running = Spawned(lambda: sh(commands, ONE_AT_A_TIME, tmp_path))
    wait_until(lambda: is_noted(tmp_path / "pid"))
    os.kill(above(int((tmp_path / "pid").read_text()), pids(client).values()), signal.SIGKILL)
    (tmp_path / "go").touch()
    running.result()
    commands.close()

    wait_until(lambda: [] == spool_folder.of_run(run_id(tmp_path)))


def above(pid: int, workers: Collection[int]) -> int:
    """The worker that has started the command."""
    process = look_up(pid)
    assert process is not None
    assert process.parent in workers
    return process.parent


def test_an_abort_ends_a_command_that_answers(client: Any, commands: DaskCommands, tmp_path: Path) -> None:
    """TERM: it may say its last words, which come back, and it is an interruption."""
    script = 'trap "echo bye; exit 0" TERM; echo $$ > "$1"; while :; do sleep 0.01; done'
    running = Spawned(lambda: sh(commands, script, tmp_path / "pid"))
    wait_until(lambda: is_noted(tmp_path / "pid"))
    commands.abort()
    with pytest.raises(Interrupted) as caught:
        running.result()

    report = caught.value.value
    assert isinstance(report, CommandReport)
    assert b"bye\n" == content(report.stdout)
    assert not lives(int((tmp_path / "pid").read_text()))


def test_an_abort_kills_a_command_that_does_not_answer(commands: DaskCommands, tmp_path: Path) -> None:
    """KILL after the grace, and the call returns then."""
    script = 'trap "" TERM; echo $$ > "$1"; while :; do sleep 0.01; done'
    running = Spawned(lambda: sh(commands, script, tmp_path / "pid"))
    wait_until(lambda: is_noted(tmp_path / "pid"))
    began_s = time.monotonic()
    commands.abort()
    with pytest.raises(Interrupted):
        running.result()
    took_s = time.monotonic() - began_s
    wait_gone(lambda: [1] if lives(int((tmp_path / "pid").read_text())) else [])

    assert 0.9 < took_s < 2


def test_workers_keep_nothing_of_the_commands(client: Any, commands: DaskCommands, tmp_path: Path) -> None:
    """Neither files, nor descriptors, nor watching threads, when they have ended."""
    sh(commands, "head -c 100000 /dev/zero")
    with pytest.raises(FailedElsewhere):
        sh(commands, "exit 3")
    (ours,) = spool_folder.of_run(run_id(tmp_path))  # as that of the workers would be called, on this machine
    before = client.run(descriptors)
    for job in range(8):
        sh(commands, "sleep 0.03", job=job)

    assert ours == commands._folder
    wait_until(lambda: not any(client.run(watches).values()))
    assert all(after <= before[who] + 2 for who, after in client.run(descriptors).items())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only


def watches() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "pipeline-watch"]


# ── the cluster of our own ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def local() -> Iterator[Cluster]:
    """Two workers; nothing may be left of it, neither in this process nor beside it."""
    before = children()
    one = Cluster("local", 2)
    yield one
    one.close()
    one.close()  # changes nothing
    assert one._local is not None
    assert one._local.stdin is not None
    one._local.stdin.close()  # the cluster leaves that to the collection of garbage
    assert not children() - before


def test_a_local_cluster_tells_what_it_is(local: Cluster) -> None:
    """So many workers of one thread each, which can run what they are asked for."""
    wait_until(lambda: len(local.client.nthreads()) == 2)
    (line,) = local.check(None, facts())

    assert line.startswith("Dask cluster local at tcp://127.0.0.1:")
    assert line.endswith(": 2 workers, 2 threads")


def test_a_local_cluster_has_as_many_workers_as_the_pool_may(local: Cluster) -> None:
    """From two to four, to one, to three; never none."""
    (sink,) = local.sinks()

    def counts(limit: int) -> None:
        wait_until(lambda: len(local.client.nthreads()) == limit)

    sink.emit([RunStarted(4)], Stats())
    counts(4)
    sink.emit([LimitChanged(4, 1, 0, "test")], Stats())
    counts(1)
    sink.emit([LimitChanged(1, 3, 0, "test")], Stats())
    counts(3)
    sink.emit([LimitChanged(3, 0, 0, "test"), LimitChanged(0, 1, 0, "test")], Stats())
    counts(1)


def test_no_call_runs_twice_when_a_local_cluster_shrinks(local: Cluster, tmp_path: Path) -> None:
    """Three run when the limit becomes one: each goes on where it is, and its worker leaves when it has ended."""
    limit = 3

    def policy(_: Load) -> int:
        return limit

    with FileGate(tmp_path) as gate:
        running = begin(
            local.client, gate, range(12), policy=policy, check_interval_s=0.01, sinks=local.sinks()
        )
        gate.wait_arrivals(3)
        limit = 1
        wait_until(lambda: running.load.limit == 1)
        gate.let_out(1)
        gate.wait_left(1)
        wait_until(lambda: len(local.client.nthreads()) == 2)
        assert 3 == len(gate.arrived)
        gate.let_out(1)
        wait_until(lambda: len(local.client.nthreads()) == 1)
        gate.let_out(100)
        summary = running.result()

    assert (12, 0) == (summary.succeeded, summary.retries)
    assert set(Counter(gate.arrived).values()) == {1}


def test_a_local_cluster_that_is_killed_is_lost_like_any_other(local: Cluster, tmp_path: Path) -> None:
    """The run ends with the error that tells so."""
    with FileGate(tmp_path) as gate:
        running = begin(local.client, gate, range(9), policy=FixedScaling(2))
        gate.wait_arrivals(2)
        local.kill()
        summary = running.result()

    assert isinstance(summary.error, IoFault)
    assert (0, 0) == (summary.succeeded, summary.failed)


# ── turns ───────────────────────────────────────────────────────────────────────────────────────────


class Holder:
    """A thread that takes a turn, and keeps it until it is told to let go."""

    def __init__(self, turns: Turns, *, alone: bool = False) -> None:
        self.has = threading.Event()
        self._lets_go = threading.Event()
        self._turns, self._alone = turns, alone
        self.thread = Spawned(self._hold, "alone" if alone else "holder")

    def _hold(self) -> None:
        with self._turns.take(alone=self._alone):
            self.has.set()
            self._lets_go.wait(PATIENCE_S)

    def let_go(self) -> None:
        self._lets_go.set()
        self.thread.result()

    def waits(self) -> bool:
        """It asks, and does not get it."""
        wait_until_waiting(self.thread.thread, "take")
        return not self.has.is_set()


def test_any_number_may_hold_a_turn_at_once() -> None:
    """Nobody waits while nobody wants to be alone."""
    turns = Turns()
    holders = [Holder(turns) for _ in range(5)]
    assert all(holder.has.wait(PATIENCE_S) for holder in holders)
    for holder in holders:
        holder.let_go()


def test_alone_waits_for_the_others_and_those_that_come_later_wait_for_it() -> None:
    """First the holder, then the one that is alone, then the rest."""
    turns = Turns()
    first = Holder(turns)
    first.has.wait(PATIENCE_S)
    alone = Holder(turns, alone=True)
    assert alone.waits()
    later = [Holder(turns) for _ in range(3)]
    assert all(holder.waits() for holder in later)
    first.let_go()
    assert alone.has.wait(PATIENCE_S)
    assert all(holder.waits() for holder in later)
    alone.let_go()
    assert all(holder.has.wait(PATIENCE_S) for holder in later)
    for holder in later:
        holder.let_go()


def test_two_that_want_to_be_alone_are_so_one_after_the_other() -> None:
    """And a plain holder comes after both."""
    turns = Turns()
    first = Holder(turns, alone=True)
    first.has.wait(PATIENCE_S)
    second = Holder(turns, alone=True)
    plain = Holder(turns)
    assert second.waits()
    assert plain.waits()
    first.let_go()
    assert second.has.wait(PATIENCE_S)
    assert plain.waits()
    second.let_go()
    assert plain.has.wait(PATIENCE_S)
    plain.let_go()


def test_a_turn_ends_with_an_error_too() -> None:
    """Whoever raises has let go of it."""
    turns = Turns()
    for alone in (False, True):
        with pytest.raises(KeyError), turns.take(alone=alone):
            raise KeyError
    for holder in (Holder(turns, alone=True), Holder(turns)):
        assert holder.has.wait(PATIENCE_S)
        holder.let_go()


def test_the_end_wakes_all_that_wait() -> None:
    """Those that want to be alone and those that wait for them; and nobody waits afterwards."""
    turns = Turns()
    held = Holder(turns)
    held.has.wait(PATIENCE_S)
    waiting = [Holder(turns, alone=True), Holder(turns, alone=True), Holder(turns)]
    assert all(holder.waits() for holder in waiting)
    turns.end()
    assert all(holder.has.wait(PATIENCE_S) for holder in waiting)
    late = Holder(turns)
    assert late.has.wait(PATIENCE_S)
    for holder in (held, *waiting, late):
        holder.let_go()


def test_alone_is_alone_whoever_races(switch_often: None) -> None:
    """Six threads take turns of both kinds: no two are in when one is alone, and none is left waiting."""
    turns = Turns()
    inside, worst = Counter[str](), Counter[str]()
    lock = threading.Lock()

    def side(number: int) -> None:
        for turn in range(200):
            kind = "alone" if (number + turn) % 5 == 0 else "plain"
            with turns.take(alone=kind == "alone"):
                with lock:
                    inside[kind] += 1
                    if inside["alone"]:
                        worst["beside"] = max(worst["beside"], inside.total())
                    worst["plain"] = max(worst["plain"], inside["plain"])
                with lock:
                    inside[kind] -= 1

    for spawned in [Spawned(lambda number=number: side(number)) for number in range(6)]:  # type: ignore[misc]
        spawned.result()

    assert 1 == worst["beside"]


def test_a_call_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """On a worker with a single thread: when its time is up another thread takes its place, and the others are done."""
    records = [str(tmp_path / "hangs"), *"abcdef"]
    with real_cluster(tmp_path / "single", 1) as single, connected(single, 1) as one:
        client: Any = one
        begun = start(hang_or_pass, records, executor=client, timeout_s=0.5, policy=FixedScaling(3))
        assert begun.wait(PATIENCE_S)
        summary = begun.result()

    assert (6, 1, 0) == (summary.succeeded, summary.failed, summary.unfinished)


def test_two_runs_of_one_function_do_not_share_their_flags(client: Any, tmp_path: Path) -> None:
    """The end of the first job of one run is no word to the first job of the other, on the same worker or not."""
    paths = [tmp_path / name for name in ("one", "other")]
    runs = [start(wait_until_told, [str(path)], executor=client, policy=FixedScaling(1)) for path in paths]
    wait_until(lambda: all(path.exists() for path in paths))
    runs[0].abort()
    assert runs[0].wait(PATIENCE_S)
    is_left_alone = paths[1].read_text().split() == ["began"]
    runs[1].abort()
    assert runs[1].wait(PATIENCE_S)

    assert is_left_alone


def test_a_module_beside_the_program_is_found_on_the_workers(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word of where it is: the folder of the program is looked in, too."""
    name = f"beside_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    (tmp_path / f"{name}.py").write_text("def work(record):\n    return record * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    summary = run(importlib.import_module(name).work, [1, 2], executor=client)

    assert (2, 0) == (summary.succeeded, summary.failed)
