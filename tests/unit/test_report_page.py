"""The words, the drawings and the page of a report: what is hostile stays text, and what is shown is true."""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from dynamic_pipeline.journal.operations import Decide, EndRun, Finish, NewJob, Start
from dynamic_pipeline.journal.report_reader import ReportReader
from dynamic_pipeline.journal.store import Store
from dynamic_pipeline.report import charts
from dynamic_pipeline.report.page import render, script_json
from dynamic_pipeline.report.story import read_story
from dynamic_pipeline.report.timeline import Point
from dynamic_pipeline.report.words import again_command, clock_text, duration_text, verdict

from tests.journaling import accept, begun, new_run, open_store
from tests.unit.test_journal_versions import fixture

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'\u2028\u202egnp\x1b[31m\x00{{ 7*7 }}]]>-->"


def page(path: Path, state: str = "ended", now_us: int = 30_000_000) -> str:
    with ReportReader.open(path) as reader, reader.one_moment():
        runs = reader.runs(20)
        story = read_story(
            reader, runs[0], state, [(run, state) for run in runs], ["python", "p.py"], [], now_us
        )
    return b"".join(render(story, now_us)).decode()


def text_of(html: str) -> str:
    """What a reader without scripts sees, roughly."""
    body = re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def end(store: Store, code: int = 0, succeeded: int = 0, failed: int = 0) -> None:
    store.apply([EndRun(code, succeeded, failed, 0, 0, 9_000_000)])
    store.close()


# ── hostile text ────────────────────────────────────────────────────────────────────────────────────


def test_no_text_of_a_run_becomes_markup_or_moves_the_reader(tmp_path: Path) -> None:
    """Records, names of files, errors, outputs, reasons, hosts, settings, the command itself."""
    path = tmp_path / "journal.db"
    store = open_store(path)
    config = json.dumps({HOSTILE: [HOSTILE, HOSTILE], "odd": 7})
    hostile = HOSTILE.replace("\x00", "")
    store.begin_run(
        new_run(config=config, input=HOSTILE)._replace(
            host=HOSTILE, parts={"kind": "shell", "text": HOSTILE, HOSTILE: HOSTILE}
        )
    )
    record = NewJob.of(b"k" * 16, HOSTILE.encode() + b"\xff", source=hostile, line=1)
    store.apply([accept([])._replace(records=(record,))])
    store.apply([Start.of(1, 1, worker=hostile, started_us=2_000_000)])
    store.apply(
        [
            Finish.of(
                1,
                1,
                "failed",
                error=hostile,
                output=HOSTILE.encode() + b"\xff\n",
                ended_us=3_000_000,
                worker=hostile,
            ),
            Decide.of(1, 3, hostile, (4, 2, 1, 2, 0, 7.5, 1.25, 6, 3, 200, 0), at_us=2_500_000),
        ]
    )
    end(store, 1, 0, 1)
    html = page(path)

    assert "<img" not in html
    assert 3 == html.count("</script>") == html.count("<script")
    assert "49]]" not in html
    assert "{{ 7*7 }}" in html
    assert 9 <= html.count("&lt;/script&gt;")
    assert not [char for char in html if not char.isprintable() and char not in "\n\t"]
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert {"pool", "rate", "latency"} == set(json.loads(data))


def test_json_in_a_script_cannot_end_it() -> None:
    """And reads back as what it was."""
    text = script_json({"a": "</script><!--&\u2028\u2029"})

    assert not set("<>&\u2028\u2029") & set(text)
    assert {"a": "</script><!--&\u2028\u2029"} == json.loads(text)


