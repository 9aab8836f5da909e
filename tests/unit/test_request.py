"""What was asked for on the command line, and what cannot be asked for together."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dynamic_pipeline.cli.request import Request
from dynamic_pipeline.errors import UsageError

Stdin = Callable[[str], None]
ECHO = ("echo", "{}")


@pytest.fixture(autouse=True)
def stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stdin]:
    """Standard input is nothing, until the test asks for a kind of it."""
    before = os.dup(0)
    opened: list[int] = []

    def become(kind: str) -> None:
        if kind == "closed":
            os.close(0)
            monkeypatch.setattr("sys.stdin", None)
            return
        if kind == "pipe":
            fds = os.pipe()
        elif kind == "terminal":
            fds = os.openpty()[::-1]
        else:
            path = os.devnull if kind == "nothing" else tmp_path / "in.txt"
            fds = (os.open(path, os.O_RDONLY | os.O_CREAT),) * 2
        opened.extend(set(fds))
        os.dup2(fds[0], 0)
        file = os.fdopen(0, closefd=False)
        monkeypatch.setattr("sys.stdin", file)

    become("nothing")
    yield become
    os.dup2(before, 0)
    for fd in (*opened, before):
        os.close(fd)


def complaint(request: Request) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        request.check()
    return str(caught.value), caught.value.hint


@pytest.mark.parametrize("kind", ["nothing", "terminal", "closed"])
@pytest.mark.parametrize(
    "request_",
    [
        Request(),
        Request(jobs=0),
        Request(
            jobs=5, duration="5s", seed=0, time_scale=0.0, options={"load.profile": ("--profile", "demo")}
        ),
        Request(command=ECHO, inputs=("a", "-")),
        Request(call="pkg.mod:func", inputs=("-",)),
    ],
)
def test_what_fits_together_is_taken(stdin: Stdin, request_: Request, kind: str) -> None:
    """The simulation on its own, and real work with its records, whatever standard input is."""
    stdin(kind)

    request_.check()


@pytest.mark.parametrize("kind", ["pipe", "file", "nothing", "closed"])
@pytest.mark.parametrize("request_", [Request(command=ECHO), Request(call="pkg.mod:func")])
def test_work_without_input_reads_what_comes(stdin: Stdin, request_: Request, kind: str) -> None:
    """A pipe or a file on standard input is the input; a closed one is refused when it is opened, not here."""
    stdin(kind)

    request_.check()


@pytest.mark.parametrize("request_", [Request(command=ECHO), Request(call="pkg.mod:func")])
def test_work_without_input_at_a_terminal_is_refused(stdin: Stdin, request_: Request) -> None:
    """It does not wait in silence for somebody to type."""
    stdin("terminal")

    assert ("there is a workload but no records for it", "add -i FILE, or -i - and type them") == complaint(
        request_
    )


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_pipe_never_falls_back_to_the_simulation(stdin: Stdin, kind: str) -> None:
    """Records that come in with nothing to do are a mistake, not a demonstration."""
    stdin(kind)
    text, hint = complaint(Request())

    assert "records come in on standard input but there is nothing to do with them" == text
    assert "for the simulated workload add </dev/null" in hint


@pytest.mark.parametrize("kind", ["pipe", "file"])
@pytest.mark.parametrize("request_", [Request(jobs=5), Request(seed=0), Request(duration="5s")])
def test_a_simulation_that_was_asked_for_needs_no_terminal(
    stdin: Stdin, request_: Request, kind: str
) -> None:
    """In cron and in CI standard input may be anything: an option of the simulation says what is meant."""
    stdin(kind)

    request_.check()


@pytest.mark.parametrize(
    ("request_", "text", "hint"),
    [
        (
            Request(command=ECHO, call="pkg.mod:func", inputs=("a",)),
            "a command and --call are two workloads",
            "leave one of them out",
        ),
        (
            Request(inputs=("a",)),
            "-i has records but there is nothing to do with them",
            "add -- CMD {} or --call pkg.mod:func",
        ),
        (
            Request(fixed_workers="4", options={"pipeline.max_workers": ("--max-workers", "8")}),
            "-j sets --max-workers itself",
            "leave out one of the two",
        ),
        (
            Request(fixed_workers="4", options={"scaling.policy": ("--policy", "fixed")}),
            "-j sets --policy itself",
            "leave out one of the two",
        ),
    ],
)
def test_what_contradicts_is_refused_with_a_way_out(request_: Request, text: str, hint: str) -> None:
    """Two workloads, records without one, or the number of workers twice."""
    assert (text, hint) == complaint(request_)


@pytest.mark.parametrize(
    ("request_", "option"),
    [
        (Request(command=ECHO, inputs=("a",), jobs=0), "--jobs"),
        (Request(command=ECHO, inputs=("a",), duration="5s"), "--duration"),
        (Request(command=ECHO, inputs=("a",), seed=0), "--seed"),
        (Request(command=ECHO, inputs=("a",), time_scale=0.0), "--time-scale"),
        (
            Request(call="pkg.mod:func", inputs=("a",), options={"load.profile": ("--profile", "demo")}),
            "--profile",
        ),
    ],
)
def test_options_of_the_simulation_do_not_go_with_real_work(request_: Request, option: str) -> None:
    """Each one that is given counts, also with the value 0: it would have no effect."""
    assert (
        f"{option} belongs to the simulated workload",
        f"leave {option} out, or the real work",
    ) == complaint(request_)


@pytest.mark.parametrize(
    ("request_", "is_simulation"),
    [
        (Request(), True),
        (Request(jobs=5), True),
        (Request(command=ECHO), False),
        (Request(call="pkg.mod:func"), False),
        (Request(call=""), False),
        (Request(inputs=("",)), False),
        (Request(command=("",)), False),
    ],
)
def test_only_who_asks_for_no_real_work_gets_the_simulation(request_: Request, is_simulation: bool) -> None:
    """An empty word, such as a shell variable that is not set, is still a wish for real work."""
    assert is_simulation is request_.is_simulation
