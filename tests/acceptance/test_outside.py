"""A run as it is seen from outside: by Prometheus, and by a browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import PATIENCE_S, Starter

WAITING = "until test -e go; do sleep 0.02; done"


def samples(text: str) -> dict[str, float]:
    """By name and labels, as Prometheus reads them."""
    return {
        sample.name.removeprefix("dynamic_pipeline_")
        + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "bucket" not in sample.name
    }


def ask(
    address: str, path: str = "/", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], str]:
    host, port = address.removeprefix("http://").rstrip("/").rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, dict(answer.getheaders()), text


def served(program: Any) -> str:
    program.wait_for("served at http")
    program.wait_for("pipeline running")
    match = re.search(r"served at (\S+)", program.log)
    assert match is not None
    return match[1]


def test_metrics_tell_how_a_run_went(run: Starter, tmp_path: Path) -> None:
    """Counts, seconds, the exit code; what failed does not take the last success away."""
    file = tmp_path / "m.prom"
    script = 'test "$1" != 2 || test -e again || { touch again; exit 1; }'
    command = ("run", "-i", "-", "--metrics-file", str(file), "-j", "2", "--", "sh", "-c")
    good = run(*command, script, "sh", stdin="1\n2\n3\n")
    first = samples(file.read_text())
    bad = run(*command, "exit 3", "sh", stdin="1\n")
    second = samples(file.read_text())

    assert (0, 1) == (good.process.returncode, bad.process.returncode)
    assert (3, 0, 3, 1, 1) == tuple(
        first[name]
        for name in (
            "jobs_total{succeeded}",
            "jobs_total{failed}",
            "attempts_total{succeeded}",
            "attempts_total{failed}",
            "retries_total",
        )
    )
    assert (0, 1, 2) == (first["run_exit_code"], second["run_exit_code"], first["workers_limit{max}"])
    assert 4 == first["attempt_duration_seconds_count"]
    assert first["run_last_success_timestamp_seconds"] == second["run_last_success_timestamp_seconds"]
    assert second["run_last_success_timestamp_seconds"] < second["run_last_completion_timestamp_seconds"]
    assert ["m.prom"] == [entry.name for entry in tmp_path.iterdir() if "m.prom" in entry.name]


def test_metrics_that_cannot_be_written_are_told_before_anything_runs(run: Starter) -> None:
    """As with every other report; a folder is a mistake in the command line."""
    nowhere = run("run", "-i", "-", "--metrics-file", "no/such/m.prom", "--", "touch", "canary", stdin="a\n")
    folder = run("run", "-i", "-", "--metrics-file", ".", "--", "touch", "canary", stdin="a\n")

    assert (4, 2) == (nowhere.process.returncode, folder.process.returncode)
    assert "--metrics-file no/such/m.prom cannot be written" in nowhere.stderr
    assert not (nowhere.folder / "canary").exists()


def test_a_run_is_served_while_it_goes_on(start: Starter) -> None:
    """The report's page, which comes again by itself; the facts; the metrics. It can be read and nothing else."""
    program = start(
        "run", "-i", "-", "-j", "2", "--serve", "0", "--", "sh", "-c", WAITING, "sh", stdin="a\nb\nc\n"
    )
    address = served(program)
    page, status, metrics = ask(address), ask(address, "/status.json"), ask(address, "/metrics")
    others = [ask(address, "/", method)[0] for method in ("POST", "PUT", "DELETE", "HEAD")]
    stranger = ask(address, "/status.json", Host="evil.example:80")
    nothing = ask(address, "/../../etc/passwd")
    (program.folder / "go").touch()

    assert 0 == program.wait()
    assert (200, "5") == (page[0], page[1]["Refresh"])
    assert "default-src &#39;none&#39;" in page[2]
    facts = json.loads(status[2])
    assert ("running", 2, 3) == (
        facts["state"],
        facts["workers"],
        facts["queued"] + facts["running"] + facts["waiting"],
    )
    assert 2 == samples(metrics[2])["workers"]
    assert [405] * 4 == others
    assert (421, 404) == (stranger[0], nothing[0])


def test_without_a_journal_there_is_a_page_too(start: Starter) -> None:
    """With what is known: the simulation keeps none."""
    program = start("run", "--jobs", "4000", "--serve", "127.0.0.1:0")
    page = ask(served(program))
    program.signal()
    program.signal()
    program.process.kill()
    program.wait()

    assert 200 == page[0]
    assert "&quot;workers&quot;: 2" in page[2]


def test_clients_never_hold_up_the_exit(start: Starter) -> None:
    """One that sends nothing, one that never ends its request, one that does not read, and garbage."""
    program = start("run", "-i", "-", "--serve", "0", "--", "sh", "-c", WAITING, "sh", stdin="a\n")
    host, port = served(program).removeprefix("http://").rstrip("/").rsplit(":", 1)
    clients = [socket.create_connection((host, int(port)), timeout=PATIENCE_S) for _ in range(30)]
    for client, sent in zip(
        clients, [b"", b"GET / HT", b"GET / HTTP/1.0\r\n\r\n", b"\0\xff" * 2000] * 7, strict=False
    ):
        client.sendall(sent)
    assert 200 == ask(f"http://{host}:{port}", "/status.json")[0]
    (program.folder / "go").touch()

    assert 0 == program.wait()
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("address", "told"),
    [("nowhere", "it must be HOST:PORT"), ("1:99999", "it must be"), ("taken", "Address already in use")],
)
def test_an_address_that_cannot_be_is_told_first(run: Starter, address: str, told: str) -> None:
    """Exit 2, and nothing has run."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        if address == "taken":
            address = f"127.0.0.1:{other.getsockname()[1]}"
        done = run("run", "-i", "-", "--serve", address, "--", "touch", "canary", stdin="a\n")

    assert 2 == done.process.returncode
    assert f"--serve {address}" in done.stderr
    assert told in done.stderr
    assert not (done.folder / "canary").exists()


def test_without_the_library_the_way_to_it_is_told(run: Starter, tmp_path: Path) -> None:
    """In one line; and a server has no metrics then."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "prometheus_client.py").write_text("raise ImportError\n")
    path = os.pathsep.join([str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")])
    done = run("run", "-i", "-", "--metrics-file", "m.prom", "--", "true", stdin="a\n", PYTHONPATH=path)

    assert 2 == done.process.returncode
    assert "it needs prometheus_client\n  hint: pip install 'dynamic-pipeline[metrics]'" in done.stderr