def test_the_policy_names_exactly_the_scripts_and_styles_of_the_page(tmp_path: Path) -> None:
    """Nothing else runs, nothing is fetched, and no attribute carries a style or a script."""
    path = tmp_path / "journal.db"
    end(begun(path, b"a"))
    html = page(path)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', html)
    blocks = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", html, re.DOTALL)
    wanted = {f"'sha256-{b64encode(sha256(block.encode()).digest()).decode()}'" for block in blocks}

    assert set(re.findall(r"'sha256-[^']*'", policy.replace("&#39;", "'"))) == wanted
    assert policy.startswith("default-src &#39;none&#39;;")
    assert "unsafe" not in policy
    markup = re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert not re.search(r"\s(?:style|on\w+|src|srcset)\s*=", markup)
    assert ["data:,"] == re.findall(r'href="(.*?)"', markup)
    assert "Permission is hereby granted" in html


# ── runs of all kinds ───────────────────────────────────────────────────────────────────────────────


def test_a_run_without_a_job_has_a_page(tmp_path: Path) -> None:
    """It says what is not there."""
    path = tmp_path / "journal.db"
    end(begun(path))
    text = text_of(page(path))

    assert "✓ Everything was done" in text
    assert "No attempt was begun." in text
    assert "No job failed for good." in text


@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_of_any_format_has_a_page(version: int) -> None:
    """What the first one did not keep is said to be missing."""
    text = text_of(page(fixture(version), "killed"))

    assert "✗ Killed before its end; 6 not run; --resume goes on" in text
    assert "1 ✓ ok 1 ✗ failed" in text
    assert ("this journal does not tell it" in text) is (version == 1)
    assert ("Nothing on record: the pool" in text) is (version == 1)
    assert ("no \\xff such file" in text) is (version == 2)


def test_outcomes_are_told_in_words_too(tmp_path: Path) -> None:
    """The tiles count jobs, the tables name them, and the end of the output is there."""
    path = tmp_path / "journal.db"
    store = begun(path, b"good", b"bad", b"flaky")
    started = [Start.of(seq, 1, worker="w1", started_us=2_000_000) for seq in (1, 2, 3)]
    store.apply([*started])
    store.apply(
        [
            Finish.of(1, 1, "succeeded", ended_us=3_000_000),
            Finish.of(
                2, 1, "failed", error="exit 3", exit_code=3, output=b"first\nlast\n", ended_us=4_000_000
            ),
            Finish.of(3, 1, "failed", will_retry=True, error="exit 75", ended_us=4_000_000),
        ]
    )
    store.apply([Start.of(3, 2, worker="w1", started_us=5_000_000)])
    store.apply([Finish.of(3, 2, "succeeded", ended_us=6_000_000)])
    end(store, 1, 2, 1)
    text = text_of(page(path))

    assert "✗ 1 job failed for good, the others were done" in text
    assert "2 ✓ ok 1 ✗ failed 1 ↻ ok after a retry 0 not run" in text
    assert "exit 3: 1 job " in text
    assert "the end of what job 2 wrote first last" in text
    assert "Ok after a retry: 1" in text
    assert "exit 75" in text  # among the slowest attempts


def test_a_great_run_has_a_page_below_a_megabyte(tmp_path: Path) -> None:
    """Twenty thousand jobs, half of them failed with a lot of output, by a hundred causes."""
    path = tmp_path / "journal.db"
    store = begun(path)
    payloads = [b"<record> & %d " % number + b"x" * 300 for number in range(20_000)]
    noise = (b"<b>&'\"</b>" * 20 + b"\n") * 15
    for first in range(0, 20_000, 1000):
        store.apply([accept(payloads[first : first + 1000])])
        seqs = range(first + 1, first + 1001)
        at_us = 2_000_000 + first * 1000
        store.apply([Start.of(seq, 1, worker=f"w{seq % 16:02}", started_us=at_us + seq) for seq in seqs])
        store.apply(
            [
                Finish.of(seq, 1, "succeeded", ended_us=at_us + 500_000 + seq % 999_000)
                if seq % 2
                else Finish.of(
                    seq,
                    1,
                    "failed",
                    error=f"E{seq % 100}: " + "<" * 900,
                    output=noise,
                    ended_us=at_us + 700_000,
                )
                for seq in seqs
            ]
        )
        looks = [(seq, 2 + seq % 2, 3 - seq % 2) for seq in seqs]
        store.apply(
            [
                Decide.of(
                    look, after, "<why>" * 40, (look, 1, 1, before, 0, 0, 0, 0, 0, 9, 0), at_us=at_us + look
                )
                for look, before, after in looks
            ]
        )
    end(store, 1, 10_000, 10_000)
    html = page(path)
    text = text_of(html)

    assert len(html.encode()) < 1_000_000
    assert "10000 ✓ ok 10000 ✗ failed" in text
    assert "and 190 more" in text  # jobs of a cause
    assert "and 30 more causes" in text
    assert "and 19800 more; only those listed are marked in the chart" in text


