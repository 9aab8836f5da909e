# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]>=2024.10"]
# ///
"""Sessions: `nox` runs tests, lint, types and smoke; `nox -l` lists the others."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lint", "types", "smoke"]
nox.options.reuse_existing_virtualenvs = True

_SUITE = ("thread_pool", "wait", "as_completed", "shutdown", "init", "future")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """The tests, on each supported Python; further arguments go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", "-q", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Branch coverage of the tests that run in this process."""
    session.install("-e", ".[dev]")
    session.run("coverage", "run", "-m", "pytest", "-q", "-n", "0", *session.posargs)
    session.run("coverage", "report", "--show-missing")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and format."""
    session.install("ruff>=0.9")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over package, tests and this file."""
    session.install("-e", ".[dev]")
    session.run("mypy")


@nox.session
def smoke(session: nox.Session) -> None:
    """The main job as cron or CI would run it: a short simulation, then real input."""
    session.install("-e", ".")
    state = str(Path(session.create_tmp()).resolve())
    run = ("python", "pipeline.py", "run", "--state-dir", state)
    session.run(*run, "--jobs", "40", "--time-scale", "0.05", "--seed", "1")
    session.run(*run, "-i", "README.md", "--", "test", "-n", "{}")


@nox.session(python="3.13")
def suite(session: nox.Session) -> None:
    """CPython's own thread-pool tests with our executor in the place of `ThreadPoolExecutor`."""
    found = session.run(
        "python",
        "-c",
        "import test.test_concurrent_futures.test_thread_pool",
        success_codes=[0, 1],
        silent=True,
    )
    if isinstance(found, str) and "Error" in found:
        session.skip("this Python was installed without test.test_concurrent_futures")
    session.install("-e", ".")
    home = session.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", silent=True)
    pth = Path(str(home).strip()) / "zz_stand_in.pth"  # read by every interpreter, isolated ones too
    pth.write_text(f"{Path('tests/suite').resolve()}\nimport stand_in\n")
    try:
        modules = [f"test.test_concurrent_futures.test_{name}" for name in _SUITE]
        session.run(
            "python", "-m", "unittest", *modules, "-k", "ThreadPool", "-k", "FutureTests", *session.posargs
        )
    finally:
        pth.unlink()


@nox.session
def setup(session: nox.Session) -> None:
    """The README's set-up commands in clean clones with an empty home, on each Python that is found."""
    session.install("-e", ".[test]")
    session.run(
        "pytest",
        "-q",
        "-n",
        "0",
        "-m",
        "soak",
        "--timeout",
        "900",
        "-o",
        "faulthandler_timeout=0",
        "tests/acceptance/test_setup.py",
        *session.posargs,
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Ratios, measured side by side; `../shared/bench` must lie beside the project. Takes minutes."""
    session.install("-e", ".[test]")
    session.run("python", "tests/benchmarks/start_up.py")
    session.run("python", "tests/benchmarks/executors.py")
    peers = Path("../shared/bench/peers.py")
    if not peers.exists():
        session.skip("../shared/bench/peers.py is not here, so there is nothing to compare the engine with")
    only = "dynamic-pipeline,our-executor,stdlib-queue,floor-hop,mp-ThreadPool"
    plugin = str(Path("tests/benchmarks/ours.py").resolve())
    args = session.posargs or ("--only", only, "--sizes", "full", "--rounds", "5")
    session.run("python", "-B", str(peers), "--plugin", plugin, *args)
    session.run("python", "tests/benchmarks/growth.py")
    session.run("python", "tests/benchmarks/commands.py")
    session.run("python", "tests/benchmarks/journal.py")


@nox.session
def soak(session: nox.Session) -> None:
    """The long tests: 500 interrupted runs, the demo in real time, races by the thousand."""
    session.install("-e", ".[test]")
    session.run(
        "pytest",
        "-q",
        "-n",
        "0",
        "-m",
        "soak",
        "--timeout",
        "1800",
        "-o",
        "faulthandler_timeout=0",
        *session.posargs,
    )


if __name__ == "__main__":
    nox.main()
