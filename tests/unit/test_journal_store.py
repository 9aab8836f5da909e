"""What a batch of operations leaves in the journal, and what is answered."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from dynamic_pipeline.jobs import JobState
from dynamic_pipeline.journal.answers import Accepted, Rejected, Skipped
from dynamic_pipeline.journal.faults import JournalError
from dynamic_pipeline.journal.held import Caution
from dynamic_pipeline.journal.operations import (
    Accept,
    AttemptOutcome,
    Barrier,
    EndRun,
    Finish,
    InputMark,
    NewJob,
    Operation,
    Pending,
    Pid,
    Reopen,
    Skip,
    Start,
)
from dynamic_pipeline.journal.reader import Reader
from dynamic_pipeline.journal.recovery import Orphan
from dynamic_pipeline.journal.runs import is_over
from dynamic_pipeline.journal.store import Store
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journaling import TASK, accept, begun, is_sound, job_of, new_run, open_store, resumed, rows, seqs

NEW = JobState.QUEUED, 0, Caution.NONE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def counts(path: Path, work: int = 1) -> dict[str, int]:
    with Reader.open(path) as reader:
        return {state.value: count for state, count in reader.counts(work).items() if count}


def fail_for_good(store: Store, *numbers: int) -> None:
    store.apply([Start.of(seq, 1) for seq in numbers])
    store.apply([Finish.of(seq, 1, "failed", error=f"no {seq}", exit_code=1) for seq in numbers])


# --- accept ---


def test_jobs_are_numbered_in_the_order_of_acceptance(path: Path) -> None:
    """From 1 on, over all batches."""
    store = begun(path)

    answers = store.apply([accept([b"a", b"b"]), accept([b"c"])])
    store.close()

    assert [[Accepted(1, True, *NEW), Accepted(2, True, *NEW)], [Accepted(3, True, *NEW)]] == answers
    assert {"queued": 3} == counts(path)


def test_the_k_th_equal_record_is_a_job_of_its_own(path: Path) -> None:
    """Equal records are counted, within a batch and over batches."""
    store = begun(path, b"a", b"b", b"a")
    store.apply([accept([b"a"])])
    store.close()

    assert [(1, b"a"), (2, b"b"), (3, b"a"), (4, b"a")] == rows(
        path, "SELECT job % 1024, payload FROM jobs ORDER BY job"
    )


def test_a_record_is_kept_byte_for_byte(path: Path) -> None:
    """Whatever its encoding; what belongs to it comes back too."""
    record = NewJob.of(
        b"k" * 16,
        b"\xff\0\xfe\r",
        source="a\udcffb",
        line=7,
        problem="bad",
        record_format="csv",
        fields='{"a": "1"}',
    )
    store = begun(path)
    store.apply([Accept((record,))])

    [[stored]] = store.apply([Pending(0, 10)])  # type: ignore[misc]
    store.close()

    assert (1, *NEW, b"\xff\0\xfe\r", "a\\udcffb", 7, "bad", "csv", '{"a": "1"}') == stored


def test_two_works_do_not_share_numbers_or_keys(path: Path) -> None:
    """The same command started afresh begins a work of its own: nothing of the old one is skipped."""
    begun(path, b"a", b"b").close()
    store = open_store(path)
    store.begin_run(new_run("run-2"))

    [answer] = store.apply([accept([b"a"])])
    store.close()

    assert [Accepted(1, True, *NEW)] == answer
    assert [{"queued": 2}, {"queued": 1}] == [counts(path, 1), counts(path, 2)]


# --- start, pid, finish: the fence ---


def test_a_job_goes_from_queued_over_running_to_succeeded(path: Path) -> None:
    """With what it returned."""
    store = begun(path, b"a")

    assert [True] == store.apply([Start.of(1, 1, worker="worker-01", started_us=5)])
    assert {"running": 1} == counts(path)
    assert [True] == store.apply([Finish.of(1, 1, "succeeded", result='{"x": 1}', exit_code=0, ended_us=9)])
    store.close()

    assert {"succeeded": 1} == counts(path)
    assert [("worker-01", 5, 9, "succeeded", 0, 8, '{"x": 1}')] == rows(
        path, "SELECT worker, started_us, ended_us, outcome, exit_code, result_chars, result FROM attempts"
    )


def test_a_retry_counts_an_attempt_and_is_not_the_end(path: Path) -> None:
    """The job is `retrying`; the next attempt may start."""
    store = begun(path, b"a")
    store.apply([Start.of(1, 1), Finish.of(1, 1, "timeout", will_retry=True, error="slow", signal=15)])
    assert {"retrying": 1} == counts(path)

    assert [True, True] == store.apply([Start.of(1, 2), Finish.of(1, 2, "failed", error="no")])
    store.close()

    assert {"failed": 1} == counts(path)
    assert [(2,)] == rows(path, "SELECT attempts FROM jobs")
    assert is_sound(path)


def test_an_interruption_is_no_attempt(path: Path) -> None:
    """The job is as it was before, and the attempt may be started again under its number."""
    store = begun(path, b"a")
    store.apply([Start.of(1, 1), Finish.of(1, 1, "interrupted")])
    assert {"queued": 1} == counts(path)

    assert [True, True] == store.apply([Start.of(1, 1), Finish.of(1, 1, "succeeded")])
    store.close()

    assert [("S", 1, 0)] == rows(path, "SELECT state, attempts, interruptions FROM jobs")


@pytest.mark.parametrize(
    "late",
    [
        Finish.of(1, 1, "succeeded"),  # a second report
        Finish.of(1, 2, "succeeded"),  # of an attempt that never started
        Finish.of(9, 1, "succeeded"),  # of a job that is not there
        Start.of(1, 1),  # of an attempt that is over
        Start.of(1, 2),  # of a job that is over
        Start.of(9, 1),
        Pid(1, 1, 123, 456),
    ],
)
def test_what_does_not_fit_the_open_attempt_is_refused(path: Path, late: Start | Finish | Pid) -> None:
    """A job is recorded once; the others of the batch are done all the same."""
    store = begun(path, b"a", b"b")
    store.apply([Start.of(1, 1), Finish.of(1, 1, "failed", error="no")])

    assert [True, False, True] == store.apply([Start.of(2, 1), late, Finish.of(2, 1, "succeeded")])
    store.close()

    assert {"failed": 1, "succeeded": 1} == counts(path)
    assert is_sound(path)


@pytest.mark.parametrize("is_over", [False, True])
def test_an_attempt_starts_once(path: Path, is_over: bool) -> None:
    """Neither again while it is open, nor after it has failed: its next one has another number."""
    store = begun(path, b"a")
    store.apply([Start.of(1, 1, worker="first")])
    if is_over:
        store.apply([Finish.of(1, 1, "failed", will_retry=True)])

    assert [False] == store.apply([Start.of(1, 1, worker="second")])
    store.close()

    assert [("first",)] == rows(path, "SELECT worker FROM attempts")


def test_one_late_report_in_a_group_is_told_from_the_others(path: Path) -> None:
    """Operations of a kind are done together, but answered one by one."""
    store = begun(path, b"a", b"b", b"c")
    store.apply([Start.of(1, 1), Start.of(3, 1)])

    assert [True, False, True] == store.apply([Finish.of(seq, 1, "succeeded") for seq in (1, 2, 3)])
    store.close()

    assert {"succeeded": 2, "queued": 1} == counts(path)


def test_an_attempt_of_another_run_cannot_be_finished(path: Path) -> None:
    """A report that outlived its run does not count, even if it has the job and the number of an open attempt."""
    store = begun(path, b"a")
    store.apply([Start.of(1, 1)])
    store.abandon()
    store = resumed(path)

    assert [False] == store.apply([Finish.of(1, 1, "succeeded")])
    assert [True, True] == store.apply([Start.of(1, 1), Finish.of(1, 1, "succeeded")])
    store.close()

    assert [(1, "interrupted"), (2, "succeeded")] == rows(
        path, "SELECT run, outcome FROM attempts ORDER BY run"
    )


def test_a_barrier_is_answered_in_its_place_and_does_nothing(path: Path) -> None:
    """Among others, or alone, where there is nothing to commit."""
    store = begun(path, b"a")

    assert [True, True, False] == store.apply([Start.of(1, 1), Barrier(), Start.of(1, 1)])
    size = Path(f"{path}-wal").stat().st_size
    assert [True, True] == store.apply([Barrier(), Barrier()])
    assert size == Path(f"{path}-wal").stat().st_size
    store.close()


# --- values that do not fit ---


@pytest.mark.parametrize(
    "culprit",
    [
        Start(1 << 80, 1, 0),
        Start(2, 0, 0),
        Start(2, 1, 0, "\udcff"),
        Finish(1, 1, "nonsense", 0),  # type: ignore[arg-type]
        Finish(1, 1, "failed", 0, error=object()),  # type: ignore[arg-type]
        Accept((NewJob(b"short", b"payload"),)),
        Accept((job_of(b"good"), NewJob(b"short", b"payload"))),
        Accept((NewJob(b"k" * 16, "text"),)),  # type: ignore[arg-type]
        Pid(1, 1, 1 << 80, 0),
    ],
)
def test_one_bad_value_does_not_take_its_batch_with_it(
    path: Path, culprit: Start | Finish | Accept | Pid
) -> None:
    """It is marked, nothing of it is left, and the others are done."""
    store = begun(path, b"a", b"b")

    answers = store.apply(
        [Start.of(1, 1), accept([b"c"]), culprit, accept([b"d"]), Finish.of(1, 1, "succeeded")]
    )
    store.close()

    assert [True, [3], Rejected, [4], True] == [
        seqs(answer) if isinstance(answer, list) else answer if answer is True else type(answer)
        for answer in answers
    ]
    assert {"succeeded": 1, "queued": 3} == counts(path)
    assert is_sound(path)


def test_what_is_made_by_of_always_fits(path: Path) -> None:
    """Surrogates, NUL, huge numbers and long texts are encoded, clamped and cut before anything is posted."""
    bad = "\udcff\0" + "é" * 5000
    store = begun(path)
    big = 1 << 70
    batch: list[Operation] = [
        Accept(
            (NewJob.of(b"k" * 16, b"", source=bad, line=big, problem=bad, record_format=bad, fields=bad),)
        ),
        Start.of(1, 1, worker=bad, started_us=big),
        Finish.of(
            1, 1, "failed", error=bad, exit_code=big, signal=-big, result="x" * (2 << 20), ended_us=big
        ),
        Start.of(big, big),
    ]

    answers = store.apply(batch)
    store.close()

    assert [True, True, False] == answers[1:]
    [(error, chars, result)] = rows(path, "SELECT error, result_chars, result FROM attempts")
    assert ("\\udcff\\x00" + "é" * 998, 2 << 20, None) == (error, chars, result)


# --- the run's end, reopening, pending ---


def test_a_run_ends_once_and_closes_what_it_left_open(path: Path) -> None:
    """With its code and its counts."""
    store = begun(path, b"a")
    store.apply([Start.of(1, 1)])
    end = EndRun(3, 5, 4, 3, 2, ended_us=77)

    assert [True, False] == store.apply([end, end])
    store.close()

    with Reader.open(path) as reader:
        [line] = reader.runs()
        assert (77, "ended", 3, 5, 4, 3, 2) == line[5:12]
        assert {"interrupted": 1} == reader.attempts(1)
        assert {JobState.UNFINISHED: 1} == {
            state: count for state, count in reader.counts(1, has_run_ended=True).items() if count
        }
    store = open_store(path)
    assert ((), 0, (), ()) == store.recover()
    store.close()


def test_failed_jobs_run_again_when_they_are_asked_to(path: Path) -> None:
    """With all their retries; what succeeded stays, and so does what is held unless that is asked for."""
    store = begun(path, b"a", b"b", b"c")
    fail_for_good(store, 1, 2)
    store.apply([Start.of(3, 1), Finish.of(3, 1, "succeeded")])
    store.close()
    store = resumed(path)

    assert [2, 0] == store.apply([Reopen(JobState.FAILED), Reopen(JobState.HELD)])
    [pending] = store.apply([Pending(0, 100)])
    assert [(1, 0), (2, 0)] == [(job.seq, job.attempts) for job in pending]  # type: ignore[union-attr]
    assert [True] == store.apply([Start.of(1, 1)])
    store.close()


def test_pending_jobs_come_in_pages(path: Path) -> None:
    """By number, after the last one that is known, up to a bound."""
    store = begun(path, *[b"%d" % n for n in range(10)])
    store.apply([Start.of(2, 1), Finish.of(2, 1, "succeeded")])

    pages = store.apply([Pending(0, 8, most=3), Pending(4, 8, most=3), Pending(7, 8), Pending(8, 8)])
    store.close()

    assert [[1, 3, 4], [5, 6, 7], [8], []] == [[job.seq for job in page] for page in pages]  # type: ignore[union-attr]


# --- recovery ---


def test_a_killed_run_is_put_right_at_the_next_opening(path: Path) -> None:
    """Its run has crashed, its open attempts were interrupted, no retry is charged, its processes are told."""
    store = begun(path, b"a", b"b", b"c")
    store.apply([Start.of(1, 1), Start.of(2, 1), Pid.of(2, 1, 4321, 99), Start.of(3, 1)])
    store.apply([Finish.of(1, 1, "succeeded")])
    store.abandon()
    store = open_store(path)

    left = store.left()
    assert (("run-1",), (Orphan("run-1", "boot", 2, 1, 4321, 99),)) == left
    assert left == store.left()  # until it has been put right: whoever looked may have been killed too
    assert (("run-1",), 2, (), ()) == store.recover(now_us=50)
    assert ((), 0, (), ()) == store.recover()
    assert ((), ()) == store.left()
    store.close()

    assert {"succeeded": 1, "queued": 2} == counts(path)
    assert [(1, 0, 0), (2, 0, 1), (3, 0, 1)] == rows(
        path, "SELECT job % 1024, CASE state WHEN 'S' THEN 0 ELSE attempts END, interruptions FROM jobs"
    )
    assert [(50, "crashed")] == rows(path, "SELECT ended_us, outcome FROM runs")


def test_a_run_that_its_user_has_ended_accuses_no_job(path: Path) -> None:
    """However often: what was cut short runs again, with others."""
    begun(path, b"innocent").close()
    for number in range(8):
        store = resumed(path, f"run-{number + 2}")
        store.apply([Start.of(1, 1)])
        store.abandon()
        store = open_store(path)
        assert ((f"run-{number + 2}",), 1, (), ()) == store.recover(forced=[f"run-{number + 2}", "another"])
        store.close()

    assert [("Q", 0, 0, 0)] == rows(path, "SELECT state, attempts, interruptions, alone FROM jobs")


@pytest.mark.parametrize(("outcome", "is_over_by_it"), [("succeeded", True), ("failed", True), (None, False)])
def test_it_is_known_which_attempt_was_the_last(
    path: Path, outcome: AttemptOutcome | None, is_over_by_it: bool
) -> None:
    """Of a job that is over; whether it went well or not."""
    store = begun(path, b"a")
    store.apply([Start.of(1, 1), Finish.of(1, 1, "failed", will_retry=True), Start.of(1, 2)])
    if outcome:
        store.apply([Finish.of(1, 2, outcome)])
    connection = store.transactions.connection

    assert [False, is_over_by_it, False] == [is_over(connection, 1, 1, attempt) for attempt in (1, 2, 3)]
    assert not is_over(connection, 1, 2, 1)
    store.close()


def test_a_job_that_takes_the_process_down_again_and_again_runs_alone_and_is_then_held(path: Path) -> None:
    """Three crashes with others, three alone; its neighbours are never held."""
    begun(path, b"poison", b"innocent").close()
    seen = []
    for number in range(1, 8):
        store = resumed(path, f"run-{number + 1}")
        [jobs] = store.apply([Pending(0, 10)])
        seen.append({job.seq: job.caution for job in jobs})  # type: ignore[union-attr]
        if seen[-1].get(1) is Caution.NONE:
            store.apply([Start.of(1, 1), Start.of(2, 1)])
        elif seen[-1].get(1) is Caution.ALONE:
            store.apply([Start.of(1, 1, is_alone=True)])
        store.abandon()

    assert [Caution.NONE] * 3 + [Caution.ALONE] * 3 + [None] == [caution.get(1) for caution in seen]
    assert {"held": 1, "queued": 1} == counts(path)
    with Reader.open(path) as reader:
        assert [(1, JobState.HELD, 0, 6)] == [job[:4] for job in reader.failed(1)]


# --- readers ---


def test_readers_tell_what_failed(path: Path) -> None:
    """The record, where it stood, and the words of its last attempt; in pages."""
    store = begun(path, b"a", b"b", b"c")
    fail_for_good(store, 1, 3)

    with Reader.open(path) as reader:  # while the writer lives
        assert [
            (1, JobState.FAILED, 1, 0, b"a", "in.txt", 1, "no 1", 1, None),
            (3, JobState.FAILED, 1, 0, b"c", "in.txt", 1, "no 3", 1, None),
        ] == reader.failed(1)
        assert [3] == [job.seq for job in reader.failed(1, after=1)]
        assert [1] == [job.seq for job in reader.failed(1, most=1)]
        assert [("run-1", "run", None)] == [(line.uuid, line.mode, line.outcome) for line in reader.runs()]
    store.close()


def test_a_reader_cannot_write(path: Path) -> None:
    """Whatever it is asked."""
    begun(path, b"a").close()

    with Reader.open(path) as reader, pytest.raises(Exception, match=r"readonly|read-only"):
        reader._connection.execute("DELETE FROM jobs")


def test_a_backup_is_one_whole_file_made_while_the_run_goes_on(path: Path, tmp_path: Path) -> None:
    """What is still in the WAL is in it."""
    store = begun(path, b"a", b"b")

    with Reader.open(path) as reader:
        reader.backup(tmp_path / "copy.db")
        with pytest.raises(JournalError, match="exists already"):
            reader.backup(tmp_path / "copy.db")
        with pytest.raises(JournalError, match="cannot be written"):
            reader.backup(tmp_path / "nowhere" / "copy.db")
    store.close()

    assert {"queued": 2} == counts(tmp_path / "copy.db")
    assert 0o600 == (tmp_path / "copy.db").stat().st_mode & 0o777


def test_works_are_found_by_their_task(path: Path) -> None:
    """The latest one of the task, or of all."""
    store = begun(path)
    store.begin_run(new_run("run-2"))
    store.begin_run(new_run("run-3")._replace(task=b"o" * 16, parts={"kind": "other"}))

    found = store.find_work(TASK), store.find_work(), store.find_work(b"?" * 16)
    store.close()

    assert [2, 3, None] == [work and work.work for work in found]
    assert {"kind": "other"} == found[1].parts  # type: ignore[union-attr]


# --- prune ---


def test_old_finished_works_are_forgotten_whole(path: Path) -> None:
    """Not what is recent, not what was kept by number, not what has work left."""
    for number in range(1, 5):
        store = open_store(path)
        store.begin_run(new_run(f"run-{number}"))
        store.apply([accept([b"%d" % n for n in range(2500)])])
        batch = [Start.of(seq, 1) for seq in range(1, 2501)]
        store.apply(batch)
        done = 2499 if number == 2 else 2500
        store.apply([Finish.of(seq, 1, "succeeded") for seq in range(1, done + 1)])
        store.apply([EndRun(0, done, 0, 0, 0, ended_us=number * 100)])
        store.close()
    size = path.stat().st_size

    store = open_store(path)
    assert 1 == store.prune(before_us=250, keep_runs=1)  # 2 has work left, 3 is too young, 4 is the latest
    assert 0 == store.prune(before_us=100, keep_runs=0)
    store.close()

    assert [(2,), (3,), (4,)] == rows(path, "SELECT work FROM works")
    assert [(0,)] == rows(path, "SELECT count(*) FROM jobs WHERE work = 1")
    assert size > path.stat().st_size
    assert is_sound(path)


# --- resume ---


def test_todays_records_are_matched_with_yesterdays_jobs_in_any_order(path: Path) -> None:
    """The k-th equal record is the k-th equal job; more of them are new; less leave some unseen."""
    store = begun(path, b"a", b"b", b"a", b"c")
    store.apply([Start.of(3, 1), Finish.of(3, 1, "succeeded")])
    store.abandon()
    store = resumed(path)

    [answer] = store.apply([accept([b"b", b"a", b"d", b"a", b"a"])])
    assert [
        Accepted(2, False, *NEW),
        Accepted(1, False, *NEW),
        Accepted(5, True, *NEW),
        Accepted(3, False, JobState.SUCCEEDED, 1, Caution.NONE),
        Accepted(6, True, *NEW),
    ] == answer
    [unseen] = store.apply([Pending(0, 1000, is_unseen_only=True)])
    assert [4] == [job.seq for job in unseen]  # type: ignore[union-attr]
    store.close()
    assert is_sound(path)


def test_a_rejected_batch_of_records_is_not_counted_as_met(path: Path) -> None:
    """The next one begins where it began, also where its first records were known."""
    begun(path, b"a", b"b").close()
    store = resumed(path)

    answers = store.apply(
        [Accept((job_of(b"a"), NewJob(b"short", b""))), accept([b"a", b"b", b"c"], mark(6))]
    )
    store.close()

    assert [Rejected, [1, 2, 3]] == [type(answers[0]), seqs(answers[1])]
    assert [(3,)] == rows(path, "SELECT mark_records FROM runs WHERE run = 2")


@pytest.mark.parametrize("same", range(7))
def test_an_input_that_differs_from_some_record_on_is_matched_like_any_other(path: Path, same: int) -> None:
    """The first records come in the order of the jobs, the others do not: each equal one still counts once."""
    jobs = [b"a", b"b", b"a", b"c", b"b", b"a"]
    begun(path, *jobs).close()
    store = resumed(path)
    today = [*jobs[:same], b"new", *reversed(jobs[same:]), b"a"]

    answers = [store.apply([accept(today[at : at + 2])])[0] for at in range(0, len(today), 2)]
    [unseen] = store.apply([Pending(0, 1000, is_unseen_only=True)])
    store.close()

    found = [seq for answer in answers for seq in seqs(answer)]
    assert [*range(1, same + 1), 7] == found[: same + 1]
    assert list(range(1, 9)) == sorted(found)
    assert [] == unseen


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcde"), max_size=14))
@settings(max_examples=60)
def test_after_a_resume_the_journal_holds_the_larger_count_of_each_record(
    then: list[str], now: list[str]
) -> None:
    """The k-th equal record of today is the k-th equal job; what is more is new, what is less was not seen."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        begun(path, *[each.encode() for each in then]).close()
        store = resumed(path)
        answers = [
            store.apply([accept([each.encode() for each in now[at : at + 3]])])[0]
            for at in range(0, len(now), 3)
        ]
        [unseen] = store.apply([Pending(0, 1000, is_unseen_only=True)])
        store.close()
        jobs = Counter(key for (key,) in rows(path, "SELECT CAST(payload AS TEXT) FROM jobs"))

    assert Counter(then) | Counter(now) == jobs
    assert Counter(then) - Counter(now) == Counter(job.payload.decode() for job in unseen)  # type: ignore[union-attr]
    numbers = [seq for answer in answers for seq in seqs(answer)]
    assert len(now) == len(set(numbers))
    first_of_each = {each: then.index(each) + 1 for each in set(then)}
    for each, number in zip(now, numbers, strict=True):  # the first of today is the first of then
        if each in first_of_each:
            assert first_of_each.pop(each) == number