def test_a_page_is_made_without_keeping_the_attempts(tmp_path: Path) -> None:
    """Seven times the attempts do not need twice the memory."""
    import tracemalloc  # noqa: PLC0415 - looked at here only

    def peak(name: str, jobs: int) -> int:
        path = tmp_path / name
        store = begun(path)
        for first in range(0, jobs, 1000):
            seqs = range(first + 1, first + 1001)
            store.apply([accept([b"%d" % seq for seq in seqs])])
            store.apply([Start.of(seq, 1, worker="w", started_us=2_000_000 + seq) for seq in seqs])
            store.apply([Finish.of(seq, 1, "succeeded", ended_us=2_500_000 + 7 * seq) for seq in seqs])
        end(store)
        page(path)
        tracemalloc.start()
        page(path)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak("large", 20_000) < 1.5 * peak("small", 3000)


def test_what_is_endless_is_cut(tmp_path: Path) -> None:
    """Ten thousand inputs, a command of a megabyte, names of workers, files and settings, the words of a policy."""
    path = tmp_path / "journal.db"
    store = open_store(path)
    long = "<" * 1_000_000
    store.begin_run(
        new_run(config=json.dumps({long: [long, long]}), input=" ".join(["<file>"] * 10_000))._replace(
            parts={"kind": "shell", "text": long, "folder": long}
        )
    )
    records = tuple(NewJob.of(b"k" * 16, b"<" * 10_000, source=long, line=1) for _ in range(300))
    store.apply([accept([])._replace(records=records)])
    store.apply([Start.of(seq, 1, started_us=2_000_000) for seq in range(1, 301)])
    store.apply(
        [
            Finish.of(
                seq,
                1,
                "failed",
                error=f"{seq}{long}",
                worker=f"{seq}{long}",
                ended_us=3_000_000,
                output=b"<" * 65536,
            )
            for seq in range(1, 301)
        ]
    )
    seen = (4, 2, 1, 2, 0, 7.5, 1.25, 6, 3, 200, 0)
    store.apply([Decide.of(look, 3, long, seen, at_us=2_000_000 + look) for look in range(1, 301)])
    end(store, 1, 0, 300)
    html = page(path)

    assert len(html.encode()) < 1_000_000
    assert "The command is too long to be shown" in html


# ── words ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (("ended", 0, 0, 0, 0), "good", "Everything was done"),
        (("ended", 1, 1, 2, 0), "bad", "2 jobs failed for good, the others were done"),
        (("ended", 1, 0, 1, 0), "bad", "1 job failed for good"),
        (("ended", 3, 1, 0, 9), "bad", "Stopped early, by --halt or the breaker; 9 not run"),
        (("ended", 130, 0, 0, 2), "bad", "Stopped by SIGINT; 2 not run"),
        (("ended", 141, 0, 0, 2), "bad", "The reader of the output went away; 2 not run"),
        (("ended", 99, 0, 0, 0), "bad", "Ended with exit code 99"),
        (("killed", None, 0, 0, 5), "bad", "Killed before its end; 5 not run; --resume goes on"),
        (("running", None, 0, 3, 5), "open", "Running; 3 jobs failed so far"),
    ],
)
def test_the_verdict_is_in_words(given: Any, kind: str, text: str) -> None:
    """For each way in which a run can end, or be going on."""
    assert (kind, text) == verdict(*given)[::2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.00085, "850 µs"),
        (0.0123, "12.3 ms"),
        (0.9996, "1 s"),
        (59.9, "59.9 s"),
        (125, "2 m 05 s"),
        (11221, "3 h 07 m"),
    ],
)
def test_durations_can_be_read(seconds: float | None, text: str) -> None:
    """Three digits at the most."""
    assert text == duration_text(seconds)