def test_an_input_that_is_the_beginning_of_the_last_one_leaves_the_rest_unseen(path: Path) -> None:
    """Those jobs were accepted, and run all the same."""
    begun(path, b"a", b"b", b"a", b"c").close()
    store = resumed(path)

    _, unseen = store.apply([accept([b"a", b"b"]), Pending(0, 1000, is_unseen_only=True)])
    [also] = store.apply([Pending(3, 1000, is_unseen_only=True)])
    store.close()

    assert [[3, 4], [4]] == [[job.seq for job in unseen], [job.seq for job in also]]  # type: ignore[union-attr]


def mark(offset: int) -> InputMark:
    return InputMark(0, offset, offset // 2, b"d%d" % offset)


def test_an_unchanged_input_may_be_skipped_up_to_the_mark(path: Path) -> None:
    """The place is that of the last accepted batch; what follows it is new, equal records included."""
    store = begun(path)
    store.apply([accept([b"a", b"b"], mark(4)), accept([b"a"], mark(6))])
    store.abandon()
    store = resumed(path)
    assert store.run is not None
    known = store.run.input_mark

    assert mark(6)._replace(records=3) == known
    assert [Skipped(0, 0, 0)] == store.apply([Skip(known)])
    [answer] = store.apply([accept([b"a"], mark(8))])
    assert [Accepted(4, True, *NEW)] == answer
    assert [[]] == store.apply([Pending(0, 1000, is_unseen_only=True)])
    store.close()

    assert [(1, b"a"), (2, b"b"), (3, b"a"), (4, b"a")] == rows(
        path, "SELECT job % 1024, payload FROM jobs ORDER BY job"
    )
    store = resumed(path, "run-3")
    assert store.run is not None
    assert mark(8)._replace(records=4) == store.run.input_mark
    store.close()


def test_what_is_skipped_is_counted_by_how_it_ended(path: Path) -> None:
    """Up to the mark only; what is open is not over."""
    store = begun(path)
    store.apply([accept([b"%d" % number for number in range(6)], mark(4)), accept([b"x"])])
    for seq, outcome in (
        (1, "succeeded"),
        (2, "failed"),
        (3, "succeeded"),
        (5, "succeeded"),
        (7, "succeeded"),
    ):
        store.apply([Start.of(seq, 1), Finish.of(seq, 1, outcome)])  # type: ignore[arg-type]
    store.close()
    store = resumed(path)
    assert store.run is not None
    assert store.run.input_mark is not None
    skipped, waiting = store.apply([Skip(store.run.input_mark), Pending(0, 6)])
    store.close()

    assert Skipped(3, 1, 0) == skipped
    assert [4, 6] == [job.seq for job in waiting]  # type: ignore[union-attr]


def test_after_a_skip_what_follows_is_compared_as_if_all_had_been_read(path: Path) -> None:
    """Behind the mark the input may be another one: equal records are found, also those before the mark."""
    store = begun(path)
    store.apply([accept([b"a", b"b"], mark(4)), accept([b"c", b"a"])])
    store.close()
    store = resumed(path)
    assert store.run is not None
    assert store.run.input_mark is not None
    _, answer, unseen = store.apply(
        [Skip(store.run.input_mark), accept([b"a", b"b"]), Pending(0, 1000, is_unseen_only=True)]
    )
    store.close()

    assert [(4, False), (5, True)] == [(job.seq, job.is_new) for job in answer]  # type: ignore[union-attr]
    assert [3] == [job.seq for job in unseen]  # type: ignore[union-attr]


def test_records_in_another_order_have_a_mark_when_all_jobs_are_among_them(path: Path) -> None:
    """Before that a skip would meet jobs that were not there. The mark of an earlier input stays the latest."""
    store = begun(path)
    store.apply([accept([b"a", b"b"], mark(4))])
    store.close()
    store = resumed(path)
    store.apply([accept([b"a", b"c"], mark(4)._replace(digest=b"edited"))])
    store.close()

    store = resumed(path, "run-3")
    assert store.run is not None
    assert (3, mark(4)._replace(records=2)) == (store.run.jobs, store.run.input_mark)
    [answer] = store.apply([accept([b"a", b"c", b"b"], mark(6))])  # now all are there again
    assert [1, 3, 2] == seqs(answer)
    store.close()

    store = resumed(path, "run-4")
    assert store.run is not None
    assert mark(6)._replace(records=3) == store.run.input_mark
    store.close()


def test_a_batch_that_was_undone_is_counted_once_when_it_is_repeated(path: Path) -> None:
    """Neither numbers nor occurrences of the first try are left."""
    begun(path, b"a", b"a").close()
    store = resumed(path)

    def fail() -> None:
        store._apply_at_once([accept([b"a", b"new"], mark(4))])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.transactions.write(fail)
    [answer] = store.apply([Accept((job_of(b"a"), job_of(b"new")))])
    store.close()

    assert [1, 3] == seqs(answer)
    assert [(None,)] == rows(path, "SELECT mark_offset FROM runs WHERE run = 2")