@pytest.mark.parametrize(
    ("seconds", "step", "text"), [(0.25, 0.05, "0.25"), (65, 5, "1:05"), (3725, 60, "1:02:05")]
)
def test_the_time_axis_can_be_read(seconds: float, step: float, text: str) -> None:
    """As a clock does from a second on."""
    assert text == clock_text(seconds, step)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"kind": "command", "text": "cp {} 'a b'"}, ["--", "cp", "{}", "a b"]),
        ({"kind": "shell", "text": "cat {} | wc"}, ["-c", "cat {} | wc"]),
        ({"kind": "lines"}, ["--lines"]),
        ({"kind": "call", "text": "m:f", "separator": "NUL"}, ["-0", "--call", "m:f"]),
        ({"kind": "call", "text": "m:f", "format": "csv"}, ["--format", "csv", "--call", "m:f"]),
    ],
)
def test_the_command_that_runs_failures_again_has_all_of_the_first(
    parts: dict[str, str], words: list[str]
) -> None:
    """The folder, the inputs, the settings that were given, the work."""
    config = {
        "a.b": ("1", "embedded default"),
        "c.d": ("x y", "command line --c"),
        "e.f": ("null", "set.yml:2"),
    }
    told = shlex.split(
        again_command(["python", "p.py"], {**parts, "folder": "/a b"}, config, "x.csv y.csv", ["f.csv"])
    )
    head = ["cd", "/a b", "&&", "python", "p.py", "run", "-i", "x.csv", "-i", "y.csv", "--retry-failed"]
    before = [word for word in words[:2] if word in {"-0", "--format", "csv"}]

    assert [*head, *before, "--set", "c.d=x y", *words[len(before) :]] == told


def test_a_pipe_cannot_be_read_again() -> None:
    """The records that failed are in a file; where they are not, there is no command that would."""
    assert "p run -i s/failed-1.txt --lines" == again_command(
        ["p"], {"kind": "lines"}, {}, "-", ["s/failed-1.txt"]
    )
    assert "" == again_command(["p"], {"kind": "lines"}, {}, "-", [])


# ── drawings ────────────────────────────────────────────────────────────────────────────────────────


def test_numbers_become_places() -> None:
    """Nothing stands at the bottom, the most at or below the top."""
    axis, ticks = charts.counts_axis(7, 100, 0)

    assert (8.0, 100.0, 0.0) == axis
    assert [(100.0, "0"), (75.0, "2"), (50.0, "4"), (25.0, "6"), (0.0, "8")] == ticks
    assert "M0 100H10V50" == charts.steps([(0, 100), (10, 50)])
    assert "M1 2h2L3 4M5 6h2" == charts.lines([(1, 2), (3, 4), None, (5, 6)])


def test_the_pool_is_drawn_from_its_first_look() -> None:
    """The backlog before it is not known; workers are."""
    drawing = charts.pool_drawing([Point(0, None, 2), Point(5, 10, 4), Point(10, 0, 4)], [], 10)
    shapes = dict(drawing.shapes)

    assert "M450 14H844V214" == shapes["backlog"]
    assert "M56 114H450V14H844V14" == shapes["workers"]
